"""Random bad input: no case ends in a traceback, in more than one line, or leaves a file behind.

`RAMAC_CASES=330` tries 330 cases of each property instead of 60.
"""

import math
import os

import pytest

from trials import robustness

CASES = math.ceil(int(os.environ.get("RAMAC_CASES", robustness.CASES)) / len(robustness.SEEDS))  # per seed


@pytest.mark.parametrize("seed", robustness.SEEDS)
@pytest.mark.parametrize("name", robustness.PROPERTIES)
def test_every_case_runs_or_is_refused_in_one_line(name, seed):
    found = robustness.trial(name, CASES, seed)
    assert sum(found.values()) >= CASES
    assert found["ran"] > 0.1 * sum(found.values()), "cases that are all refused would prove little"
    assert found["refused"] > 0.1 * sum(found.values())


def test_a_traceback_or_a_second_line_would_be_noticed(tmp_path):
    good = robustness.attempt(["actor=flwo"], tmp_path)
    assert good.kind() == "refused"
    for spoiled in (
        {"lines": [*good.lines, "ramac: again"]},
        {"lines": ["no actor"]},
        {"lines": []},
        {"left": {"run"}},
        {"status": -1, "trace": "ValueError"},
        {"status": 3},
    ):
        assert robustness.Outcome(**{**vars(good), **spoiled}).kind() not in ("ran", "failed", "refused")
