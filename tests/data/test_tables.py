"""Logs as people have them: files and folders of tables, names of columns, episodes and frames in Python."""

import json
import shutil
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from minari.dataset.episode_data import EpisodeData

from ramac.cli.data import main
from ramac.data import Log, as_log, from_arrays
from ramac.data.sources import choose, load
from ramac.errors import InputError
from ramac.experiment.compose import compose, parsed
from ramac.tasks import configured
from trials.datasets import arrays, store, write_d4rl

LENGTHS, FALLS = (5, 3, 11, 1, *[2] * 8), (0, 2)
needs_pyarrow = pytest.mark.skipif(find_spec("pyarrow") is None, reason="needs pyarrow")


@pytest.fixture
def episodes():
    """Twelve episodes with T + 1 observations; the first and the third are terminal."""
    random = np.random.default_rng(0)
    return [
        {
            "observations": random.normal(size=(n + 1, 3)).astype(np.float32),
            "actions": random.uniform(-1, 1, (n, 2)).astype(np.float32),
            "rewards": random.normal(size=n).astype(np.float32),
            "terminals": (np.arange(n) == n - 1) & (i in FALLS),
        }
        for i, n in enumerate(LENGTHS)
    ]


def flat(episodes):
    """The same steps one after the other, under usual names that are not D4RL's."""
    join = np.concatenate
    return {
        "obs": join([e["observations"][:-1] for e in episodes]),
        "next_obs": join([e["observations"][1:] for e in episodes]),
        "action": join([e["actions"] for e in episodes]),
        "reward": join([e["rewards"] for e in episodes]),
        "terminated": join([e["terminals"] for e in episodes]),
        "truncated": join([(np.arange(n) == n - 1) & ~e["terminals"] for n, e in zip(LENGTHS, episodes, strict=True)]),
        "episode_id": np.repeat([f"run{i}" for i in range(len(LENGTHS))], LENGTHS),
        "step": join([np.arange(n) for n in LENGTHS]),
    }


def frame(episodes):
    given = flat(episodes)
    arrays = {key: given.pop(key) for key in ("obs", "next_obs", "action")}
    wide = {f"{key}_{i}": column for key, array in arrays.items() for i, column in enumerate(array.T)}
    return pd.DataFrame(wide | given)


def holds(log, episodes):
    """Whether the log has these episodes, bit for bit."""
    given = flat(episodes)
    names = {"observation": "obs", "action": "action", "reward": "reward", "next_observation": "next_obs"}
    for part, name in (*names.items(), ("terminated", "terminated")):
        assert np.array_equal(getattr(log, part), given[name]), part
        assert getattr(log, part).dtype == given[name].dtype
    assert log.lengths.tolist() == list(LENGTHS)
    return True


def test_what_python_takes(episodes):
    given, table = flat(episodes), frame(episodes)
    one = np.split(table.index, np.cumsum(LENGTHS)[:-1])
    minari = EpisodeData(0, *episodes[0].values(), np.zeros(LENGTHS[0], bool), {})
    for form in (
        episodes, (e for e in episodes), dict(enumerate(episodes)), given, table, from_arrays(
            given["obs"], given["action"], given["reward"], given["terminated"], None, given["next_obs"],
            episode=given["episode_id"],
        ), [table.loc[rows] for rows in one],
    ):  # fmt: skip
        assert holds(as_log(form), episodes)
    assert np.array_equal(as_log([minari]).next_observation, episodes[0]["observations"][1:])


class Polars:
    """As much of a polars frame as is used: names, and columns that are no NumPy arrays."""

    def __init__(self, table):
        self.table, self.columns = table, list(table.columns)

    def __getitem__(self, name):
        return self.table[name].tolist()


def test_a_frame_is_known_by_its_columns(episodes):
    log = as_log(Polars(frame(episodes)))
    assert np.array_equal(log.observation, flat(episodes)["obs"])
    assert log.lengths.tolist() == list(LENGTHS)


