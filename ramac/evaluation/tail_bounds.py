"""Bounds of mean and CVaR from logged returns and the weights that they have under another policy.

Papers: Chandak et al. 2021, Universal Off-Policy Evaluation (arXiv 2104.12820; the distribution of weighted returns);
Huang et al. 2021, Off-Policy Risk Assessment in Contextual Bandits (arXiv 2104.08977).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ramac.statistics import ENOUGH, LEVEL, effective_sample, weighted_cvar

TOLERATED = 0.01  # of a mean weight other than 1, as of the reward beyond cuts that an estimate does not mention
NONE = dict.fromkeys(("estimate", "low", "high", "bound_low", "bound_high"))


def mean_and_error(terms: np.ndarray) -> tuple[float, float]:
    """Mean of terms [n], and its standard error."""
    return float(terms.mean()), float(terms.std()) / len(terms) ** 0.5


def interval_of(ordered: np.ndarray, weights: np.ndarray, alpha: float) -> dict[str, float]:
    """Weighted CVaR of returns in ascending order [n] at one level (1: the mean), its 95 % interval, and bounds.

    `low`, `high`: weights are divided by their sum, which holds if the log covers what the policy does. The bounds need
    no such thing: with x the lowest return, CVaR >= x + (v - x)(1 - 1 / alpha) + E[w (min(G, v) - x)] / alpha for any
    v, and CVaR <= max_v v - E[w (v - G)^+] / alpha. All ends are means of terms to first order, with t quantiles of the
    effective episodes in the tail, and between the lowest and the highest logged return.
    """
    from scipy.stats import t

    total, (lowest, highest) = weights.cumsum() / len(weights), ordered[[0, -1]]
    far = float(t.ppf((1 + LEVEL) / 2, alpha * effective_sample(weights) - 1))

    def at(share: float) -> float:
        return float(ordered[min(np.searchsorted(total, share), len(total) - 1)])

    estimate, v = float(weighted_cvar(ordered, weights, alpha)), at(alpha * total[-1])
    score = v - np.maximum(v - ordered, 0) / alpha - estimate
    half = far * mean_and_error(weights / total[-1] * score)[1]
    found = {"estimate": estimate, "low": max(estimate - half, lowest), "high": min(estimate + half, highest)}
    v = at(total[-1] - 1 + alpha)
    mean, error = mean_and_error(weights * (np.minimum(ordered, v) - lowest) / alpha)
    worst = lowest + (v - lowest) * (1 - 1 / alpha) + mean - far * error
    v = at(alpha)
    mean, error = mean_and_error(weights * np.maximum(v - ordered, 0) / alpha)
    best = v - mean + far * error
    bounds = {"bound_low": min(max(worst, lowest), found["low"]), "bound_high": max(min(best, highest), found["high"])}
    return {key: float(value) for key, value in {**found, **bounds}.items()}


def doubt(weights: np.ndarray) -> int:
    """1 where weights [n] average more than 1, which true ones do not; -1 for less: the log lacks something; else 0.

    By more than three standard errors and one percent, or by a factor of two, which few heavy weights hide.
    """
    mean, error = mean_and_error(weights)
    far = abs(mean - 1) > 3 * error + TOLERATED or not 0.5 < mean < 2
    return int(np.sign(mean - 1)) if far else 0


def intervals(ordered: np.ndarray, weights: np.ndarray, alphas: Sequence[float]) -> list[dict[str, Any]]:
    """Rows of mean (alpha 1) and CVaR, of returns in ascending order [n] and their weights [n].

    All but `effective` is None with fewer than five effective episodes in the tail, where single weights decide, and
    where weights average more than 1. Where they average less, only the bounds are given.
    """
    rows, doubted = [], doubt(weights)
    for alpha in (1.0, *alphas):
        row: dict[str, Any] = {"alpha": alpha, "effective": alpha * float(effective_sample(weights)), **NONE}
        if row["effective"] >= ENOUGH and doubted != 1:
            row |= interval_of(ordered, weights, alpha)
        if doubted == -1:
            row |= dict.fromkeys(("estimate", "low", "high"))
        rows.append(row)
    return rows
