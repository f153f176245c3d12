"""Bad input at random: no case ends in a traceback, in more than one line, or with something left behind."""

import os

import pytest

from trials import robustness

CASES = int(os.environ.get("RAMAC_CASES", "0")) or None  # of each property, drawn anew; unset: a fixed set


@pytest.mark.parametrize("name", robustness.PROPERTIES)
def test_every_case_runs_or_is_refused_in_one_line(name):
    found = robustness.trial(name, CASES)
    assert sum(found.values()) >= (CASES or robustness.PROPERTIES[name][2])
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
