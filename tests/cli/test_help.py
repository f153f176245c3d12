"""`ramac --help` and `ramac list`: complete, and without the imports that make one wait."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ramac.cli import COMMANDS, main
from ramac.cli.help import declared, entries
from ramac.experiment.presets import PRESETS, presets
from ramac.registry import GROUPS

ROOT = Path(__file__).parents[2]
HEAVY = {"scipy.stats", "scipy.spatial", "matplotlib", "minari", "h5py", "diffusers", "torchdyn", "torchrl", "hydra"}
LOADED = "import sys, ramac\ntry: ramac.main()\nexcept SystemExit: pass\nprint(*sorted(sys.modules), file=sys.stderr)"


def ramac(*arguments: str, start: tuple[str, ...] = ("-c", LOADED), **variables: str) -> tuple[str, set[str]]:
    """Output of `ramac ARGUMENTS` in a process of its own, and what that imported."""
    command = [sys.executable, *start, *arguments]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["help"], ["-m", "--help"]])
def test_help_waits_for_nothing(arguments):
    page, loaded = ramac(*arguments)
    assert not loaded & {"torch", "tensordict", "numpy", "scipy", *HEAVY}
    assert "ramac actor=flow critic=iqn risk=cvar0.1 task=bandit    train" in page
    assert "seed: 0\n" in page
    assert "device: auto      # auto | cpu | cuda | cuda:0" in page
    assert "hydra" not in page.partition("ramac list GROUP")[0]


def test_help_shows_every_entry():
    page, _ = ramac("--help")
    for group, registry in GROUPS.items():
        assert declared(registry) == set(registry), 'the page reads @registry.register("name" at the start of a line'
        assert f"\n{group}: {', '.join(registry)}\n" in page
    for group in PRESETS:
        assert f"\n{group}: {', '.join(presets(group))}\n" in page


def test_help_shows_entries_of_plugins_scripts_and_users(tmp_path):
    script = ROOT / "examples" / "my_actor.py"
    page, _ = ramac("--help", RAMAC_PLUGINS="my_actor", PYTHONPATH=f"{ROOT}:{script.parent}")
    assert "flow, gaussian, mine, mixture" in page
    assert "flow, gaussian, mine, mixture" in ramac("--help", start=(str(script),), PYTHONPATH=str(ROOT))[0]
    (tmp_path / "actor").mkdir()
    (tmp_path / "actor" / "slow.yaml").write_text("name: flow\n")
    assert "shortcut, slow, vae" in ramac("--help", RAMAC_CONFIG_DIR=str(tmp_path))[0]


def test_help_beside_settings_is_their_configuration():
    page, _ = ramac("actor=ddpm7", "--help")
    assert "actor:\n  name: ddpm\n  steps: 7\n" in page
    assert page.startswith("ramac: risk-aware")


def test_list_imports_what_it_shows():
    page, loaded = ramac("list")
    assert "torch" in loaded
    assert not loaded & HEAVY
    assert all(name in page for name in entries()["actor"])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_wherever_it_stands(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ramac", name, "some-run", "key=value", "--help"])
    main()
    assert capsys.readouterr().out.startswith(f"ramac {name}")
