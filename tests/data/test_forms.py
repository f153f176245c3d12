"""Logs whose form could be taken for another: each is read as it is, or refused in one line."""

import numpy as np
import pandas as pd
import pytest

from ramac.data import as_log
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
