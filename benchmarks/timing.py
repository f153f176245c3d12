"""Times of several contenders in alternation, so that other load on the machine affects all of them alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch


def synchronise() -> None:
    """Wait for the accelerator, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def processor_and_wall() -> np.ndarray:
    """Processor time of all threads of this process, and wall time: [2]."""
    return np.array([time.process_time(), time.perf_counter()])


def seconds(work: Callable[[], Any], repeats: int, clock: Callable[[], Any] = time.perf_counter) -> Any:
    """Time of one call by the clock, averaged over `repeats` calls in a row."""
    synchronise()
    started = clock()
    for _ in range(repeats):
        work()
    synchronise()
    return (clock() - started) / repeats


def alternate(
    contenders: Mapping[str, Callable[[], Any]],
    rounds: int,
    least: float = 0.2,
    warm: int = 6,
    clock: Callable[[], Any] = time.perf_counter,
) -> dict[str, np.ndarray]:
    """Time per call of each contender by the clock in each round [rounds, ...]; a turn lasts about `least` seconds.

    Every second round is in reverse order, so that no contender always follows the same one.
    """
    repeats = {}
    for name, work in contenders.items():
        seconds(work, warm)
        repeats[name] = max(1, round(least / seconds(work, 1)))
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        for name in list(contenders)[:: -1 if turn % 2 else 1]:
            found[name].append(seconds(contenders[name], repeats[name], clock))
    return {name: np.array(values) for name, values in found.items()}


def spread(name: str, values: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Median and quartiles as columns `name`, `name_q1` and `name_q3`."""
    low, middle, high = np.quantile(np.asarray(values), [0.25, 0.5, 0.75])
    return {name: float(middle), f"{name}_q1": float(low), f"{name}_q3": float(high)}
