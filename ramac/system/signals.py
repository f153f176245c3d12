"""Signals that end a run: the gradient step under way is finished and the state saved before the run stops."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP")  # sent by a scheduler, by Ctrl-C, by a closed terminal


class Interrupted(KeyboardInterrupt):
    """A signal has ended a run; the text says how to continue."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.status = 128 + number  # exit status, as shells count


def from_outside(error: KeyboardInterrupt) -> bool:
    """Whether a signal has raised it, rather than code that raises KeyboardInterrupt itself."""
    return isinstance(error, Interrupted) or signal.getsignal(signal.SIGINT) is signal.default_int_handler


class Signals:
    """Listens to SIGNALS inside a `with` block. A signal raises Interrupted, at once or where `delayed` ends.

    Nothing changes outside the main thread, which alone receives signals, nor for a signal that is ignored (nohup).
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.waits = False
        self.hint: Callable[[], str] = lambda: "the run had not begun"  # end of the message
        self.stop: Callable[[], None] = lambda: None  # called before Interrupted is raised

    def __enter__(self) -> "Signals":
        self.before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
                if (before := signal.getsignal(number)) is not signal.SIG_IGN:
                    self.before[number] = before
                    signal.signal(number, self.receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self.before.items():
            signal.signal(number, before)

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: a second one raises at once, also in a delayed block."""
        again, self.received = self.received is not None, number
        if again or not self.waits:
            self.raise_received()

    def raise_received(self) -> None:
        """Raise Interrupted if a signal has been received."""
        if self.received is not None:
            self.stop()
            raise Interrupted(f"stopped by {signal.Signals(self.received).name}; {self.hint()}", self.received)

    @contextmanager
    def delayed(self, delayed: bool = True) -> Iterator[None]:
        """A block that a first signal does not interrupt; with False, one that it does."""
        before, self.waits = self.waits, delayed
        try:
            if not delayed:
                self.raise_received()
            yield
        finally:
            self.waits = before
