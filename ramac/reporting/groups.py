"""Grouping: which settings tell the runs apart, the groups these make, their labels, and the baseline among them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from ramac.errors import InputError, nearest
from ramac.experiment.config import NEUTRAL
from ramac.reporting.runs import HEADLINE, Run, number
from ramac.text import printable, shortened

# what is learned does not depend on these settings
IGNORED = re.compile(rf"({'|'.join(NEUTRAL)}|seed|log_every|deterministic|evaluation)(\..*)?$")
ABSENT = "-"


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that agree in every key, in the order of their seeds."""

    keys: dict[str, str]
    label: str
    runs: list[Run]

    @property
    def task(self) -> str:
        """The task, empty where none is named."""
        return self.runs[0].settings.get("task", "")

    def column(self, name: str) -> np.ndarray:
        """A column of the episodes by which its runs are scored: [episodes]."""
        return np.concatenate([run.column(name) for run in self.runs])

    @cached_property
    def returns(self) -> np.ndarray:
        """Returns of these episodes, [episodes]."""
        return self.column("return")

    @cached_property
    def by_run(self) -> list[np.ndarray]:
        """Returns of these episodes, [checkpoints, episodes] per run."""
        return [run.returns for run in self.runs]

    @cached_property
    def by_seed(self) -> dict[str, np.ndarray]:
        """Returns of these episodes by seed, [episodes] each."""
        parts: dict[str, list[np.ndarray]] = {}
        for run in self.runs:
            parts.setdefault(run.settings["seed"], []).append(run.column("return"))
        return {seed: np.concatenate(part) for seed, part in parts.items()}

    def summarised(self, *keys: str) -> pd.Series:
        """A number of each run's summary.json, nan where there is none: [runs]."""
        return pd.Series([number(run.summary, *keys) for run in self.runs], dtype=float)


def paired(first: Group, second: Group) -> bool:
    """Whether episodes of one seed and number in two groups of a task met the same starts, hazard draws and noise.

    So it is where each seed has one run in each group, with the same evaluation seed and episodes.
    """
    keys = ("seed", "evaluation.name", "evaluation.seed")
    met = [
        [(*map(run.settings.get, keys), *sorted(run.scored["episode"])) for run in group.runs]
        for group in (first, second)
    ]
    alone = all(len(group.by_seed) == len(group.runs) for group in (first, second))
    return met[0] == met[1] and alone and not any(run.named for run in (*first.runs, *second.runs))


def natural(value: str) -> list[tuple[int, float, str]]:
    """Sorting key that puts cvar0.05 before cvar0.1 and 9 before 10."""
    parts = re.split(r"(\d+(?:\.\d+)?)", value)
    return [(0, float(part), "") if index % 2 else (1, 0.0, part) for index, part in enumerate(parts)]


def known(runs: Iterable[Run], key: str) -> list[str]:
    """Values of a setting, each once, sorted."""
    return sorted({run.settings[key] for run in runs if key in run.settings}, key=natural)


def varies(runs: Sequence[Run], key: str) -> bool:
    """Whether runs differ in a setting. To lack it is a difference only where it is a column of a csv file."""
    values = {run.settings.get(key) for run in runs}
    return len(values if any(key in run.named for run in runs) and key not in HEADLINE else values - {None}) > 1


def determined(runs: Iterable[Run], key: str, by: Sequence[str]) -> bool:
    """Whether a setting has one value wherever the settings `by` agree."""
    found = {(*(run.settings.get(name) for name in by), run.settings[key]) for run in runs if key in run.settings}
    return len({cell[:-1] for cell in found}) == len(found)


def chosen_keys(runs: Sequence[Run], by: Sequence[str]) -> tuple[list[str], str]:
    """Keys to group by, and a note on settings that differ without being one of them. Raises InputError.

    Without `by`: the names in summary.json and the columns of csv files that differ, leaving out what the recipe
    fixes; then each setting that still differs between runs of the same group.
    """
    everything = list(dict.fromkeys([*HEADLINE, *(key for run in runs for key in run.settings)]))
    differing = [key for key in everything if not IGNORED.match(key) and varies(runs, key)]
    for key in by:
        if not any(key in run.settings for run in runs):
            raise InputError(
                f"--by={key}: no such setting; choose from {', '.join(HEADLINE)} or a key of config.yaml such as "
                f"actor.steps{nearest(key, everything)}"
            )
    fixed, chosen = ["task", "recipe"], list(by)
    if not by:
        # a column of a csv file that differs always counts: runs of one's own lack it, and must not join its rows
        columns = {key for run in runs for key in run.named} - set(HEADLINE)
        free = [key for key in HEADLINE if key in fixed or not determined(runs, key, fixed)]
        chosen = [key for key in differing if key in columns or key in free]
        for key in differing:
            if not determined(runs, key, chosen):
                chosen.append(key)
    if "task" in differing:
        chosen = ["task", *(key for key in chosen if key != "task")]
    rest = outermost([key for key in differing if not determined(runs, key, chosen if by else fixed)], chosen)
    if not rest:
        return chosen, ""
    if by:
        several = [f"{key} ({', '.join(known(runs, key)[:6])})" for key in rest]
        return chosen, f"Groups pool runs that differ in {', '.join(several)}"
    return chosen, f"Settings that differ along with the keys shown: {', '.join(rest)}"


