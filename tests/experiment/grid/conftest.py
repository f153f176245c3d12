import pytest
from hydra.core.global_hydra import GlobalHydra


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch, small_figures):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    GlobalHydra.instance().clear()
