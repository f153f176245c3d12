"""The tables of a report: results, comparison to a baseline, compute."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import bootstrap, rankdata

from ramac.reporting.formats import Cell, Column, Table, figures, intervals, words
from ramac.reporting.groups import Group, short
from ramac.reporting.runs import number
from ramac.statistics import (
    LEVEL,
    RESAMPLES,
    cvar,
    interquartile_mean,
    interval,
    probability_of_improvement,
    thin_tails,
)

Two = Callable[..., np.ndarray]  # statistic of returns [..., n] and baseline [..., m] along `axis`
INTERVAL = f"{100 * LEVEL:.0f} % bootstrap interval over the episodes of each seed"
MASSES = {
    "mass_centre": ("centre", "bandit: share of sampled actions on the safe centre, mean over runs"),
    "mass_ring": ("ring", "bandit: share of sampled actions on the risky ring, mean over runs"),
    "mass_off_support": ("off the support", "bandit: share of sampled actions where there are no data, mean over runs"),
}


def key_columns(groups: Sequence[Group]) -> tuple[list[Column], list[list[Cell]]]:
    """Columns that name a group, and their cells per group."""
    keys = [key for key in groups[0].keys if key != "task"]
    if not keys:
        return [Column("group", "runs that agree in every key", ("group",), False)], [[words(g.label)] for g in groups]
    titles = short(keys)
    columns = [Column(titles[key], f"setting {key} of the runs", (key,), False) for key in keys]
    return columns, [[words(group.keys[key]) for key in keys] for group in groups]


def assembled(name: str, caption: str, groups: Sequence[Group], parts: Iterable[tuple[Column, list[Cell]]]) -> Table:
    """A table of the groups' keys and of columns of cells."""
    columns, rows = key_columns(groups)
    for column, cells in parts:
        columns.append(column)
        for row, cell in zip(rows, cells, strict=True):
            row.append(cell)
    return Table(name, groups[0].task, caption, columns, rows).without_empty()


def averages(groups: Sequence[Group], *keys: str) -> list[float]:
    """Mean over a group's runs of a number in summary.json, nan where no run has it."""
    read = [[number(run.summary, *keys) for run in group.runs] for group in groups]
    return [float(np.nanmean(values)) if np.isfinite(values).any() else math.nan for values in read]


def hazard_rate(group: Group) -> float:
    """Risky steps / steps of all episodes, nan where they were not counted."""
    risky, length = group.column("risky_steps"), group.column("length")
    return float(risky.sum() / length.sum()) if len(risky) == len(length) and length.sum() else math.nan


