import shutil
from pathlib import Path

import pytest
import torch

from trials.hostile import write_run


@pytest.fixture(scope="session")
def sound_run(tmp_path_factory) -> Path:
    """One sound run folder, of which each test gets a copy."""
    torch.manual_seed(0)
    return write_run(tmp_path_factory.mktemp("sound") / "run")


@pytest.fixture
def run(sound_run, tmp_path, monkeypatch) -> Path:
    """A sound run folder; each test spoils one thing."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(sound_run, tmp_path / "run")


@pytest.fixture(autouse=True)
def _figures(small_figures):
    pass
