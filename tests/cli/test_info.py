"""`ramac info`: complete, pasteable, and there whatever is broken."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from ramac.cli.info import main
from ramac.errors import InputError
from ramac.system import info

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))


def test_the_text_and_the_json_are_the_same_report(capsys):
    assert main(["--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert main([]) == 0
    text = capsys.readouterr().out
    for title, section in found.items():
        assert f"\n{title}:" in f"\n{text}"
        assert all(f"  {key}: {value}\n" in text for key, value in section.items() if key != "available")
    assert found["ramac"]["version"] == metadata.version("ramac")
    assert found["packages"]["torch"] == metadata.version("torch")
    assert found["machine"]["cores"] == str(os.cpu_count())


def test_no_secret_and_no_home_is_shown(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", "0123secret")
    monkeypatch.setenv("RAMAC_CONFIG_DIR", str(tmp_path / "presets"))
    (tmp_path / "presets/actor").mkdir(parents=True)
    (tmp_path / "presets/actor/slow.yaml").touch()
    (tmp_path / "datasets/ramac/x-v0/data").mkdir(parents=True)
    (tmp_path / "datasets/ramac/x-v0/data/main_data.hdf5").write_bytes(bytes(1_500_000))
    main([])
    text = capsys.readouterr().out
    assert "secret" not in text and str(tmp_path) not in text
    assert "  WANDB_API_KEY: set\n" in text
    assert "  ~/presets: actor/slow\n" in text
    assert "  Minari, ~/datasets: 1 datasets, 1.5 MB\n" in text
    assert "  D4RL, ~/.d4rl/datasets: no such folder\n" in text


def test_plugins_say_whether_they_could_be_imported(tmp_path, monkeypatch):
    (tmp_path / "broken_plugin.py").write_text("raise SystemExit('no licence')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("RAMAC_PLUGINS", "broken_plugin,examples.my_actor,no_such_plugin")
    assert info.plugins() == {
        "broken_plugin": "skipped, from $RAMAC_PLUGINS: SystemExit: no licence",
        "examples.my_actor": "loaded, from $RAMAC_PLUGINS",
        "no_such_plugin": "skipped, from $RAMAC_PLUGINS: ModuleNotFoundError: No module named 'no_such_plugin'",
    }


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    lines = ["nowhere>=1", "nothing>=2 ; extra == 'video'", "gymnasium[nobody]>=1 ; extra == 'mujoco'", "numpy>=2"]
    monkeypatch.setattr(metadata, "requires", lambda _: lines)
    assert info.packages() == {
        "nowhere": "not installed",
        "nothing": "not installed: pip install 'ramac[video]'",
        "nobody": "not installed: pip install 'ramac[mujoco]'",
        "numpy": metadata.version("numpy"),
    }


@pytest.mark.parametrize("broken", ["program", "machine", "packages", "plugins", "presets", "data", "variables"])
def test_a_broken_part_leaves_the_others(broken, monkeypatch):
    def fail():
        raise OSError("of no\nuse")

    monkeypatch.setattr(info, broken, fail)
    found = info.information()
    assert len(found) == 8
    assert [part for part in found.values() if isinstance(part, str)] == ["not available: OSError: of no use"]


def test_it_is_there_without_torch(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libtorch.so is damaged')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run([sys.executable, "-m", "ramac", "info"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "torch: not available: ImportError: libtorch.so is damaged\n" in done.stdout
    assert "  numpy: " in done.stdout


def test_other_arguments_are_refused():
    with pytest.raises(InputError, match="info takes no arguments but --json, got 'run'"):
        main(["run"])