def results(groups: Sequence[Group], alpha: float) -> Table:
    """Returns of the groups of one task: mean, CVaR, interquartile mean with intervals, spread over seeds, hazards."""
    tail, tail_name = partial(cvar, alpha=alpha), f"CVaR_{alpha:g}"
    returns = [group.returns() for group in groups]
    pooled = [np.concatenate(seeds) for seeds in returns]
    counts = [len(part) for part in pooled]

    def estimated(statistic: Any, best: bool) -> list[Cell]:
        ends = [interval(seeds, statistic) for seeds in returns]
        return intervals([float(statistic(part)) for part in pooled], ends, best)

    def spread(statistic: Any) -> list[Cell]:
        values = [[float(statistic(part)) for part in seeds] for seeds in returns]
        lows, highs = (figures([f(part) if len(part) > 1 else math.nan for part in values]) for f in (min, max))
        return [
            Cell(low.text if low.text == "-" else f"{low.text} to {high.text}", low.values + high.values)
            for low, high in zip(lows, highs, strict=True)
        ]

    warnings = [thin_tails(count, [alpha]) for count in counts]
    cvars = [
        Cell(cell.text + ("†" if warning else ""), cell.values, cell.best)
        for cell, warning in zip(estimated(tail, True), warnings, strict=True)
    ]
    parts = [
        (Column("seeds", "number of seeds", ("seeds",)), figures([len(seeds) for seeds in returns], "d")),
        (Column("episodes", "evaluation episodes of all seeds together", ("episodes",)), figures(counts, "d")),
        (
            Column("mean", f"mean return of an episode, hazards included, reward units; {INTERVAL}", triple("mean")),
            estimated(np.mean, True),
        ),
        (Column(tail_name, f"mean of the worst {alpha:g} of the episodes; {INTERVAL}", triple("cvar")), cvars),
        (
            Column("IQM", f"mean of the middle half of the episodes; {INTERVAL}", triple("iqm")),
            estimated(interquartile_mean, False),
        ),
        (
            Column("mean by seed", "lowest to highest mean of a seed", ("mean_seed_min", "mean_seed_max")),
            spread(np.mean),
        ),
        (
            Column(f"{tail_name} by seed", "lowest to highest CVaR of a seed", ("cvar_seed_min", "cvar_seed_max")),
            spread(tail),
        ),
        (Column("worst", "return of the worst episode", ("worst",)), figures([float(p.min()) for p in pooled])),
        (
            Column("risky steps", "steps at risk / steps, of all episodes", ("hazard_rate",)),
            figures(map(hazard_rate, groups), ".1%"),
        ),
        (
            Column(
                "OOD actions", "share of actions out of distribution in logged states, mean over runs", ("ood_rate",)
            ),
            figures(averages(groups, "ood", "rate"), ".1%"),
        ),
        *(
            (Column(title, meaning, (name,)), figures(averages(groups, name), ".1%"))
            for name, (title, meaning) in MASSES.items()
        ),
    ]
    caption = (
        f"Episode returns, higher is better, with {100 * LEVEL:.0f} % bootstrap intervals over the episodes of these "
        f"seeds. Bold: the highest mean and {tail_name}, and each whose interval contains it."
    )
    table = assembled("table", caption, groups, parts)
    table.rows += behaviour(table, groups, alpha)
    thin: dict[str, list[str]] = {}
    for group, warning in zip(groups, warnings, strict=True):
        if warning:
            thin.setdefault(warning, []).append(group.label)
    table.notes += [f"† {warning}: {'; '.join(labels)}" for warning, labels in thin.items()]
    return table


def triple(name: str) -> tuple[str, str, str]:
    """Names of a number and the ends of its interval in a csv file."""
    return name, f"{name}_low", f"{name}_high"


def behaviour(table: Table, groups: Sequence[Group], alpha: float) -> list[list[Cell]]:
    """Reference rows: mean and CVaR of the logged episodes, one row for each that the runs name."""
    found = {
        (number(data, "episodes"), number(data, "return_mean")): number(data, "return_cvar", f"{alpha:g}")
        for group in groups
        for run in group.runs
        if math.isfinite(number(data := run.summary.get("behaviour"), "return_mean"))
    }
    rows = []
    for (episodes, mean), tail in sorted(found.items()):
        values = {"episodes": episodes, "mean": mean, "cvar": tail}
        row = []
        for index, column in enumerate(table.columns):
            value = values.get(column.names[0], math.nan)
            shown = f"{value:.{places(table, index)}f}" if math.isfinite(value) else "-"
            filler: tuple[float | str, ...] = (math.nan if column.number else "",) * (len(column.names) - 1)
            row.append(Cell(shown if column.number else "", (value if column.number else "", *filler)))
        row[0] = words("behaviour data")
        rows.append(row)
    return rows


def places(table: Table, index: int) -> int:
    """Decimals that a column of a table shows."""
    return len(table.rows[0][index].text.partition(" ")[0].rstrip("†").partition(".")[2])