def outermost(keys: Sequence[str], chosen: Sequence[str]) -> list[str]:
    """Keys that are neither chosen nor inside a chosen or an earlier one, nor another name of the number of updates."""
    kept: list[str] = []
    for key in (key for key in keys if key not in chosen):
        parents = {key.partition(".")[0], *(["steps"] if key == "trainer.steps" else [])}
        if not parents & {*chosen, *kept} - {key}:
            kept.append(key)
    return kept


def make_groups(runs: Sequence[Run], keys: Sequence[str]) -> list[Group]:
    """Groups in natural order of their keys' values, with labels that leave out the task and what all share."""
    cells: dict[tuple[str, ...], list[Run]] = {}
    for run in sorted(runs, key=lambda run: natural(run.settings["seed"])):
        cells.setdefault(tuple(run.settings.get(key, ABSENT) for key in keys), []).append(run)
    cells = dict(sorted(cells.items(), key=lambda cell: [natural(value) for value in cell[0]]))
    shown = [i for i, key in enumerate(keys) if key != "task" and len({cell[i] for cell in cells}) > 1]
    titles = short(keys)
    found = [{keys[i]: cell[i] for i in shown} for cell in cells]
    labels = [label_of((titles[key], value) for key, value in each.items()) for each in found]
    meant = [", ".join(f"{key}={value}" for key, value in each.items()) for each in found]
    if len(set(labels)) < len(set(meant)):
        labels = meant
    labels = [label or name_of(part) for label, part in zip(labels, cells.values(), strict=True)]
    return [Group(*part) for part in zip(found, distinct(labels), cells.values(), strict=True)]


def name_of(runs: Sequence[Run]) -> str:
    """Label of the only group: the folder of its one run, or that it holds all runs."""
    return (len(runs) == 1 and Path(runs[0].source).resolve().name) or "all runs"


def distinct(labels: Sequence[str]) -> list[str]:
    """Labels that fit a line; different ones that are then the same are numbered."""
    fit = [shortened(printable(label)) for label in labels]
    whole = dict[str, set[str]]()
    for label, full in zip(fit, labels, strict=True):
        whole.setdefault(label, set()).add(full)
    return [f"{label} ({index + 1})" if len(whole[label]) > 1 else label for index, label in enumerate(fit)]


def label_of(pairs: Iterable[tuple[str, str]]) -> str:
    """Short label of a group within its task: a word stands for itself, a number or a switch with its title."""
    bare = re.compile(r"(?!(true|false|null)$)[A-Za-z]")
    named = [(title, value) for title, value in pairs if value not in (ABSENT, "none")]
    return ", ".join(value if bare.match(value) else f"{title}={value}" for title, value in named)


def short(keys: Sequence[str]) -> dict[str, str]:
    """Last part of each dotted key, or all of it where two would read the same."""
    leaves = [key.rpartition(".")[2] for key in keys]
    return {key: leaf if leaves.count(leaf) == 1 else key for key, leaf in zip(keys, leaves, strict=True)}


def duplicates(groups: Iterable[Group]) -> str:
    """A note on runs of the same group and seed, empty where there are none."""
    sources: dict[tuple[str, str, str], list[str]] = {}
    for group in groups:
        for run in group.runs:
            sources.setdefault((group.task, group.label, run.settings["seed"]), []).append(run.source)
    found = [f"{label}, seed {seed} ({', '.join(s)})" for (_, label, seed), s in sources.items() if len(s) > 1]
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    return f"Several runs of one group and seed, all their episodes kept: {'; '.join(found[:5])}{more}" if found else ""


def baselines(groups: Sequence[Group], wanted: str) -> dict[str, Group]:
    """The group that agrees with `key=value,...`, by task. Raises InputError when there is none or several."""
    runs = [run for group in groups for run in group.runs]
    pairs = [pair.partition("=") for pair in re.split(r",(?=[^,\[\]=]+=)", wanted)]
    for key, equals, value in pairs:
        values = known(runs, key)
        if not equals or not values:
            keys = list(groups[0].keys) or HEADLINE
            raise InputError(
                f"--baseline: no setting {key!r}; write key=value with {', '.join(keys)}{nearest(key, keys)}"
            )
        if value not in values:
            raise InputError(
                f"--baseline: no run has {key}={value}; there are {', '.join(values)}{nearest(value, values)}"
            )
    found: dict[str, Group] = {}
    for group in groups:
        if not all(run.settings.get(key) == value for run in group.runs for key, _, value in pairs):
            continue
        if (other := found.setdefault(group.task, group)) is not group:
            add = ", ".join(key for key in group.keys if key not in {pair[0] for pair in pairs}) or "a key to --by"
            both = f"{other.label!r} and {group.label!r}"
            raise InputError(f"--baseline={wanted} matches several groups, such as {both}; add {add}")
    if not found:
        labels = "; ".join(group.label for group in groups[:8])
        raise InputError(f"--baseline={wanted} matches no group; the groups are {labels}")
    return found
