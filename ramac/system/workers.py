"""Jobs in other processes of this machine: they save their state and stop when the process that leads them ends."""

import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from ramac.system.signals import Signals

LEADER = "RAMAC_LEADER"  # environment variable of a job: host, process and folder of its leader
QUIET = "RAMAC_QUIET"  # environment variable of a sweep and its jobs that print nothing
LOCK = "leader.lock"
PAUSE = 0.5  # seconds between two looks at the leader's lock
GRACE = 3.0  # seconds for a job to save its state and stop: with the pause less than the 5 that users may wait
STATUS = 128 + 15  # exit status of a stopped job, as after SIGTERM


@contextmanager
def leading(hint: str) -> Iterator[str]:
    """Lead the jobs whose environment variable LEADER is the value of this block. They stop when the block ends.

    They also stop when this process dies, because they watch a lock that it holds. The system frees the lock whatever
    ends the process, SIGKILL included; a process number could be taken by another process meanwhile. A signal raises
    Interrupted with `hint` once the jobs have stopped. Raises OSError.
    """
    folder = Path(tempfile.mkdtemp(prefix="ramac-"))
    lock = FileLock(folder / LOCK)

    def stop() -> None:
        if lock.is_locked:
            lock.release()
            wait_for_jobs(folder, time.monotonic() + PAUSE + GRACE)

    lock.acquire()
    try:
        with Signals() as signals:
            signals.stop, signals.hint = stop, lambda: hint
            yield f"{socket.gethostname()}:{os.getpid()}:{folder}"
    finally:
        stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def led() -> Iterator[None]:
    """A job, which is stopped as by SIGTERM when its leader has ended. On other machines than the leader's: nothing."""
    host, _, rest = os.environ.get(LEADER, "").partition(":")
    process, _, place = rest.partition(":")
    if host != socket.gethostname() or process == str(os.getpid()):
        yield
        return
    folder, ended, deadlines = Path(place), threading.Event(), list[float]()

    def watch() -> None:
        while not ended.wait(PAUSE):
            if has_left(folder):
                deadlines.append(time.monotonic() + GRACE)
                # on Windows os.kill would end the process before it has saved anything
                signal.raise_signal(signal.SIGTERM) if os.name == "nt" else os.kill(os.getpid(), signal.SIGTERM)
                if not ended.wait(GRACE):  # the main thread does not listen
                    os._exit(STATUS)
                return

    if has_left(folder):  # before this job began
        os._exit(STATUS)
    mark = folder / str(os.getpid())
    with suppress(OSError):
        mark.touch()
    threading.Thread(target=watch, daemon=True).start()
    try:
        with Signals():  # also before and after the run, which has its own
            yield
    finally:
        ended.set()
        mark.unlink(missing_ok=True)
        for deadline in deadlines:  # nobody waits for a result, and the launcher would give this process its next job
            wait_for_jobs(folder, deadline)  # joblib kills all its processes when one of them ends
            sys.stderr.flush()
            os._exit(STATUS)


def wait_for_jobs(folder: Path, deadline: float) -> None:
    """Wait until no job has its mark in the folder, or until `time.monotonic()` is the deadline."""
    while set(os.listdir(folder) if folder.is_dir() else []) - {LOCK} and time.monotonic() < deadline:
        time.sleep(PAUSE / 10)


def has_left(folder: Path) -> bool:
    """Whether the leader whose folder this is has ended."""
    try:
        os.utime(folder / LOCK)  # programs that clean temporary folders leave a file that is in use
        with FileLock(folder / LOCK, timeout=0):
            return True
    except Timeout:
        return False
    except OSError:  # the folder is gone
        return not folder.is_dir()
