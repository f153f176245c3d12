"""Equal estimator error: how many stratified levels are worth 32 independent ones, and what that is in speed."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks.contenders import Row
from benchmarks.draws import KINDS
from benchmarks.gradient import equal_gradient, measure_gradient
from benchmarks.head import learned_quantiles, structured, trained
from benchmarks.options import Settings
from benchmarks.timing import alternate, spread
from benchmarks.updates import LEVELS, RECIPES, data, plain_contender, ramac_contender
from benchmarks.updates import levels as with_levels
from ramac.risk import normal_score

DRAWS, MOST = 3000, 64
RARE = 0.034  # chance of the hazard: no edge of few equal cells falls there
SHOWN = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64)
MEASURES: dict[str, float] = {"mean": 1.0, "cvar0.1": 0.1}  # mean of the quantile function below this level
Quantile = Callable[[Tensor], Tensor]
CLOSED: dict[str, Quantile] = {
    "normal": normal_score,
    "exponential tail": lambda level: level.clamp_min(1e-12).log(),
    "rare hazard": lambda level: torch.where(level < RARE, -10.0, 1.0),
}


def standard_error(quantile: Quantile, alpha: float, kind: str, count: int, draws: int = DRAWS) -> float:
    """Standard deviation of the mean of `quantile` over `count` levels in (0, alpha); draws' means [*b, draws].

    Several quantile functions [b] count by the root of their mean square.
    """
    estimate = quantile(alpha * KINDS[kind](draws, count, torch.empty(0, dtype=torch.float64))).mean(-1)
    return math.sqrt(float(estimate.var(-1).mean()))


def tabulated(values: Tensor) -> Quantile:
    """Quantile function [*b, levels] given at the middles of equal cells: [S, G] -> levels [D, N] to [S, D, N]."""
    count = values.shape[-1]

    def quantile(level: Tensor) -> Tensor:
        place = (level * count - 0.5).clamp(0, count - 1)
        below = place.floor().long().clamp(max=count - 2)
        return torch.lerp(values[:, below], values[:, below + 1], place - below)

    return quantile


def equal(quantile: Quantile, alpha: float, count: int) -> int:
    """The fewest stratified levels from which on the standard error is at most that of `count` independent ones."""
    aim = standard_error(quantile, alpha, "independent", count)
    fewer = count
    while fewer > 1 and standard_error(quantile, alpha, "stratified", fewer - 1) <= aim:
        fewer -= 1
    return fewer


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Tables `levels` (standard errors), `equal`, `equal_speed` and `gradient`."""
    torch.manual_seed(0)
    trainer = trained(structured(device=settings.device), 100 if settings.short else 1500)
    functions = {**CLOSED, "learned IQN": tabulated(learned_quantiles(trainer))}
    errors: list[Row] = []
    equals: list[Row] = []
    for name, quantile in functions.items():
        for risk, alpha in MEASURES.items():
            for kind in KINDS:
                for count in SHOWN:
                    row: Row = {"quantile_function": name, "measure": risk, "kind": kind, "levels": count}
                    errors.append(row | {"standard_error": standard_error(quantile, alpha, kind, count)})
            for count in (LEVELS, MOST):
                row = {"quantile_function": name, "measure": risk, "independent": count}
                equals.append(row | {"stratified": equal(quantile, alpha, count)})
    gradients = measure_gradient(trainer, settings)
    for count in (LEVELS, MOST):
        row = {"quantile_function": "learned IQN", "measure": "gradient of td", "independent": count}
        equals.append(row | {"stratified": equal_gradient(gradients, count)})
    return {"levels": errors, "equal": equals, "equal_speed": speeds(settings, equals), "gradient": gradients}


def speeds(settings: Settings, equals: list[Row]) -> list[Row]:
    """Ratios to the plain implementation with as many independent levels as give the same error.

    `estimate`: equal error of the estimates in the worst and in the median case; `gradient`: of the critic's gradient.
    """
    logged, rows = data(device=settings.device), []
    for count in (LEVELS, MOST):
        found = [row for row in equals if row["independent"] == count]
        needed = [row["stratified"] for row in found if row["measure"] in MEASURES]
        slope = next(row["stratified"] for row in found if row["measure"] not in MEASURES)
        choices = {"estimate, worst case": max(needed), "estimate, median case": math.ceil(np.median(needed))}
        choices |= {"gradient": slope, "ramac's default": 8}
        for recipe in RECIPES:
            plain = f"plain {count}"
            contenders = {plain: plain_contender(recipe, logged, {}, count)}
            for case, fewer in choices.items():
                columns = {"recipe": recipe, "plain_levels": count, "case": case, "ramac_levels": fewer}
                overrides = [f"recipe={recipe}", *with_levels(fewer)]
                contenders[case] = ramac_contender(overrides, logged, columns, plain)
            times = alternate({name: one.update for name, one in contenders.items()}, 3 if settings.short else 9)
            for case in choices:
                rows.append(contenders[case].columns | spread("ratio", times[plain] / times[case]))
    return rows
