"""Signals that end a run: it comes to the end of an update, saves its state, and says so."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP")  # a scheduler's, Ctrl-C, a terminal that is gone


class Interrupted(KeyboardInterrupt):
    """A run was told to end by a signal; the text says where it stands."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.status = 128 + number  # exit status, as shells count


class Interruption:
    """Whether a signal has come. While it is `holding` the first one is only noted; else it raises Interrupted.

    Nothing is changed outside the main thread, which alone hears signals, nor for a signal that is ignored (nohup).
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.holding = False
        self.way_on: Callable[[], str] = lambda: "the run had not begun"  # for the end of its message

    def __enter__(self) -> "Interruption":
        self.before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
                if (before := signal.getsignal(number)) is not signal.SIG_IGN:
                    self.before[number] = before
                    signal.signal(number, self.hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self.before.items():
            signal.signal(number, before)

    def hear(self, number: int, frame: FrameType | None) -> None:
        """What a signal does."""
        again, self.signal = self.signal is not None, number
        if again or not self.holding:
            self.end()

    def end(self) -> None:
        """Raise Interrupted where a signal has come."""
        if self.signal is not None:
            raise Interrupted(f"stopped by {signal.Signals(self.signal).name}; {self.way_on()}", self.signal)

    @contextmanager
    def hold(self, holding: bool = True) -> Iterator[None]:
        """A block that a first signal does not break into, or with False one that it does."""
        before, self.holding = self.holding, holding
        try:
            if not holding:
                self.end()
            yield
        finally:
            self.holding = before
