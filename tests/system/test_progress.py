"""The progress bar: speed and time left of the steps of this process, without evaluations."""

import re

import pytest

from ramac.system.runtime import ProgressBar, progress_bar


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def begun(steps: int, seconds: float, initial: int = 0) -> tuple[ProgressBar, Clock]:
    """A bar of steps that take so many seconds each."""
    clock = Clock()

    def made():
        for step in range(initial + 1, steps + 1):
            clock.now += seconds
            yield step

    bar = progress_bar(made(), steps, "run", initial=initial)
    bar._time, bar.start_t, bar.last_print_t = clock, clock.now, clock.now
    return bar, clock


def seconds_left(text: str) -> int:
    (minutes, seconds) = re.search(r" (\d+):(\d\d) left", text).groups()
    return 60 * int(minutes) + int(seconds)


def lines(text: str) -> list[str]:
    return [line for line in text.replace("\r", "\n").splitlines() if line]


@pytest.mark.parametrize("pause", [0, 5000])
def test_an_evaluation_does_not_count(pause, capsys):
    bar, clock = begun(400, seconds=2)
    for step in bar:
        if step == 205:
            with bar.paused("evaluation"):
                clock.now += pause
        if step == 250:
            shown = str(bar)
    assert "250/400" in shown and "0.50 steps/s" in shown
    assert abs(seconds_left(shown) - 2 * (400 - 250)) <= 1
    assert "evaluation" not in capsys.readouterr().err, "a log file has no line for it"


def test_a_resumed_run_has_the_pace_of_its_own_process():
    bar, _ = begun(1000, seconds=4, initial=900)
    for step in bar:
        if step == 910:
            assert "910/1000" in str(bar) and "0.25 steps/s" in str(bar)
            assert abs(seconds_left(str(bar)) - 4 * (1000 - 910)) <= 1


def test_a_log_file_gets_a_line_twice_a_minute(capsys):
    bar, _ = begun(100, seconds=1)
    for _ in bar:
        pass
    assert 100 // 30 <= len(lines(capsys.readouterr().err)) <= 100 // 30 + 3  # also the first and the last


def test_a_step_is_counted_when_it_is_made():
    bar, _ = begun(3, seconds=1)
    assert [(step, bar.n) for step in bar] == [(1, 1), (2, 2), (3, 3)]
