"""Checks that ramac's speed over the plain implementation has not fallen far below the recorded one."""

from collections.abc import Iterable, Mapping
from typing import Any

SHARE = 0.5  # least share of the recorded ratio


def fallen(measured: Iterable[Mapping[str, Any]], recorded: Iterable[Mapping[str, Any]]) -> list[str]:
    """One line per recipe and implementation whose ratio, in the fastest rounds, is below half of the recorded."""
    before = {(row["recipe"], row["implementation"]): float(row["ratio"]) for row in recorded if row["ratio"]}
    lines = []
    for row in measured:
        key = row["recipe"], row["implementation"]
        if key in before and row["best_ratio"] < SHARE * before[key]:
            speed = f"{row['best_ratio']:.2f} times the plain implementation's speed"
            lines.append(
                f"{' '.join(key)}: {speed}, recorded {before[key]:.2f}; at least {SHARE:.0%} of it must be kept"
            )
    return lines
