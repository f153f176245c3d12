"""The number of a run's summary that a search compares: `objective=return_cvar.0.1`."""

import math
from collections.abc import Mapping
from typing import Any

from ramac.errors import InputError, nearest
from ramac.registry import tasks


def objectives(task: Mapping[str, Any], evaluation: Mapping[str, Any], estimated: bool = True) -> list[str]:
    """Dotted paths into the summary of a run with these entries, the default one first.

    `estimated`: whether a run without an environment has an estimate. Without it there is no default.
    """
    entry: Any = tasks[task["name"]]
    alphas = [f"{alpha:g}" for alpha in evaluation.get("alphas", ())]
    if not entry.has_environment:  # the off-policy estimate
        found = ["estimate.mean", *(f"estimate.cvar.{alpha}" for alpha in alphas)] * estimated
    else:
        others = ("return_trimmed_mean", "return_std", "return_min", "hazard_rate", "penalties")
        columns = (column.key for column in entry.columns)
        found = ["return_mean", *(f"return_cvar.{alpha}" for alpha in alphas), *others, *columns]
    return [*found, "ood.rate", "updates_per_second", "wall_seconds"]


def chosen(
    objective: str | None, task: Mapping[str, Any], evaluation: Mapping[str, Any], estimated: bool = True
) -> str:
    """The path that `objective` names; without one the mean return, or its estimate. Raises InputError.

    Empty where a run has neither of them and no objective is named.
    """
    known = objectives(task, evaluation, estimated)
    if objective is not None and objective not in known:
        hint = nearest(str(objective), known)
        off = "" if estimated else "; estimate.steps=0 makes no estimate"
        raise InputError(
            f"objective={objective} names no number of a summary; choose from {', '.join(known)}{hint}{off}"
        )
    default = known[0] if estimated or tasks[task["name"]].has_environment else ""
    return objective or default


def value(summary: Mapping[str, Any], path: str) -> float:
    """The number at a dotted path; nan where there is none. A key may have dots itself (`return_cvar`, `0.1`).

    A run whose evaluation has no result has no number to compare, not even its time.
    """
    if "failure" in summary:
        return math.nan
    if path in summary:
        found = summary[path]
        return float(found) if isinstance(found, int | float) and math.isfinite(found) else math.nan
    head, _, rest = path.partition(".")
    inner = summary.get(head)
    return value(inner, rest) if isinstance(inner, Mapping) and rest else math.nan