def against(seeds: Sequence[np.ndarray], baseline: Sequence[np.ndarray], statistic: Two) -> tuple[float, float]:
    """95 % bootstrap interval of a statistic of two sets of returns, each resampled within its seeds' [episodes]."""
    if min(map(len, [*seeds, *baseline])) < 2:
        return math.nan, math.nan

    def pooled(*parts: np.ndarray, axis: int) -> np.ndarray:
        first, second = parts[: len(seeds)], parts[len(seeds) :]
        return statistic(np.concatenate(first, axis), np.concatenate(second, axis), axis=axis)

    count = sum(map(len, [*seeds, *baseline]))
    found = bootstrap(
        (*seeds, *baseline), pooled, n_resamples=RESAMPLES, batch=max(1, 10**7 // count), vectorized=True,
        confidence_level=LEVEL, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def improvement(returns: np.ndarray, baseline: np.ndarray, axis: int) -> np.ndarray:
    """`ramac.statistics.probability_of_improvement` along the last axis, from ranks: U without its test."""
    n, m = returns.shape[axis], baseline.shape[axis]
    ranks = rankdata(np.concatenate([returns, baseline], axis), axis=axis)
    return (ranks[..., :n].sum(axis) - n * (n + 1) / 2) / (n * m)


def difference(
    statistic: Callable[..., np.ndarray], returns: np.ndarray, baseline: np.ndarray, axis: int
) -> np.ndarray:
    """A statistic of the returns minus the baseline's."""
    return statistic(returns, axis=axis) - statistic(baseline, axis=axis)


def comparison(groups: Sequence[Group], baseline: Group, alpha: float) -> Table:
    """Each other group of a task against the baseline."""
    others, base = [group for group in groups if group is not baseline], baseline.returns()
    whole = np.concatenate(base)
    returns = [group.returns() for group in others]
    pooled = [np.concatenate(seeds) for seeds in returns]
    tail = partial(cvar, alpha=alpha)
    parts = [
        (
            Column("P(improvement)", f"probability that an episode returns more than the baseline's; {INTERVAL}",
                   triple("probability_of_improvement")),
            intervals([probability_of_improvement(part, whole) for part in pooled],
                      [against(seeds, base, improvement) for seeds in returns]),
        ),
        *(
            (Column(f"difference of {title}", f"{title} minus the baseline's; {INTERVAL}", triple(name)),
             intervals([float(difference(statistic, part, whole, -1)) for part in pooled],
                       [against(seeds, base, partial(difference, statistic)) for seeds in returns]))
            for title, name, statistic in (("mean", "difference_mean", np.mean),
                                           (f"CVaR_{alpha:g}", "difference_cvar", tail))
        ),
    ]  # fmt: skip
    caption = (
        f"Against {baseline.label} ({len(whole)} episodes). Where an interval leaves out 0.5 (a probability) or 0 "
        "(a difference), the episodes tell the two apart."
    )
    return assembled("comparison", caption, others, parts)


def compute(groups: Sequence[Group]) -> Table | None:
    """What training took; None where no run says so."""
    if not any(run.summary for group in groups for run in group.runs):
        return None
    evaluated = [
        next((found for run in g.runs if (found := run.summary.get("evaluations_per_update"))), {}) for g in groups
    ]
    evaluated = [each if isinstance(each, dict) else {} for each in evaluated]

    def median(key: str) -> list[float]:
        return [float(np.median([number(run.summary, key) for run in group.runs])) for group in groups]

    parts = [
        (Column("updates/s", "updates per second of training, median over runs", ("updates_per_second",)),
         figures(median("updates_per_second"))),
        (Column("wall time, s", "seconds of a run with evaluation, median over runs", ("wall_seconds",)),
         figures(median("wall_seconds"), ".0f")),
        (Column("network evaluations per update", "evaluations of networks per transition", ("evaluations_per_update",),
                False),
         [words(", ".join(f"{name} {number(each, name):.3g}" for name in each) or "-") for each in evaluated]),
    ]  # fmt: skip
    return assembled("compute", "What training took, on the machines of these runs.", groups, parts)
