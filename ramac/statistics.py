"""Statistics of episode returns: CVaR, interquartile mean, bootstrap intervals, probability of improvement.

scipy.stats takes a third of a second to import, so the functions that need it import it.
"""

from collections.abc import Callable, Sequence

import numpy as np

LEVEL = 0.95  # confidence level of every interval
RESAMPLES = 2_000  # of a bootstrap: the ends move by a few percent of the interval's width
ENOUGH = 5  # with fewer episodes in the tail, single episodes decide the CVaR; publications with 10 episodes have 1

Statistic = Callable[..., np.ndarray]  # returns [..., n] (and those of a baseline [..., m]), axis=-1 -> [...]


def cvar(returns: np.ndarray, alpha: float, axis: int = -1) -> np.ndarray:
    """Mean of the worst `alpha` share of returns along an axis; the boundary episode counts in part."""
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


def interval(
    seeds: Sequence[np.ndarray], statistic: Statistic, baseline: Sequence[np.ndarray] = ()
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a statistic of all episodes, resampled within each seed's [episodes].

    With `baseline`, the statistic takes two sets of returns and both are resampled. The interval tells how far other
    episodes of the same seeds would move the number; it does not cover other seeds. nan where a seed has one episode.
    """
    from scipy.stats import bootstrap

    parts = (*seeds, *baseline)
    if min(map(len, parts)) < 2:
        return float("nan"), float("nan")

    def pooled(*resampled: np.ndarray, axis: int) -> np.ndarray:
        sides = resampled[: len(seeds)], resampled[len(seeds) :]
        return statistic(*(np.concatenate(side, axis) for side in sides if side), axis=axis)

    found = bootstrap(
        parts, pooled, n_resamples=RESAMPLES, batch=max(1, 10**7 // sum(map(len, parts))), vectorized=True,
        confidence_level=LEVEL, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def probability_of_improvement(returns: np.ndarray, baseline: np.ndarray, axis: int = -1) -> np.ndarray:
    """P(return > baseline) over all pairs of episodes, ties count half: Mann-Whitney U / (n m), from ranks."""
    from scipy.stats import rankdata

    n, m = returns.shape[axis], baseline.shape[axis]
    ranks = rankdata(np.concatenate([returns, baseline], axis), axis=axis)
    return (np.take(ranks, range(n), axis).sum(axis) - n * (n + 1) / 2) / (n * m)


def thin_tails(episodes: int, alphas: Sequence[float]) -> str | None:
    """Warning that names each tail with fewer than five episodes, and how many episodes are enough."""
    thin = [alpha for alpha in alphas if alpha * episodes < ENOUGH]
    if not thin:
        return None
    names = " and ".join(f"CVaR {alpha:g} on {alpha * episodes:.1f}" for alpha in thin)
    return f"{names} of {episodes} episodes; evaluation.episodes={int(np.ceil(ENOUGH / min(thin)))} would be enough"
