"""Whether ramac is still as much faster than the plain implementation as was recorded."""

from collections.abc import Iterable, Mapping
from typing import Any

SHARE = 0.5  # of the recorded ratio: a busy machine does not get that far


def fallen(measured: Iterable[Mapping[str, Any]], recorded: Iterable[Mapping[str, Any]]) -> list[str]:
    """One line for each recipe and implementation whose ratio is below half of the recorded one."""
    before = {(row["recipe"], row["implementation"]): float(row["ratio"]) for row in recorded if row["ratio"]}
    lines = []
    for row in measured:
        key = row["recipe"], row["implementation"]
        if key in before and float(row["ratio"]) < SHARE * before[key]:
            speed = f"{float(row['ratio']):.2f} times the plain implementation's speed"
            lines.append(
                f"{' '.join(key)}: {speed}, recorded {before[key]:.2f}; at least {SHARE:.0%} of it must be kept"
            )
    return lines