def write(place, kind, episodes):
    """Write the episodes as this kind of file or folder; returns its path."""
    table, given = frame(episodes), flat(episodes)
    path = place / f"x.{kind}"
    if kind in ("csv", "tsv"):
        table.to_csv(path, index=False, sep="," if kind == "csv" else "\t")
    elif kind == "npz":
        np.savez(path, **given)
    elif kind == "episodes":
        path = place / "folder"
        path.mkdir()
        for i, episode in enumerate(episodes):
            np.savez(path / f"episode_{i}.npz", **episode)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if kind == "parquet":
            table.to_parquet(path)
            return path
        lists = pa.table({key: list(value) if value.ndim == 2 else value for key, value in given.items()})
        names = {"obs": "observation.state", "reward": "next.reward", "terminated": "next.terminated"}
        names |= {"truncated": "next.truncated", "episode_id": "episode_index", "step": "frame_index"}
        lists = lists.rename_columns([names.get(name, name) for name in lists.column_names])
        path = place / kind
        inner = {"lerobot": path / "data" / "chunk-000", "shards": path, "saved": path}[kind]
        inner.mkdir(parents=True)
        half = sum(LENGTHS[:3])
        for i, part in enumerate((lists.slice(0, half), lists.slice(half))):
            if kind == "saved":
                with (
                    pa.OSFile(str(inner / f"data-{i}.arrow"), "wb") as file,
                    pa.ipc.new_stream(file, part.schema) as out,
                ):
                    out.write_table(part)
            else:
                pq.write_table(part, inner / f"train-0000{i}-of-00002.parquet")
        if kind == "saved":
            files = [{"filename": f"data-{i}.arrow"} for i in range(2)]
            (path / "state.json").write_text(json.dumps({"_data_files": files}))
            (path / "cache-1.arrow").write_bytes(b"left by a map")
    return path


KINDS = {
    "csv": "csv", "tsv": "csv", "npz": "npz", "episodes": "episodes", "parquet": "parquet", "lerobot": "lerobot",
    "shards": "huggingface", "saved": "huggingface",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_data_takes(kind, tmp_path, episodes):
    if kind in ("parquet", "lerobot", "shards", "saved"):
        pytest.importorskip("pyarrow")
    path = write(tmp_path, kind, episodes)
    assert choose(str(path))[0] == KINDS[kind]
    assert holds(load(str(path)), episodes)
    assert holds(load(f"{KINDS[kind]}:{path}"), episodes)


def test_columns_are_named(tmp_path):
    """The wanted arrays are written out: names win over usual names, null reads without."""
    steps, random = 40, np.random.default_rng(0)
    table = pd.DataFrame({name: random.normal(size=steps) for name in ("x", "vx", "u", "r", "obs_0", "reward")})
    table["done"] = np.arange(steps) % 10 == 9
    path = tmp_path / "logs.csv"
    table.to_csv(path, index=False)
    columns = {"observations": ["vx", "x"], "actions": "u", "rewards": "r"}
    log = load(str(path), columns)
    assert np.allclose(log.observation, table[["vx", "x"]])
    assert np.allclose(log.action[:, 0], table["u"])
    assert np.allclose(log.reward, table["r"])
    assert log.terminated.tolist() == table["done"].tolist()
    cut = load(str(path), columns | {"timeouts": "done", "terminals": None})
    assert not cut.terminated.any()
    assert cut.lengths.tolist() == [9] * 4, "the last step of a cut episode has no next observation"
    assert np.array_equal(load(str(path), columns | {"timeouts": "done"}).reward, cut.reward)
    words = ["task=logs", f"data={path}", "data.columns.observations=[vx,x]", "columns.actions=u", "columns.rewards=r"]
    config = compose(words)
    assert config.columns == columns
    assert np.array_equal(configured(config.plain).clean()[0].observation, log.observation)
    with pytest.raises(InputError, match="no column 'vz'; did you mean 'vx'"):
        load(str(path), columns | {"observations": ["x", "vz"]})
    with pytest.raises(InputError, match=r"no setting 'data.columns.action'; there are .*; did you mean 'actions'"):
        compose([*words, "columns.action=u"])
    with pytest.raises(InputError, match="a Minari dataset has its own actions"):
        load(store(), columns)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"truncated": None}, "no timeouts: only terminals and changes of the episode id end an episode"),
        ({"truncated": None, "terminated": "done"}, "'done' may mark terminal states or cuts: it counts as terminal"),
        ({"terminated": None}, "no terminals: no step is terminal"),
        ({"order": 1}, "rows are sorted by episode and step"),
    ],
)
def test_what_is_understood_is_said(change, said, episodes, capsys):
    table = frame(episodes)
    order = np.random.default_rng(0).permutation(len(table)) if change.pop("order", 0) else np.arange(len(table))
    table = table.drop(columns=[name for name, new in change.items() if new is None])
    log = as_log(table.rename(columns={name: new for name, new in change.items() if new}).iloc[order])
    assert capsys.readouterr().err.count(said) == 1
    assert sorted(log.lengths.tolist()) == sorted(LENGTHS)


