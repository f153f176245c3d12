"""Statistics of episode returns: CVaR, trimmed mean, bootstrap intervals, probability of improvement.

scipy.stats takes most of a second to import, so the functions that need it import it, and no run does.
"""

from collections.abc import Callable, Sequence
from typing import Any

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


def weighted_cvar(ordered: np.ndarray, weights: np.ndarray, alpha: float) -> np.ndarray:
    """CVaR of returns in ascending order [n] whose shares are weights [..., n]: [...]; nan where all weights are 0."""
    total = weights.cumsum(-1)
    below = np.minimum(total / total[..., -1:], alpha)
    return np.diff(below, prepend=0, axis=-1) @ ordered / alpha


def effective_sample(weights: np.ndarray) -> np.ndarray:
    """Episodes of equal weight that count as much as the weights [..., n]: (sum w)^2 / sum w^2, 0 for no weight. [...]

    Paper: Kish 1965, Survey Sampling.
    """
    squares = np.square(weights).sum(-1)
    return np.divide(np.square(weights.sum(-1)), squares, out=np.zeros_like(squares), where=squares > 0)


def clipped_normal(value: np.ndarray, mean: Any, deviation: Any, low: Any, high: Any) -> np.ndarray:
    """Density of a normal variable that is clipped to [low, high], any shape; at both ends its probability there."""
    from scipy.special import ndtr

    inside = np.exp(-0.5 * np.square((value - mean) / deviation)) / (deviation * np.sqrt(2 * np.pi))
    found = np.where(value <= low, ndtr((low - mean) / deviation), inside)
    return np.where(value >= high, ndtr((mean - high) / deviation), found)


def tails(returns: np.ndarray, alphas: tuple[float, ...]) -> dict[str, float]:
    """CVaR at each level, keyed by the level as text."""
    return {f"{alpha:g}": float(cvar(returns, alpha)) for alpha in alphas}


def cvar_terms(returns: np.ndarray, alpha: float) -> np.ndarray:
    """Terms [n] of the rows of returns [n, m], whose mean is the CVaR of all of them: v - mean_j (v - x_j)^+ / alpha.

    v is the quantile at `alpha`. To first order the CVaR moves with resampled rows as this mean does.
    Paper: Rockafellar & Uryasev 2000, Optimization of Conditional Value-at-Risk.
    """
    threshold = np.quantile(returns, alpha, method="inverted_cdf")
    return threshold - np.maximum(threshold - returns, 0).mean(-1) / alpha


def combined_interval(estimate: float, fits: Sequence[float], terms: np.ndarray) -> dict[str, float]:
    """95 % interval of an estimate that varies with the fit and with what it is averaged over, independently.

    `fits` [K >= 2]: the estimate of each fit, with the deviation `fit_error`. `terms` [n]: averaged by the estimate,
    with the standard error `state_error`. The half-widths of both t intervals add in squares (Zou & Donner 2008).
    """
    from scipy.stats import t

    count, level = len(terms), (1 + LEVEL) / 2
    fit_error = float(np.std(fits, ddof=1))
    state_error = float(np.std(terms, ddof=1)) / count**0.5 if count > 1 else 0.0
    half = float(np.hypot(t.ppf(level, len(fits) - 1) * fit_error, t.ppf(level, max(1, count - 1)) * state_error))
    return {"low": estimate - half, "high": estimate + half, "fit_error": fit_error, "state_error": state_error}


