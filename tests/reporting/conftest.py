"""Runs that several tests of reports share."""

import pytest

from tests.reporting.samples import write_run


@pytest.fixture
def grid(tmp_path):
    """Two actors by two risk measures by three seeds, at names that say nothing; returns by cell."""
    found = {}
    for number, (actor, risk, seed) in enumerate(
        (actor, risk, seed) for actor in ("flow", "gaussian") for risk in ("neutral", "cvar0.1") for seed in range(3)
    ):
        shift = 5 * (actor == "flow") + seed
        found[actor, risk, seed] = write_run(
            tmp_path / "runs" / f"x{number}", seed, shift, actor=actor, risk=risk, steps=(500, 1000)
        )
    return tmp_path / "runs", found
