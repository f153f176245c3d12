"""Large arrays lie on disk: the same numbers, no file left behind, one line about it."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from ramac.data import concatenate, large, ood
from ramac.data.check import findings
from ramac.data.columns import mean_and_std
from ramac.data.ood import Detector
from ramac.data.sources import load
from ramac.errors import InputError
from trials.datasets import arrays, write_d4rl


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tiny(monkeypatch):
    """Arrays of 256 bytes are large, and blocks have 128 bytes."""

    def set_sizes() -> None:
        monkeypatch.setattr(large, "LARGE", 256)
        monkeypatch.setattr(large, "BLOCK", 128)
        large.tell.cache_clear()

    return set_sizes


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("width", [1, 2, 3, 8, 17, 100])
def test_moments_in_blocks_are_numpys_to_the_last_bit(kind, width, tiny):
    tiny()
    values = (np.random.default_rng(0).normal(size=(1001, width)) * 7 + 30).astype(kind)
    mean, std = mean_and_std(values)
    assert (mean == values.mean(0, dtype=np.float64)).all() and (std == values.std(0, dtype=np.float64)).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("following", [True, False])
def test_a_large_file_is_read_as_a_small_one(kind, following, tiny, capsys):
    steps = {key: value.astype(kind) if value.dtype.kind == "f" else value for key, value in arrays(90, 3, 2).items()}
    steps["timeouts"] = np.arange(90) % 7 == 6
    if following:
        steps["next_observations"] = steps["observations"] + kind(1)
    write_d4rl(Path("log.hdf5"), **steps)
    bounds = np.full(2, -2.0), np.full(2, 2.0)
    small = load("log.hdf5")
    text, doubled = list(findings(small, *bounds)), concatenate([small, small])
    capsys.readouterr()
    tiny()
    log = load("log.hdf5")
    told = f"ramac: arrays of 1 GiB and more are kept on disk, in {tempfile.gettempdir()}; TMPDIR=FOLDER names another"
    assert [line for line in capsys.readouterr().err.splitlines() if "TMPDIR" in line] == [told]
    kept = small.keep(small.reward > 0), log.keep(log.reward > 0)
    for one, other in ((small, log), (doubled, concatenate([log, log])), kept):
        assert (one.start == other.start).all()
        assert all((column == other.columns[name]).all() for name, column in one.columns.items())
    assert isinstance(log.observation.base, np.memmap) and log.observation.dtype == small.observation.dtype
    assert list(findings(log, *bounds)) == text


def test_a_large_array_leaves_no_file(tmp_path, tiny, monkeypatch):
    tiny()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = large.empty((40, 3), np.float64)
    found[:] = 7
    assert not list(tmp_path.iterdir())
    assert found.sum() == 840


def test_a_full_disk_is_said_before_anything_is_read(tmp_path, tiny, monkeypatch):
    write_d4rl(Path("log.hdf5"), **arrays(90, 3, 2))
    tiny()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(InputError, match=r"an array of 0.0 GB cannot be kept in .*gone: No such file"):
        load("log.hdf5")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(large.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100}))
    with pytest.raises(InputError, match=r"GB is kept on disk, and .* has 0.0 GB free; make room or set TMPDIR"):
        load("log.hdf5")


def test_the_detector_of_large_data_searches_among_drawn_steps(monkeypatch):
    random = np.random.default_rng(0)
    steps = {**arrays(400, 3, 2), "timeouts": np.arange(400) % 20 == 19}
    steps["next_observations"] = steps["observations"]
    log = load_of(steps)
    monkeypatch.setattr(ood, "MOST_NUMBERS", 300)
    detector = Detector(log, neighbours=5)
    known = np.asarray(detector.tree.data)
    assert known.shape == (100, 3) and len(np.unique(known, axis=0)) == 100
    state = random.normal(size=(6, 3))
    apart = np.linalg.norm(known - ((state - log.observation.mean(0)) / log.observation.std(0))[:, None], axis=-1)
    assert (np.sort(detector.nearest(state)) == np.sort(np.argsort(apart)[:, :5])).all()


def load_of(steps):
    write_d4rl(Path("log.hdf5"), **steps)
    return load("log.hdf5")
