"""Data that one run could read are damaged or missing when the same command runs again."""

import json
import re
import shutil
from pathlib import Path

import pytest

from trials.datasets import arrays, store, write_d4rl
from trials.robustness import attempt

RUN = ("task=gymnasium", "task.environment=Pendulum-v1", "task.horizon=3", "actor=gaussian", "critic=mean")
RUN += ("risk=neutral", "actor.hidden=[8]", "critic.hidden=[8]", "trainer.steps=2", "evaluation.episodes=1")


def refusal(arguments, folder) -> str:
    outcome = attempt(list(arguments), folder)
    assert outcome.kind() == "refused", outcome
    return outcome.lines[-1]


@pytest.fixture(scope="module")
def used(tmp_path_factory) -> Path:
    """A folder with a Minari dataset and a run that was trained on it."""
    folder = tmp_path_factory.mktemp("used")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder / "datasets"))
        store("my/data-v0", (10, 12), 3, 1)
    assert attempt([*RUN, "data=my/data-v0"], folder).status == 0
    return folder


@pytest.fixture
def dataset(used, tmp_path) -> Path:
    """The dataset of the run in the current folder."""
    shutil.copytree(used, tmp_path, dirs_exist_ok=True)
    return tmp_path / "datasets/my/data-v0"


def test_a_file_that_is_gone(tmp_path):
    path = Path(write_d4rl(tmp_path / "mine.hdf5", **arrays(40, 3, 1)))
    assert attempt([*RUN, f"data={path}"], tmp_path).status == 0
    path.rename(tmp_path / "mine2.hdf5")
    assert f"no file '{path}'; did you mean '{tmp_path / 'mine2.hdf5'}'" in refusal([*RUN, f"data={path}"], tmp_path)
    assert f"no file '{path}'" in refusal(["data", "check", str(path)], tmp_path)
    run = "runs/gymnasium-gaussian-mean-neutral-seed0"
    text = f"{run}: its data are not in {path}; ramac estimate {run} data=PLACE names their place"
    assert text in refusal(["estimate", run], tmp_path)


def announce(path: Path, steps: int) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"total_steps": steps}))


DAMAGE = {
    "no arrays": (lambda data: (data / "main_data.hdf5").unlink(), "dataset 'my/data-v0' cannot be read: "),
    "half of the arrays": (
        lambda data: (data / "main_data.hdf5").write_bytes((data / "main_data.hdf5").read_bytes()[:2000]),
        "cannot be read: OSError: .*truncated",
    ),
    "no description": (lambda data: (data / "metadata.json").unlink(), "dataset 'my/data-v0' cannot be read: "),
    "an invalid description": (
        lambda data: (data / "metadata.json").write_text("{"),
        "dataset 'my/data-v0' cannot be read: .*metadata.json is not valid JSON",
    ),
    "more steps than there are": (
        lambda data: announce(data / "metadata.json", 1000),
        "dataset 'my/data-v0': 22 steps found, 1000 announced",
    ),
    "more steps than any memory holds": (
        lambda data: announce(data / "metadata.json", 10**13),
        "cannot be read: arrays of 80000000 MB are announced by a file of ",
    ),
    "an empty folder": (lambda data: [path.unlink() for path in data.iterdir()], "cannot be read: "),
    "no folder of arrays": (lambda data: data.rename(data.with_name("date")), "is in the way: it holds no dataset"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_minari_folder_that_is_damaged(dataset, tmp_path, kind):
    spoil, message = DAMAGE[kind]
    spoil(dataset / "data")
    assert re.search(message, refusal([*RUN, "data=my/data-v0"], tmp_path))
    assert re.search(message, refusal(["estimate", "runs/gymnasium-gaussian-mean-neutral-seed0"], tmp_path))
    assert attempt(["data", "list"], tmp_path).status == 0
