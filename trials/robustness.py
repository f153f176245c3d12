"""Bad input at random: command lines and data, each of which must run to the end or be refused in one line.

A refusal is exactly one line on standard error beside the notes that docs/errors.md names, status 2, nothing written.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, given, settings

from trials.command_lines import LAST, SMALL, command_lines
from trials.damaged import Damage, damages, prepared

NOTES = re.compile(r"ramac: this critic learns the mean only: .*|\S+ is not on disk: asking Minari's server for it")


@dataclass(frozen=True)
class Outcome:
    """What a command line came to."""

    status: int
    lines: list[str]  # of standard error
    left: set[str]  # paths that were not there before
    trace: str

    def kind(self) -> str:
        """`ran`, `failed` (status 1: training diverged, a grid's cell, `data check`), `refused`, or what is wrong."""
        if self.trace:
            return f"traceback: {self.trace}"
        if self.status == 0:
            return "ran"
        told = [line for line in self.lines if not NOTES.fullmatch(line)]
        if self.status == 1:
            return "failed"
        if self.status != 2 or len(told) != 1 or not told[0].startswith("ramac: ") or told[0] != self.lines[-1]:
            return f"status {self.status} and lines {self.lines}"
        return f"left behind {sorted(self.left)}" if self.left else "refused"


def attempt(arguments: list[str], folder: Path) -> Outcome:
    """Run `ramac ARGUMENTS` in this process, in a folder with datasets of its own."""
    from hydra.core.global_hydra import GlobalHydra

    import ramac.cli
    import ramac.experiment.estimate

    before = {str(path) for path in folder.rglob("*")}
    here, out, err, status, trace = os.getcwd(), io.StringIO(), io.StringIO(), 0, ""
    own = {"MINARI_DATASETS_PATH": str(folder / "datasets"), "HF_HUB_OFFLINE": "1"}
    os.chdir(folder)
    try:
        with (
            mock.patch.object(sys, "argv", ["ramac", *arguments]),
            mock.patch.object(ramac.experiment.estimate.judge, "__defaults__", (2,)),  # updates of an estimate
            mock.patch.dict(os.environ, own),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            warnings.resetwarnings()
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", ResourceWarning)
            try:
                ramac.cli.main()
            except SystemExit as stop:
                status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            except BaseException:
                status, trace = -1, traceback.format_exc()
    finally:
        os.chdir(here)
        GlobalHydra.instance().clear()
    left = {str(path) for path in folder.rglob("*")} - before - {str(folder / "datasets")}
    return Outcome(status, err.getvalue().splitlines(), left, trace)


def of_command_line(words: list[str]) -> tuple[list[str], Outcome]:
    """What becomes of a command line that was drawn."""
    told = any("=" in word and not word.startswith("-") for word in words) and words[0] not in (
        "list", "eval", "doctor", "estimate", "report", "data", "grid",
    )  # fmt: skip
    line = [*SMALL, *words, *LAST] if told else words
    with tempfile.TemporaryDirectory() as folder:
        return line, attempt(line, Path(folder))


def of_data(damage: Damage) -> tuple[list[str], Outcome]:
    """What becomes of data that were damaged."""
    with tempfile.TemporaryDirectory() as folder:
        line = prepared(damage, Path(folder))
        return line, attempt(line, Path(folder))


PROPERTIES = {"command lines": (command_lines, of_command_line, 330), "data": (damages, of_data, 190)}


def trial(name: str, cases: int | None = None) -> Counter:
    """Try the cases of a property and count what became of them. Raises AssertionError for the first that is wrong.

    The default number is drawn from a fixed seed, any other anew each time.
    """
    strategy, outcome_of, usual = PROPERTIES[name]
    found: Counter = Counter()

    @settings(
        max_examples=cases or usual, derandomize=cases is None, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy())
    def each(case) -> None:
        line, outcome = outcome_of(case)
        kind = outcome.kind()
        assert kind in ("ran", "failed", "refused"), f"ramac {line}: {kind}"
        found[kind] += 1

    each()
    return found
