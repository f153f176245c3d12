"""Updates side by side: speed, ratio to the plain implementation, share of the matmul limit, memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks import matmul, memory
from benchmarks.timing import alternate, spread

Row = dict[str, Any]


@dataclass
class Contender:
    """An update to measure; `columns` say what it is, `against` names the contender that its ratio refers to."""

    update: Callable[[], Any]
    columns: Row = field(default_factory=dict)
    against: str | None = None
    evaluations: str = ""
    period: int = 1  # updates after which the work repeats


def cycle(contender: Contender) -> Callable[[], None]:
    """All the updates of a period."""

    def work() -> None:
        for _ in range(contender.period):
            contender.update()

    return work


def compare(
    contenders: dict[str, Contender], device: torch.device, rounds: int, least: float = 0.2, warm: int = 6
) -> list[Row]:
    """One row per contender, all measured in alternation with matrix products: the square one and each one's own.

    `best_ratio` is that of the fastest rounds, which a busy machine disturbs least. `limit_percent` is the share of the
    time that the update's operations would take at the higher of the two rates.
    """
    work: dict[str, Callable[[], Any]] = {}
    operations, peaks = {}, {}
    large, large_operations = matmul.square(device)
    for name, contender in contenders.items():
        work[name] = contender.update
        updates, period = cycle(contender), contender.period
        updates()  # the first update makes the optimisers' state
        operations[name] = matmul.operations(updates) / period
        work[f"products of {name}"] = matmul.replay(matmul.products(updates), device)
        peaks[name] = memory.peak(updates, device)
    times = alternate({**work, "square": large}, rounds, least, warm)
    square = large_operations / times["square"] / 1e9
    rows = []
    for name, contender in contenders.items():
        took, own = times[name], operations[name] * contender.period / times[f"products of {name}"] / 1e9
        row = {**contender.columns, **spread("updates_per_second", 1 / took)}
        ratio = times[contender.against] / took if contender.against else None
        row |= dict.fromkeys(("ratio", "ratio_q1", "ratio_q3")) if ratio is None else spread("ratio", ratio)
        row["best_ratio"] = float(times[contender.against].min() / took.min()) if contender.against else None
        rate = operations[name] / took / 1e9
        row |= {"gflop": operations[name] / 1e9, **spread("limit_percent", 100 * rate / square.clip(own))}
        row |= spread("own_limit_percent", 100 * rate / own)
        row |= {**spread("square_gflops", square), **spread("own_gflops", own)}
        rows.append({**row, "peak_mb": peaks[name], "evaluations": contender.evaluations, "rounds": rounds})
    return rows
