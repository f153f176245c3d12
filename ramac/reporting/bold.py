"""Which numbers of a table are bold: those that a test of differences sets apart from the rest."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ramac.reporting.groups import Group, paired
from ramac.statistics import cvar, cvar_terms, different

ERROR = 0.05  # level of the tests, the complement of the intervals' 95 %


class Scores:
    """What is compared of a group: its CVaR of each seed, and of its episodes the terms whose mean is the CVaR.

    With `alpha` = 1 both are means.
    """

    def __init__(self, group: Group, alpha: float) -> None:
        self.group, self.value = group, float(cvar(group.returns, alpha))
        self.seeds = {seed: cvar(part, alpha) for seed, part in group.by_seed.items()}
        self.alpha = alpha

    @cached_property
    def episodes(self) -> np.ndarray:
        """Terms of the episodes, [episodes]."""
        parts = [part.T for part in self.group.by_run]  # episodes of one start at several checkpoints are one unit
        if len({part.shape[1] for part in parts}) > 1:
            parts = [part.reshape(-1, 1) for part in parts]
        return cvar_terms(np.concatenate(parts), self.alpha)

    def p_value(self, other: "Scores") -> float:
        """Of the same value in both groups: over seeds, or over episodes where one of the two has a single seed."""
        if min(len(self.seeds), len(other.seeds)) == 1:
            same = len(self.episodes) == len(other.episodes) and paired(self.group, other.group)
            return different(self.episodes, other.episodes, same)
        same = self.seeds.keys() == other.seeds.keys()
        mine, others = (np.array([scores.seeds[seed] for seed in scores.seeds]) for scores in (self, other))
        return different(mine, np.array([other.seeds[seed] for seed in self.seeds]) if same else others, same)


def outstanding(groups: Sequence[Group], alpha: float) -> tuple[int, ...]:
    """Indices of the group of highest CVaR and of each other that is better than all that are worse than it.

    A group is worse than the highest where a two-sided t test says so at 5 %, the p values of all groups adjusted
    (Benjamini & Hochberg 1995, Controlling the False Discovery Rate). Nothing stands out where none is worse.
    """
    if len(groups) < 2:
        return ()
    from scipy.stats import false_discovery_control

    scores = [Scores(group, alpha) for group in groups]
    best, *rest = sorted(range(len(scores)), key=lambda index: -scores[index].value)
    adjusted = false_discovery_control([scores[best].p_value(scores[index]) for index in rest])
    low = [i for i, p in zip(rest, adjusted, strict=True) if p < ERROR and scores[i].value < scores[best].value]
    if not low:
        return ()

    def better(index: int) -> bool:
        # no adjustment: to be better than all, each of the tests must say so (Berger 1982)
        mine = scores[index]
        return all(mine.value > scores[each].value and mine.p_value(scores[each]) < ERROR for each in low)

    return tuple(sorted([best, *(index for index in rest if index not in set(low) and better(index))]))


def meaning_of_bold(groups: Sequence[Group], tail: str) -> str:
    """What the bold numbers of mean and CVaR mean, for a caption; empty for a single group."""
    if len(groups) < 2:
        return ""
    counts = {len(group.by_seed) for group in groups}
    unit = "seeds" if 1 not in counts else "seeds, or over episodes where a group has one seed,"
    unit = "episodes" if counts == {1} else unit
    return (
        f"Bold: the highest mean and {tail}, if a t test at 5 % over {unit} finds some "
        "group worse, and each other that is better than all of these by the same test. Where nothing is bold, the "
        "test tells no group from the highest."
    )
