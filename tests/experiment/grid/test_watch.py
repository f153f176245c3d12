"""`ramac grid status --watch`, and the time that is left of a running run."""

import io
import os
import re
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from ramac.cli import grid as command
from ramac.errors import InputError
from ramac.experiment.compose import compose
from ramac.experiment.folder import RunFolder
from ramac.experiment.grid.folder import Cell, GridFolder
from ramac.experiment.grid.status import Row, remaining
from ramac.text import console

CELL = Cell(["seed=0"], "x")


def begun(step: int, resumed: int = 0, seconds: float = 60, ago: float = 0) -> RunFolder:
    """A run of 1000 steps whose process began `seconds` before it logged `step`, which was `ago`."""
    folder, logged = RunFolder(Path("g/x")), time.time() - ago
    folder.path.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(compose(["trainer.steps=1000"]).plain), folder.config_file)
    folder.metrics_file.write_text(f"step,name,value\n{step},loss_td,0.5\n")
    folder.environment_file.write_text(
        "command: ramac\n" + f"\nresumed after gradient step {resumed}\n" * bool(resumed)
    )
    os.utime(folder.environment_file, (logged - seconds,) * 2)
    os.utime(folder.metrics_file, (logged,) * 2)
    return folder


def test_the_time_left_is_by_the_pace_of_the_present_process():
    row = Row.running(CELL, begun(step=200))
    assert (row.progress, row.left) == (0.2, pytest.approx(60 / 200 * 800, abs=1))
    row = Row.running(CELL, begun(step=700, resumed=600))
    assert (row.progress, row.left) == (0.7, pytest.approx(60 / 100 * 300, abs=1))
    assert Row.running(CELL, begun(step=200, ago=40)).left == pytest.approx(60 / 200 * 800 - 40, abs=1)
    assert Row.running(CELL, begun(step=200, ago=4000)).left == 0
    assert Row.running(CELL, begun(step=600, resumed=600)).left is None


def test_a_grid_has_an_estimate_before_its_first_run_has_finished():
    row = Row.running(CELL, begun(step=200))
    whole = 60 / 200 * 1000
    assert remaining([row, Row(CELL, "waiting")]) == pytest.approx(0.8 * whole + whole, abs=2)
    assert remaining([Row(CELL, "running"), Row(CELL, "waiting")]) is None
    assert remaining([row, Row(CELL, "done", seconds=50)]) == pytest.approx(0.8 * 50)


def watched(monkeypatch, states: list[str], *words: str) -> str:
    """What a terminal shows while a run goes through these states."""
    GridFolder(Path("g")).add([CELL])
    screen, looks = io.StringIO(), iter(states)
    monkeypatch.setattr(command, "console", lambda: console(screen, force_terminal=True, width=100, color_system=None))
    monkeypatch.setattr(command, "status", lambda _: [Row(CELL, next(looks), progress=0.25, left=30.0)])
    monkeypatch.setattr(command.time, "sleep", pauses.append)
    assert command.main(["status", "g", *words]) == 0
    assert not list(looks)
    return screen.getvalue()


pauses: list[float] = []


def test_it_looks_again_until_no_run_is_left_to_come(monkeypatch):
    pauses.clear()
    text = watched(monkeypatch, ["waiting", "running", "interrupted", "failed"], "--watch=7")
    assert pauses == [7.0] * 3
    assert "running: x, 25% of its gradient steps, about 30 s left" in text
    assert re.search(r"│ 0 +│ +0 │ +1 │ +0 │ +0 │", text), "the last look, with one failed run, stays"
    assert text.rstrip().endswith("\x1b[?25h"), "the cursor is back"


def test_ctrl_c_leaves_the_terminal_as_it_was(monkeypatch):
    GridFolder(Path("g")).add([CELL])
    screen = io.StringIO()
    monkeypatch.setattr(command, "console", lambda: console(screen, force_terminal=True, width=100))

    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command.time, "sleep", stopped)
    with pytest.raises(KeyboardInterrupt):
        command.main(["status", "g", "--watch"])
    assert screen.getvalue().rstrip().endswith("\x1b[?25h")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["g", "--watch"], "--watch needs a terminal"),
        (["g", "--watch=0"], "--watch takes a number of seconds from 0.5 to 3600, got '0'"),
        (["g", "--watch=nan"], "got 'nan'"),
        (["g", "--watch="], "got ''"),
        (["g", "--wach"], "no option '--wach'; there is --watch; did you mean '--watch'"),
        (["--watch"], "needs one folder, got 0"),
        (["g", "5", "--watch"], "needs one folder, got 2"),
    ],
)
def test_bad_ways_to_watch(words, told):
    GridFolder(Path("g")).add([CELL])
    with pytest.raises(InputError, match=told):
        command.main(["status", *words])