def test_a_terminal_timeout_is_terminal():
    zero = np.zeros((4, 1))
    log = from_arrays(zero, zero, np.ones(4), [0, 1, 0, 0], [0, 1, 0, 1], zero)
    assert log.terminated.tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ([(0, 1, 2)], "episode 0 is a tuple of 3 parts, which do not say what they are; give a dict"),
        ([], "there are no episodes"),
        (3, "data cannot be int; give a dict of arrays"),
        (
            [{"obs": [1.0], "action": [0.0], "reward": 1.0, "done": False}],
            "episode 0: rewards must have one row per",
        ),
        ({"obs": np.zeros((3, 2)), "reward": np.zeros(3)}, "this log has no 'actions'"),
        (pd.DataFrame({"obs_0": [0.0], "obs_2": [0.0]}), "observations: 'obs_2' is there and number 1 is not"),
        (
            {"obs": np.zeros((3, 1)), "action": np.zeros((3, 1)), "reward": np.zeros(3), "episode": [0, 1, 0]},
            "an episode comes back at row 2 after others; sort the rows by episode, or name a column of steps",
        ),
        (
            {"obs": np.zeros((3, 1)), "action": np.zeros((3, 1)), "reward": np.zeros(3), "done": [0, 0, 0], "t": 0}
            | {"time": [1, 2, 1]},
            "the column of steps falls inside an episode, at row 2: sort the rows",
        ),
    ],
)
def test_forms_that_say_too_little_are_refused(form, message):
    with pytest.raises(InputError, match=message):
        as_log(form)


@pytest.mark.parametrize("name", ["a+b.csv", "a=b ,(c)[d].csv", "größe ü.csv", "x{y}.csv"])
def test_signs_in_names(name, tmp_path, monkeypatch, episodes):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(write(tmp_path, "csv", episodes), name)
    assert holds(load(name), episodes)
    assert holds(load(f"~/{name}"), episodes)
    assert len(load(f"{name}+x.csv").start) == 2 * len(LENGTHS)
    assert parsed([f'data="{name}"'])[0].value() == name


def test_places_without_data(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.csv").touch()
    (tmp_path / "x.npz").touch()
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04")
    (tmp_path / "x.data").write_text("1 2 3")
    for name, message in (
        ("empty", "empty is a folder without data"), ("x.csv", "x.csv cannot be read"),
        ("x.npz", "x.npz cannot be read"), ("x.zip", "x.zip is an archive: unpack it"),
        ("x.data", "its ending says no format; data=NAME:"), ("y.csv", "no file .*y.csv'; did you mean .*x.csv"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            load(str(tmp_path / name))


def test_a_d4rl_file_without_timeouts_names_the_way_on(tmp_path):
    given = arrays()
    given.pop("timeouts")
    path = write_d4rl(tmp_path / "x.hdf5", **given)
    with pytest.raises(InputError, match=r"has no 'timeouts'.*data.columns.timeouts=null reads without"):
        load(path)
    assert load(path, {"timeouts": None}).lengths.tolist() == [20, 9]


@pytest.mark.parametrize("kind", ["csv", "episodes", "cuts"])
def test_a_converted_log_is_the_same(kind, tmp_path, episodes, capsys):
    settings = ["columns.timeouts=terminated", "columns.next_observations=null"] if kind == "cuts" else []
    path = write(tmp_path, "csv" if kind == "cuts" else kind, episodes)
    assert main(["convert", str(path), "mine/logs-v0", *settings]) == 0
    columns = {"timeouts": "terminated", "next_observations": None} if settings else None
    log, same = load(str(path), columns), load("mine/logs-v0")
    for part in ("observation", "action", "reward", "next_observation", "terminated", "start"):
        assert np.array_equal(getattr(log, part), getattr(same, part)), part
        assert getattr(log, part).dtype == getattr(same, part).dtype
    with pytest.raises(InputError, match="mine/logs-v0 exists already"):
        main(["convert", str(path), "mine/logs-v0"])


def test_steps_that_minari_cannot_hold_are_refused(tmp_path):
    given = arrays() | {"next_observations": np.zeros((30, 11))}
    path = write_d4rl(tmp_path / "x.hdf5", **given)
    with pytest.raises(InputError, match="step 0 is not followed by its next observation"):
        main(["convert", path, "mine/logs-v0"])
    assert isinstance(load(path), Log)


def test_what_minari_would_not_read_again_is_refused(tmp_path):
    path = write_d4rl(tmp_path / "x.hdf5", **arrays())
    for name in ("m/x-v0", "m/x", "/x-v0", "mine//x-v0", "x-v0\n"):
        with pytest.raises(InputError, match="no id of a Minari dataset"):
            main(["convert", path, name])
    given = arrays()
    given["actions"][5, 1] = np.nan
    path = write_d4rl(tmp_path / "nan.hdf5", **given)
    with pytest.raises(InputError, match=r"nan.hdf5: action is nan or infinite in 1 of 28 steps, first at step 5"):
        main(["convert", path, "mine/nan-v0"])
    for name in ("x-v0", "mi/x-v0", "m/i/x-v0"):
        assert main(["convert", str(tmp_path / "x.hdf5"), name]) == 0
        assert len(load(name).reward) == 28
