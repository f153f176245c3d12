"""Logs whose form could be taken for another: each is read as it is, or refused in one line."""

import numpy as np
import pandas as pd
import pytest

from ramac.data import as_log
from ramac.data.limits import refuse_larger
from ramac.data.sources import load
from ramac.errors import InputError


def table(steps, **columns):
    """Steps with rewards 0, 1, ... and actions of fractions, and these columns."""
    rows = np.arange(steps, dtype=float)
    return pd.DataFrame({"observations": 10 * rows, "actions": rows / 10, "rewards": rows} | columns)


def test_a_frame_with_a_column_of_observations_is_a_frame():
    """It has the attributes of Minari's EpisodeData too."""
    log = as_log([table(3, terminals=[0, 0, 1]), table(4, terminations=[0, 1, 0, 1], episode=[7, 7, 8, 8])])
    assert log.lengths.tolist() == [3, 2, 2]
    assert log.terminated.tolist() == [False, False, True, False, True, False, True]


@pytest.mark.parametrize("kind", ["parquet", "npz", "frames"])
def test_several_episodes_in_one_part_stay_apart(kind, tmp_path):
    parts = [table(6, episode_index=[0, 0, 0, 1, 1, 1]), table(2, episode_index=[1, 1])]
    for i, part in enumerate(parts):
        if kind == "parquet":
            pytest.importorskip("pyarrow")
            part.to_parquet(tmp_path / f"part-{i}.parquet")
        elif kind == "npz":
            arrays = {name: part[name].to_numpy() for name in part}
            wide = {name: arrays[name][:, None] for name in ("observations", "actions")}
            np.savez(tmp_path / f"part-{i}.npz", **arrays | wide)
    log = as_log(parts) if kind == "frames" else load(str(tmp_path))
    assert log.lengths.tolist() == [2, 2, 1], "the last step of a cut episode has no next observation"
    assert log.next_observation[:, 0].tolist() == [10, 20, 40, 50, 10]


def test_one_observation_more_belongs_to_one_episode():
    given = {"observations": np.zeros((7, 1)), "actions": np.zeros((6, 1)), "rewards": np.ones(6)}
    assert as_log(given | {"episode": [3] * 6}).lengths.tolist() == [6]
    for form in (given | {"episode": [0, 0, 0, 1, 1, 1]}, [given | {"episode": [0, 0, 0, 1, 1, 1]}]):
        with pytest.raises(InputError, match="one row more than rewards, which only whole episodes can have"):
            as_log(form)


ROWS = "obs_0,action,reward,done\n1.5,{},1,0\n2.5,{},1,0\n3.5,{},1,1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("obs_0,action,reward,done\n1,0.5,0.1,1,0\n2,1.5,0.2,1,1\n", r"row 0 has 5 values for 4 names of columns.*R "),
        ('"obs_0","action","reward"\n\n"1",0.5,0.1,1\n', "row 0 has 4 values for 3 names"),
        (ROWS.format(0.1, "0.2,7", 0.3), "cannot be read: .*line 3, saw 5"),
        (ROWS.format(0.1, "oops", 0.3), "column 'action' has 'oops' at row 1, which is no number"),
        (ROWS.format(0.1, 0.2, 0.3).replace("1,0\n", "1,False\n", 1), "column 'done' has 'False' at row 0"),
        (ROWS.format(0.1, 0.2, 0.3).replace("1,0\n", "1,\n", 1), "column 'done' has no value at row 0"),
        (
            ROWS.format(0.1, 0.2, 0.3).replace(",1,1\n", ",1,True\n").replace("1,0\n", "1,\n"),
            "'done' has no value at row 0",
        ),
        (ROWS.format(0, 1, 2), r"choices, .*store amounts as floats \(1.0\)"),
    ],
)
def test_csv_rows_that_do_not_fit_the_header_are_refused(text, message, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        load(str(tmp_path / "x.csv"))


def test_signs_in_quoted_names_of_csv_columns(tmp_path):
    (tmp_path / "x.csv").write_text(
        '\ufeff"x, m";"v, m";"u, 1";"u";reward;done\n1;2;0.5;0.5;1;0\n3;4;0.5;0.5;1;1\n', "utf-8"
    )
    log = load(str(tmp_path / "x.csv"), {"observations": ["v, m", "x, m"], "actions": "u, 1"})
    assert log.observation.tolist() == [[2, 1], [4, 3]]


@pytest.mark.parametrize("values", [(-2, 5, 17), tuple(range(21))])
def test_whole_amounts_of_a_csv_are_actions(values, tmp_path):
    frame = table(len(values), actions=values, terminals=[*[0] * (len(values) - 1), 1], next_observations=0.0)
    frame.to_csv(tmp_path / "x.csv", index=False)
    assert load(str(tmp_path / "x.csv")).action[:, 0].tolist() == list(values)


def test_a_folder_of_csv_files_and_of_none(tmp_path):
    for i, steps in ((10, 3), (2, 2)):
        table(steps).to_csv(tmp_path / f"episode_{i}.csv", index=False)
    assert load(str(tmp_path)).reward.tolist() == [0, 0, 1], "two steps of the one, three of the other, both cut"
    np.savez(tmp_path / "x.npz", observations=np.zeros((3, 1)), actions=np.zeros((2, 1)), rewards=np.ones(2))
    assert load(str(tmp_path)).reward.tolist() == [1, 1], "a table beside npz files is no episode"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="one kind, npz, parquet or csv; this one has none"):
        load(f"episodes:{tmp_path / 'empty'}")


