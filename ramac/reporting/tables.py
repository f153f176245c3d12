"""The tables of a report, one per task: results, comparison with a baseline, compute."""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from ramac.registry import tasks
from ramac.reporting.bold import meaning_of_bold, outstanding
from ramac.reporting.formats import INTERVAL, SPREAD, Column, Table
from ramac.reporting.groups import ABSENT, Group, paired, short
from ramac.reporting.runs import number
from ramac.statistics import LEVEL, Statistic, cvar, intervals, thin_tails, trimmed_mean
from ramac.statistics import probability_of_improvement as improvement
from ramac.text import shortened

Row = dict[str, Any]
BOOTSTRAP = f"{100 * LEVEL:.0f} % bootstrap interval"


def table(
    name: str, caption: str, groups: Sequence[Group], columns: Sequence[Column], rows: Sequence[Row],
    reference: Sequence[Row] = (),
) -> Table:  # fmt: skip
    """Rows of the groups with their keys in front, `reference` rows of behaviour data last; no empty column."""
    shared = [key for key in groups[0].keys if any(group.keys[key] != ABSENT for group in groups)]
    given = [{key: group.keys[key] for key in shared} or {"group": group.label} for group in groups]
    titles = short(list(given[0]))
    names = {key: f"setting {key}" if key in rows[0] else key for key in titles}  # a csv file may have a column `mean`
    about = {key: f"setting {shortened(key)} of the runs" for key in titles}
    keys = [Column(names[key], shortened(title), about[key], "s") for key, title in titles.items()]
    cells = [{names[key]: value for key, value in pairs.items()} for pairs in given]
    cells += [dict.fromkeys(names.values(), "") | {keys[0].key: "behaviour data"} for _ in reference]
    frame = pd.DataFrame([a | b for a, b in zip(cells, [*rows, *reference], strict=True)])
    frame = frame.astype({column.key: "Int64" for column in columns if column.style == "d"})
    frame.insert(0, "task", groups[0].task)
    filled = [column for column in (*keys, *columns) if frame[column.names[0]].iloc[: len(rows)].notna().any()]
    frame = frame[["task", *(name for column in filled for name in column.names)]]
    return Table(name, shortened(groups[0].task), caption, filled, frame, reference=len(reference))


def estimates(statistics: Mapping[str, Statistic], *sides: Sequence[np.ndarray], pairs: bool = False) -> Row:
    """Each statistic of all episodes and the ends of its interval; a side is the returns of each run."""
    row: Row = {}
    ends = intervals(sides[0], list(statistics.values()), *sides[1:], paired=pairs)
    for (name, statistic), (low, high) in zip(statistics.items(), ends, strict=True):
        row[name] = float(statistic(*(np.concatenate(side, axis=None) for side in sides)))
        row[f"{name}_low"], row[f"{name}_high"] = low, high
    return row


def resampling(groups: Sequence[Group]) -> str:
    """What the intervals resample, and over how many checkpoints the runs are scored."""
    counts = sorted({run.averaged for group in groups for run in group.runs})
    if counts == [1]:
        return "Intervals resample the episodes of each run."
    among = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
    return (
        f"Runs are scored over their last {among} checkpoints; intervals resample checkpoints and episodes of each run."
    )


def results(groups: Sequence[Group], alpha: float) -> Table:
    """Returns of the groups: mean, CVaR, trimmed mean with intervals, spread over seeds, hazards, task's own."""
    added = getattr(tasks.get(groups[0].task), "columns", ())
    tail = f"CVaR_{alpha:g}"
    warnings = {group.label: thin_tails(len(group.returns), [alpha]) for group in groups}
    marks = tuple("†" if warning else "" for warning in warnings.values())
    columns = [
        Column("seeds", "seeds", "number of seeds", "d"),
        Column("episodes", "episodes", "evaluation episodes of all seeds together", "d"),
        Column("mean", "mean", f"mean return of an episode, hazards included, reward units; {BOOTSTRAP}",
               endings=INTERVAL, bold=outstanding(groups, 1.0)),
        Column("cvar", tail, f"mean of the worst {alpha:g} of the episodes; {BOOTSTRAP}",
               endings=INTERVAL, bold=outstanding(groups, alpha), marks=marks),
        Column("trimmed_mean", "trimmed mean", f"mean of the middle half; {BOOTSTRAP}", endings=INTERVAL, folded=True),
        Column("mean_seed", "mean by seed", "lowest to highest mean of a seed", endings=SPREAD, folded=True),
        Column("cvar_seed", f"{tail} by seed", "lowest to highest CVaR of a seed", endings=SPREAD),
        Column("worst", "worst", "return of the worst episode"),
        Column("hazard_rate", "risky steps", "steps at risk / steps, of all episodes", ".1%"),
        Column("ood_rate", "OOD actions", "share of OOD actions in logged states at the detector's nominal rate, "
               "mean over runs", ".1%"),
        Column("ood_paper", "OOD, paper's rule", "the same at 3 x median of the data's distances", ".1%",
               folded=True),
        *(Column(each.key, each.title, f"{each.meaning}, mean over runs", each.style) for each in added),
    ]  # fmt: skip
    caption = (
        f"Episode returns, higher is better, with {100 * LEVEL:.0f} % bootstrap intervals. {resampling(groups)} "
        f"{meaning_of_bold(groups, tail)}"
    )
    keys = [each.key for each in added]
    with ThreadPoolExecutor() as pool:  # numpy resamples and sorts outside the interpreter's lock
        numbers = list(pool.map(partial(result, alpha=alpha), groups))
    own = [{key: group.summarised(key).mean() for key in keys} for group in groups]
    rows = [row | task for row, task in zip(numbers, own, strict=True)]
    found = table("table", caption, groups, columns, rows, behaviour(groups, alpha, keys))
    for warning in dict.fromkeys(filter(None, warnings.values())):
        found.notes.append(f"† {warning}: {'; '.join(label for label in warnings if warnings[label] == warning)}")
    ood = [(group.label, group.summarised("ood", "rate"), group.summarised("ood", "nominal")) for group in groups]
    old = [label for label, rate, nominal in ood if (rate.notna() & nominal.isna()).any()]
    if old:
        found.notes.append(f"OOD actions by the rule of ramac 0.1, not to be compared with others: {'; '.join(old)}")
    return found


