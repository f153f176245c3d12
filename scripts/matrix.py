"""Quick tests on every Python of this machine, as a table in Markdown.

  python scripts/matrix.py                                        each Python that ramac's requires-python allows
  python scripts/matrix.py python3.12 /opt/python/bin/python3     these
  TORCH=torch==2.13.0 python scripts/matrix.py                    with this torch; without it, what pip takes

Each Python gets a fresh venv in a temporary folder (up to 6 GB, removed afterwards) and is tested twice: as pip
installs ramac, and after an upgrade of the libraries below to their newest releases, pre-releases included.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARIES = ("hydra-core", "omegaconf", "minari", "gymnasium", "tensordict", "torchrl", "diffusers")
TESTS = (
    "tests/test_registry.py",
    "tests/test_spec.py",
    "tests/test_nets.py",
    "tests/test_solvers.py",
    "tests/data/test_log.py",
    "tests/experiment/test_loggers.py",
    "tests/test_agent.py::test_returns_are_the_quantiles_in_reward_units_from_the_worst_up",
    "tests/test_agent.py::test_every_critic_reads_single_pairs_and_batches",
    "tests/test_agent.py::test_a_checkpoint_of_version_0_1_loads",
    "tests/test_api.py::test_training_returns_what_it_prints",
    "tests/test_api.py::test_evaluating_again_returns_the_episodes",
    "tests/test_api.py::test_a_sweep_returns_its_runs",
    "tests/experiment/test_run.py::test_command_trains_and_ends_with_a_table",
    "tests/experiment/test_run.py::test_completion_knows_the_entries",
    "tests/experiment/grid/test_sweep.py::test_the_same_command_runs_only_what_is_missing",
    "tests/experiment/grid/test_sweep.py::test_sweeps_need_m_and_name_real_entries",
)
PYTEST = ("pytest>=9", "pytest-xdist", "hypothesis")
DEFAULTS = {
    "OMP_NUM_THREADS": "2", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONWARNINGS": "ignore::DeprecationWarning"
}  # fmt: skip
VERSIONS = """
import sys
from importlib.metadata import version
print(" | ".join([sys.version.split()[0], version("torch"), ", ".join(f"{name} {version(name)}" for name in sys.argv[1:])]))
"""  # noqa: E501
WHICH = "import sys, venv; sys.version_info >= (3, 11) and print(sys.version_info[1], sys.executable)"


def output(*command: str) -> tuple[int, str]:
    """Exit status of a command in the repository, and what it prints."""
    ran = subprocess.run(command, cwd=ROOT, env={**DEFAULTS, **os.environ}, text=True, stdout=-1, stderr=-2)
    return ran.returncode, ran.stdout


def pythons() -> list[str]:
    """Python 3.11 and later on PATH and of pyenv, one for each minor version."""
    named = [shutil.which(f"python3.{minor}") for minor in range(11, 30)]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {}
    for python in [*filter(None, named), *map(str, pyenv.glob("*/bin/python")), sys.executable]:
        status, text = output(python, "-c", WHICH)
        if not status and text:
            minor, _, place = text.strip().partition(" ")
            found.setdefault(int(minor), place)
    return [found[minor] for minor in sorted(found)]


def row(python: Path, name: str) -> None:
    """Print one row: Python, torch, versions of the libraries, what pytest says. Failed tests go to stderr."""
    versions = output(str(python), "-c", VERSIONS, *LIBRARIES)[1].strip()
    status, text = output(str(python), "-m", "pytest", "-p", "no:cacheprovider", "-n", "0", *TESTS)
    lines = text.strip().splitlines() or [""]
    if status > 1:
        print(f"{name}: pytest could not run the tests", file=sys.stderr)
    print(*(line for line in lines if line.startswith(("FAILED", "ERROR", "E  "))), sep="\n", file=sys.stderr)
    print(f"| {versions} | {lines[-1].strip('= ')} |", flush=True)


def refused(text: str) -> str:
    """Why pip installed nothing."""
    return f"cannot be installed: {([line for line in text.splitlines() if 'ERROR' in line] or [text[-200:]])[-1]}"


def test(python: str, folder: Path) -> None:
    """Print the two rows of a Python."""
    name = output(python, "-c", "import platform; print(platform.python_version())")[1].strip()
    venv = folder / name
    inside = venv / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = (str(inside), "-m", "pip", "install", "--quiet")
    status, text = output(python, "-m", "venv", str(venv))
    for packages in ([os.environ["TORCH"]] if "TORCH" in os.environ else []), [".[mujoco]", *PYTEST]:
        if packages and not status:
            status, text = output(*pip, *packages)
    if status:
        print(f"| {name} | | | {refused(text)} |", flush=True)
    else:
        row(inside, name)
        torch = output(str(inside), "-c", "from importlib.metadata import version; print(version('torch'))")[1].strip()
        status, text = output(*pip, "--pre", "--upgrade", *LIBRARIES, f"torch=={torch}")
        if status:
            print(f"| {name} | {torch} | pre-releases | {refused(text)} |", flush=True)
        else:
            row(inside, f"{name}-pre")
    shutil.rmtree(venv)


if __name__ == "__main__":
    print("| Python | torch | libraries | quick tests |", "|---|---|---|---|", sep="\n", flush=True)
    with tempfile.TemporaryDirectory() as place:
        for each in sys.argv[1:] or pythons():
            test(each, Path(place))