@pytest.mark.parametrize(
    "names",
    [
        ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        ("data/a-0-of-2.parquet", "data/a-1-of-2.parquet", "data/b-0-of-1.parquet"),
        ("data/train/0000.parquet", "data/validation/0000.parquet", "data/0.parquet"),
    ],
)
def test_splits_are_not_joined(names, tmp_path):
    pytest.importorskip("pyarrow")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        table(3, done=[0, 0, 1]).to_parquet(tmp_path / name)
    with pytest.raises(InputError, match=r"several splits, .*: name a file of one, data=.*/data/.*parquet, or"):
        load(str(tmp_path))


def test_a_system_that_does_not_tell_its_memory_limits_nothing(monkeypatch):
    monkeypatch.delattr("os.sysconf")
    refuse_larger(2**60, 2**60)


LAST = np.arange(8) % 4 == 3
FALL = np.arange(8) == 3


@pytest.mark.parametrize(
    ("ends", "columns", "said"),
    [
        (
            {"done": LAST, "truncated": LAST & ~FALL},
            {},
            ["'done' is set wherever 'truncated' is, so these ends count as"],
        ),
        ({"done": FALL, "truncated": LAST & ~FALL}, {}, []),
        ({"terminated": LAST, "truncated": LAST & ~FALL}, {}, []),
        ({"done": LAST, "truncated": LAST & ~FALL}, {"terminals": "done"}, []),
        ({"done": LAST}, {}, ["'done' may mark terminal states or cuts"]),
        ({"done": LAST}, {"timeouts": None}, []),
        ({"terminated": LAST}, {"timeouts": None}, []),
        ({"terminated": LAST}, {}, ["no timeouts: only terminals end"]),
        ({"truncated": LAST}, {"terminals": None}, []),
        ({"truncated": LAST}, {}, ["no terminals: no step is terminal"]),
    ],
)
@pytest.mark.parametrize("episodes", [False, True])
def test_one_line_says_how_ends_are_taken_unless_they_were_named(ends, columns, said, episodes, capsys):
    frame = table(8, **ends)
    as_log([frame[:4], frame[4:]] if episodes else frame, columns)
    lines = capsys.readouterr().err.splitlines()
    if episodes and said == ["no timeouts: only terminals end"]:
        said = []  # the last step of each ends it
    assert len(lines) == len(said), lines
    assert all(text in line for text, line in zip(said, lines, strict=True))


@pytest.mark.parametrize(
    "step",
    [
        [0, np.nan, 2],
        [0, np.inf, 2],
        ["2024-01-01", None, "2024-01-03"],
        pd.to_datetime(["2024-01-01", None, "2024-01-02"]),
    ],
)
def test_a_step_without_a_value_is_named_by_its_row(step):
    with pytest.raises(InputError, match="step has no value at row 1"):
        as_log(table(3, step=step, done=[0, 0, 1]))
