import os

import pytest
import torch
from matplotlib.figure import Figure
from tensordict import TensorDict


def pytest_addoption(parser):
    parser.addoption(
        "--mutations",
        type=int,
        default=int(os.environ.get("RAMAC_CASES", 40)),
        help="damaged files that each test of a reader tries",
    )


@pytest.fixture
def mutations(request) -> int:
    """How many damaged files a test of a reader tries."""
    return request.config.getoption("mutations")


@pytest.fixture(autouse=True)
def reproducible():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def batch() -> TensorDict:
    """Random transitions [32] of a task with O = 3, A = 2; every fourth one terminates."""
    after = {
        "observation": torch.randn(32, 3),
        "reward": torch.randn(32, 1),
        "terminated": torch.arange(32).unsqueeze(-1) % 4 == 0,
    }
    now = {"observation": torch.randn(32, 3), "action": torch.rand(32, 2) * 2 - 1}
    return TensorDict({**now, "next": TensorDict(after, [32])}, [32])


@pytest.fixture
def small_figures(monkeypatch):
    """Figures of a few pixels: a fifth of a short run's time goes into them, and what they show is tested elsewhere."""
    sound = Figure.savefig

    def savefig(self, *given, **options):
        self.set_layout_engine("none")
        sound(self, *given, **{**options, "dpi": 10})

    monkeypatch.setattr(Figure, "savefig", savefig)


@pytest.fixture(autouse=True)
def own_datasets(tmp_path, monkeypatch):
    """No test sees, or leaves, a dataset of the user's."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
