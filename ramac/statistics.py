"""Statistics of episode returns: tails, interquartile means, bootstrap intervals over seeds, comparisons.

scipy.stats takes a third of a second to import: it is imported where it is used.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

LEVEL = 0.95  # of every interval
RESAMPLES = 2_000  # of a bootstrap: its ends move by a few percent of the interval's width
ENOUGH = 5  # episodes in a tail below which its mean is a handful of accidents: algorithms of 10 episodes have 1


class Statistic(Protocol):
    """A number of returns along one axis."""

    def __call__(self, returns: np.ndarray, axis: int = -1) -> np.ndarray: ...


def cvar(returns: np.ndarray, alpha: float, axis: int = -1) -> np.ndarray:
    """Mean of the worst `alpha` share of returns along an axis, the boundary episode counted in part."""
    ordered = np.moveaxis(np.sort(np.asarray(returns, np.float64), axis), axis, -1)
    share = alpha * ordered.shape[-1]
    return ordered @ (np.clip(share - np.arange(ordered.shape[-1]), 0, 1) / share)


def tails(returns: np.ndarray, alphas: tuple[float, ...]) -> dict[str, float]:
    """CVaR at each level, keyed by the level as text."""
    return {f"{alpha:g}": float(cvar(returns, alpha)) for alpha in alphas}


def interquartile_mean(returns: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of the middle half (Agarwal et al. 2021)."""
    from scipy.stats import trim_mean

    return trim_mean(returns, 0.25, axis)


def interval(seeds: Sequence[np.ndarray], statistic: Statistic) -> tuple[float, float]:
    """95 % bootstrap interval of a statistic of all episodes, resampled within each seed's [episodes].

    Percentiles of the resampled statistic. It tells how far other episodes of these same seeds would move the number;
    what other seeds would do shows only beside several of them. nan where a seed has a single episode.
    """
    from scipy.stats import bootstrap

    if min(map(len, seeds)) < 2:
        return float("nan"), float("nan")

    def pooled(*parts: np.ndarray, axis: int) -> np.ndarray:
        return statistic(np.concatenate(parts, axis), axis=axis)

    count = sum(map(len, seeds))
    found = bootstrap(
        tuple(seeds), pooled, n_resamples=RESAMPLES, batch=max(1, 10**7 // count), vectorized=True,
        confidence_level=LEVEL, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def probability_of_improvement(returns: np.ndarray, baseline: np.ndarray) -> float:
    """Probability that an episode returns more than one of the baseline, ties counting half (Mann-Whitney U)."""
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(returns, baseline).statistic / (len(returns) * len(baseline)))


def thin_tails(episodes: int, alphas: Sequence[float]) -> str | None:
    """A warning where a tail holds fewer than five episodes: which, and how many episodes it would take."""
    thin = [alpha for alpha in alphas if alpha * episodes < ENOUGH]
    if not thin:
        return None
    names = " and ".join(f"CVaR {alpha:g} on {alpha * episodes:.1f}" for alpha in thin)
    return f"{names} of {episodes} episodes; evaluation.episodes={int(np.ceil(ENOUGH / min(thin)))} would do"