def trimmed_mean(returns: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mean of the middle half. The interquartile mean of Agarwal et al. 2021 is this over runs and tasks."""
    count = np.shape(returns)[axis]
    cut = count // 4  # as scipy.stats.trim_mean, whose import of a second each run would pay
    ordered = np.partition(returns, (cut, count - cut - 1), axis)
    return np.moveaxis(ordered, axis, -1)[..., cut : count - cut].mean(-1)


def interval(
    parts: Sequence[np.ndarray], statistic: Statistic, baseline: Sequence[np.ndarray] = (), paired: bool = False
) -> tuple[float, float]:
    """`intervals` of one statistic."""
    return intervals(parts, [statistic], baseline, paired)[0]


def intervals(
    parts: Sequence[np.ndarray], statistics: Sequence[Statistic], baseline: Sequence[np.ndarray] = (),
    paired: bool = False,
) -> list[tuple[float, float]]:  # fmt: skip
    """95 % percentile bootstrap intervals of statistics of all episodes, resampled within each part.

    A part: the returns of a run, [episodes] or [checkpoints, episodes], where column i is episode i of each checkpoint.
    Of several checkpoints both are resampled, independently (Owen 2007, The pigeonhole bootstrap). With `baseline`, the
    statistics take two sets of returns and both are resampled; if `paired`, they have as many episodes in each part and
    the same ones are drawn for both. An interval tells how far other checkpoints and episodes of the same runs would
    move the number; it does not cover other seeds. nan where a part has one episode.
    """
    sides = [[np.atleast_2d(part) for part in side] for side in (parts, baseline) if len(side)]
    if min(part.shape[1] for side in sides for part in side) < 2:
        return [(float("nan"), float("nan"))] * len(statistics)
    random = np.random.default_rng(0)
    batch = max(1, 10**7 // sum(part.size for side in sides for part in side))
    found: list[list[np.ndarray]] = []
    for begin in range(0, RESAMPLES, batch):
        count = min(batch, RESAMPLES - begin)
        drawn = [[random.integers(part.shape[1], size=(count, part.shape[1])) for part in side] for side in sides]
        drawn = [drawn[0]] * len(sides) if paired else drawn
        returns = [resampled(*pair, random) for pair in zip(sides, drawn, strict=True)]
        found.append([statistic(*returns, axis=-1) for statistic in statistics])
    ends = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    quantiles = [np.quantile(np.concatenate(values), ends) for values in zip(*found, strict=True)]
    return [(float(low), float(high)) for low, high in quantiles]


def resampled(parts: Sequence[np.ndarray], episodes: Sequence[np.ndarray], random: np.random.Generator) -> np.ndarray:
    """The returns [C, E] of each part at the drawn episodes [R, E] of drawn checkpoints, side by side: [R, all]."""
    found = []
    for part, episode in zip(parts, episodes, strict=True):
        if len(part) == 1:
            found.append(part[0].take(episode))  # as below, in a tenth of the time
            continue
        # one checkpoint less than there are: a bootstrap of C values is too narrow by (C - 1) / C (Rao & Wu 1988)
        checkpoint = random.integers(len(part), size=(len(episode), len(part) - 1, 1))
        found.append(part[checkpoint, episode[:, None]].reshape(len(episode), -1))
    return np.concatenate(found, -1)


def probability_of_improvement(returns: np.ndarray, baseline: np.ndarray, axis: int = -1) -> np.ndarray:
    """P(return > baseline) over all pairs of episodes, ties count half: Mann-Whitney U / (n m), from ranks."""
    from scipy.stats import rankdata

    n, m = returns.shape[axis], baseline.shape[axis]
    ranks = rankdata(np.concatenate([returns, baseline], axis), axis=axis)
    return (np.take(ranks, range(n), axis).sum(axis) - n * (n + 1) / 2) / (n * m)


def different(first: np.ndarray, second: np.ndarray, paired: bool = False) -> float:
    """Two-sided p value of equal means of samples [n] and [m]: the paired t test, or Welch's 1947.

    1 for samples of fewer than two, and for equal ones; 0 for a difference without variance.
    """
    from scipy.special import stdtr

    if min(len(first), len(second)) < 2:
        return 1.0
    if paired:
        gaps = first - second
        gap, variance, freedom = gaps.mean(), gaps.var(ddof=1) / len(gaps), len(gaps) - 1.0
    else:
        shares = np.array([first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)])
        gap, variance = first.mean() - second.mean(), shares.sum()
        bounds = np.array([len(first) - 1, len(second) - 1])
        freedom = variance**2 / (shares**2 / bounds).sum() if variance else 1.0
    if not variance:
        return float(gap == 0)
    return float(2 * stdtr(freedom, -abs(gap) / variance**0.5))


def thin_tails(episodes: int, alphas: Sequence[float]) -> str | None:
    """Warning that names each tail with fewer than five episodes, and how many episodes are enough."""
    thin = [alpha for alpha in alphas if alpha * episodes < ENOUGH]
    if not thin:
        return None
    names = " and ".join(f"CVaR {alpha:g} on {alpha * episodes:.1f}" for alpha in thin)
    return f"{names} of {episodes} episodes; evaluation.episodes={int(np.ceil(ENOUGH / min(thin)))} would be enough"
