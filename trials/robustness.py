"""Random bad input: each command line and each dataset must run to the end or be refused in one line.

A refusal writes one line to standard error (besides the notes in docs/errors.md), has status 2 and leaves no file.
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

import hypothesis
from hypothesis import HealthCheck, given, settings

from trials.command_lines import LAST, SMALL, command_lines
from trials.damaged import Damage, damages, prepared

NOTES = re.compile(r"ramac: this critic learns the mean only: .*|\S+ is not on disk: asking Minari's server for it")


@dataclass(frozen=True)
class Outcome:
    """The result of one command line."""

    status: int
    lines: list[str]  # standard error
    left: set[str]  # paths that were not there before
    trace: str

    def kind(self) -> str:
        """`ran`, `failed` (status 1: diverged training, failed cell, `data check`), `refused`, or what is wrong."""
        if self.trace:
            return f"traceback: {self.trace}"
        if self.status == 0:
            return "ran"
        messages = [line for line in self.lines if not NOTES.fullmatch(line)]
        if self.status == 1:
            return "failed"
        if (
            self.status != 2
            or len(messages) != 1
            or not messages[0].startswith("ramac: ")
            or messages[0] != self.lines[-1]
        ):
            return f"status {self.status} and lines {self.lines}"
        return f"left behind {sorted(self.left)}" if self.left else "refused"


def attempt(arguments: list[str], folder: Path) -> Outcome:
    """Run `ramac ARGUMENTS` in this process, in `folder` and with its own datasets folder."""
    from hydra.core.global_hydra import GlobalHydra

    import ramac.cli
    import ramac.experiment.estimate

    before = {str(path) for path in folder.rglob("*")}
    here, out, err, status, trace = os.getcwd(), io.StringIO(), io.StringIO(), 0, ""
    environment = {"MINARI_DATASETS_PATH": str(folder / "datasets"), "HF_HUB_OFFLINE": "1"}
    os.chdir(folder)
    try:
        with (
            mock.patch.object(sys, "argv", ["ramac", *arguments]),
            mock.patch.object(ramac.experiment.estimate.judge, "__defaults__", (2,)),  # gradient steps
            mock.patch.dict(os.environ, environment),
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


def outcome_of_words(words: list[str]) -> tuple[list[str], Outcome]:
    """The command line that is made of drawn words, and its outcome in an empty folder."""
    trains = any("=" in word and not word.startswith("-") for word in words) and words[0] not in (
        "list", "eval", "doctor", "estimate", "report", "data", "grid",
    )  # fmt: skip
    line = [*SMALL, *words, *LAST] if trains else words
    with tempfile.TemporaryDirectory() as folder:
        return line, attempt(line, Path(folder))


def outcome_of_damage(damage: Damage) -> tuple[list[str], Outcome]:
    """A command line that reads damaged data, and its outcome."""
    with tempfile.TemporaryDirectory() as folder:
        line = prepared(damage, Path(folder))
        return line, attempt(line, Path(folder))


PROPERTIES = {"command lines": (command_lines, outcome_of_words), "data": (damages, outcome_of_damage)}
CASES = 60  # per property; RAMAC_CASES changes it for the tests
SEEDS = range(2)  # the cases of a property are drawn in two equal parts, which can run side by side


def trial(name: str, cases: int, seed: int | None = None) -> Counter[str]:
    """Try `cases` cases of a property and count the outcomes. Raises AssertionError for the first wrong one.

    The same `seed` draws the same cases; None draws new ones.
    """
    strategy, outcome_of = PROPERTIES[name]
    found = Counter[str]()

    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy())
    def each(case) -> None:
        line, outcome = outcome_of(case)
        kind = outcome.kind()
        assert kind in ("ran", "failed", "refused"), f"ramac {line}: {kind}"
        found[kind] += 1

    (each if seed is None else hypothesis.seed(seed)(each))()
    return found
