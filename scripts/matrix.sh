#!/usr/bin/env bash
# Quick tests on every Python of this machine, as a table in Markdown.
#
#   scripts/matrix.sh                                        # each Python that ramac's requires-python allows
#   scripts/matrix.sh python3.12 /opt/python/bin/python3     # these
#   TORCH=torch==2.13.0 scripts/matrix.sh                    # with this torch; without it, what pip takes
#
# Each Python gets a fresh venv in a temporary folder (up to 6 GB, removed afterwards) and is tested twice: as pip
# installs ramac, and after an upgrade of the libraries below to their newest releases, pre-releases included.
set -uo pipefail
cd "$(dirname "$0")/.."

LIBRARIES=(hydra-core omegaconf minari gymnasium tensordict torchrl diffusers)
TESTS=(
  tests/test_registry.py tests/test_spec.py tests/test_nets.py tests/data/test_log.py tests/experiment/test_loggers.py
  tests/test_agent.py::test_returns_are_the_quantiles_in_reward_units_from_the_worst_up
  tests/test_agent.py::test_every_critic_reads_single_pairs_and_batches
  tests/test_agent.py::test_a_checkpoint_of_version_0_1_loads
  tests/test_api.py::test_training_returns_what_it_prints tests/test_api.py::test_evaluating_again_returns_the_episodes
  tests/test_api.py::test_a_sweep_returns_its_runs
  tests/experiment/test_run.py::test_command_trains_and_ends_with_a_table
  tests/experiment/test_run.py::test_completion_knows_the_entries
  tests/experiment/grid/test_sweep.py::test_the_same_command_runs_only_what_is_missing
  tests/experiment/grid/test_sweep.py::test_sweeps_need_m_and_name_real_entries
)
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}" PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONWARNINGS=ignore::DeprecationWarning
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

# The real paths of Python 3.11 and later on PATH and of pyenv, one for each minor version.
pythons() {
  for python in $(compgen -c python3. | grep -E '^python3\.[0-9]+$' | sort -u) "${PYENV_ROOT:-$HOME/.pyenv}"/versions/*/bin/python; do
    "$python" -c 'import sys, venv; sys.version_info >= (3, 11) and print(sys.version_info[1], sys.executable)' 2> /dev/null
  done | sort -n -u -k 1,1 | cut -d' ' -f2
}

# One row: Python, torch, versions of the libraries, what pytest says. Failed tests go to stderr.
row() {
  local python="$1" name="$2" versions result
  versions="$("$python" - "${LIBRARIES[@]}" <<< '
import sys
from importlib.metadata import version
print(" | ".join([sys.version.split()[0], version("torch"), ", ".join(f"{name} {version(name)}" for name in sys.argv[1:])]))')"
  "$python" -m pytest -p no:cacheprovider -n 0 "${TESTS[@]}" > "$folder/$name.log" 2>&1
  [ $? -le 1 ] || echo "$name: pytest could not run the tests" >&2
  result="$(tail -1 "$folder/$name.log" | tr -d '=')"
  grep -E '^(FAILED|ERROR)|^E  ' "$folder/$name.log" >&2
  echo "| $versions | $result |"
}

echo "| Python | torch | libraries | quick tests |"
echo "|---|---|---|---|"
for python in "${@:-$(pythons)}"; do for python in $python; do  # a word each
  name="$("$python" -c 'import platform; print(platform.python_version())')"
  venv="$folder/$name"
  "$python" -m venv "$venv"
  if ! { { [ -z "${TORCH:-}" ] || "$venv/bin/pip" install --quiet "$TORCH"; } &&
    "$venv/bin/pip" install --quiet ".[mujoco]" "pytest>=9" pytest-xdist hypothesis; } > "$folder/$name.log" 2>&1; then
    echo "| $name | | | cannot be installed: $(grep ERROR "$folder/$name.log" | tail -1) |"
  else
    row "$venv/bin/python" "$name"
    torch="$("$venv/bin/python" -c 'from importlib.metadata import version; print(version("torch"))')"
    if "$venv/bin/pip" install --quiet --pre --upgrade "${LIBRARIES[@]}" "torch==$torch" > "$folder/$name.log" 2>&1; then
      row "$venv/bin/python" "$name-pre"
    else
      echo "| $name | $torch | pre-releases | cannot be installed: $(grep ERROR "$folder/$name.log" | tail -1) |"
    fi
  fi
  rm -rf "$venv"
done; done