def result(group: Group, alpha: float) -> Row:
    """Numbers of one group's episodes. The spread over seeds is nan where there is one seed."""
    seeds, returns, tail = group.by_seed.values(), group.returns, partial(cvar, alpha=alpha)
    row: Row = {"seeds": len(seeds), "episodes": len(returns)}
    row |= estimates({"mean": np.mean, "cvar": tail, "trimmed_mean": trimmed_mean}, group.by_run)
    for name, statistic in (("mean_seed", np.mean), ("cvar_seed", tail)):
        values = [float(statistic(part)) for part in seeds] if len(seeds) > 1 else [math.nan]
        row |= {f"{name}_min": min(values), f"{name}_max": max(values)}
    return row | {
        "worst": float(returns.min()),
        "hazard_rate": hazard_rate(group.column("risky_steps"), group.column("length")),
        "ood_rate": group.summarised("ood", "rate").mean(),
        "ood_paper": group.summarised("ood", "paper", "rate").mean(),
    }


def hazard_rate(risky: np.ndarray, length: np.ndarray) -> float:
    """Risky steps / steps of episodes [n], nan where they were not counted."""
    counted, steps = np.isfinite(length), np.nansum(length)
    return float(np.nansum(risky) / steps) if steps and (counted == np.isfinite(risky)).all() else math.nan


def behaviour(groups: Sequence[Group], alpha: float, keys: Sequence[str]) -> list[Row]:
    """Reference rows: the logged episodes, and the task's own columns, one row for each data that the runs name."""
    found: dict[tuple[float, float], Row] = {}
    for run in (run for group in groups for run in group.runs):
        data = run.summary.get("behaviour")
        episodes, mean = number(data, "episodes"), number(data, "return_mean")
        if math.isfinite(mean):
            found[episodes, mean] = {
                "episodes": int(episodes) if abs(episodes) < 2**53 else None,
                "mean": mean,
                "cvar": number(data, "return_cvar", f"{alpha:g}"),
                **{key: number(run.summary, f"data_{key}") for key in keys},
            }
    return [row for _, row in sorted(found.items(), key=lambda item: item[0])]


def comparison(groups: Sequence[Group], baseline: Group, alpha: float) -> Table:
    """Each other group of a task against the baseline."""
    others = [group for group in groups if group is not baseline]
    asked = [
        ("probability_of_improvement", "P(improvement)", "probability that an episode returns more than the baseline's",
         improvement),
        ("difference_mean", "difference of mean", "mean minus the baseline's", difference(np.mean)),
        ("difference_cvar", f"difference of CVaR_{alpha:g}", f"CVaR_{alpha:g} minus the baseline's",
         difference(partial(cvar, alpha=alpha))),
    ]  # fmt: skip
    columns = [Column(key, title, f"{meaning}; {BOOTSTRAP}", endings=INTERVAL) for key, title, meaning, _ in asked]
    meaning = "paired: an episode is resampled together with the baseline's of the same seed and number"
    columns.append(Column("resampling", "resampling", meaning, "s"))
    statistics = {key: statistic for key, *_, statistic in asked}
    rows = []
    for group in others:
        pairs = paired(group, baseline)
        row = estimates(statistics, group.by_run, baseline.by_run, pairs=pairs)
        rows.append(row | {"resampling": "paired" if pairs else "unpaired"})
    caption = (
        f"Compared with {baseline.label} ({len(baseline.returns)} episodes). An interval without 0.5 (a probability) "
        f"or 0 (a difference) tells the two groups apart. {resampling(groups)} Paired: an episode is drawn together "
        "with the baseline's of the same seed and number, which has the same starts, hazard draws and noise."
    )
    return table("comparison", caption, others, columns, rows)


def difference(statistic: Statistic) -> Statistic:
    """The statistic of the returns minus that of the baseline."""
    return lambda returns, baseline, axis=-1: statistic(returns, axis=axis) - statistic(baseline, axis=axis)


def compute(groups: Sequence[Group]) -> Table | None:
    """What training took; None where no run says so."""
    if not any(run.summary for group in groups for run in group.runs):
        return None
    columns = [
        Column("updates_per_second", "gradient steps/s", "gradient steps per second of training, median over runs"),
        Column("wall_seconds", "wall time, s", "seconds of a run with evaluation, median over runs", ".0f"),
        Column("evaluations_per_update", "network evaluations", "per transition and gradient step", "s"),
    ]
    rows = [
        {key: group.summarised(key).median(skipna=False) for key in ("updates_per_second", "wall_seconds")}
        | {"evaluations_per_update": evaluations(group)}
        for group in groups
    ]
    return table("compute", "What training took, on the machines of these runs.", groups, columns, rows)


def evaluations(group: Group) -> str | None:
    """Network evaluations per transition of one gradient step, by network."""
    given = (run.summary.get("evaluations_per_update") for run in group.runs)
    found = next((each for each in given if each and isinstance(each, dict)), {})
    return ", ".join(f"{name} {number(found, name):.3g}" for name in found) or None
