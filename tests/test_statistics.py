"""Statistics of returns against closed forms, plain formulas and simulated coverage."""

import math
from functools import partial

import numpy as np
import pytest
from scipy.stats import norm, trim_mean

from ramac.statistics import (
    combined_interval,
    cvar,
    cvar_terms,
    interval,
    probability_of_improvement,
    tails,
    thin_tails,
    trimmed_mean,
)  # fmt: skip


def test_cvar_is_the_mean_of_the_worst_share():
    returns = np.random.default_rng(0).normal(size=1000)
    assert cvar(returns, 0.1) == pytest.approx(np.sort(returns)[:100].mean())
    assert cvar(returns, 1.0) == pytest.approx(returns.mean())
    assert cvar(np.array([3.0, 1.0, 2.0]), 0.5) == pytest.approx((1 + 0.5 * 2) / 1.5)
    assert list(tails(returns, (0.05, 0.1))) == ["0.05", "0.1"]


def test_cvar_of_a_normal_and_along_any_axis():
    """CVaR_a of N(0, 1) is -phi(Phi^-1(a)) / a."""
    returns = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    for alpha in (0.05, 0.1, 0.5):
        assert cvar(returns, alpha) == pytest.approx(-norm.pdf(norm.ppf(alpha)) / alpha, abs=1e-3)
    block = np.random.default_rng(0).normal(size=(7, 3, 5))
    plain = [[cvar(block[:, i, j], 0.3) for j in range(5)] for i in range(3)]
    assert np.allclose(cvar(block, 0.3, axis=0), plain)


def test_the_trimmed_mean_is_of_the_middle_half():
    returns = np.array([100.0, 1, 2, 3, 4, 5, 6, -100])
    assert trimmed_mean(returns) == pytest.approx((2 + 3 + 4 + 5) / 4)
    returns = np.random.default_rng(0).normal(size=(3, 101, 2))
    assert np.array_equal(trimmed_mean(returns, 1), trim_mean(returns, 0.25, 1))  # to the last bit


def test_an_interval_resamples_within_seeds():
    """Seeds that differ by far but do not vary give no width; pooled resampling would give a wide one."""
    assert interval([np.zeros(20), np.full(20, 100.0)], np.mean) == (50.0, 50.0)
    assert all(map(math.isnan, interval([np.zeros(20), np.zeros(1)], np.mean)))
    returns = [np.random.default_rng(i).normal(size=30) for i in range(2)]
    assert interval(returns, np.mean) == interval(returns, np.mean), "a generator of its own"


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_a_paired_interval_is_narrower_by_the_correlation(rho):
    """Var(mean of x - y) is 2 (1 - rho) / n in pairs and 2 / n without: the widths differ by sqrt(1 - rho)."""
    random = np.random.default_rng(3)
    common = [random.normal(size=400) for _ in range(2)]
    mine, base = (
        [math.sqrt(rho) * part + math.sqrt(1 - rho) * random.normal(size=400) for part in common] for _ in range(2)
    )

    def width(paired: bool) -> float:
        low, high = interval(mine, lambda x, y, axis: x.mean(axis) - y.mean(axis), base, paired)
        return high - low

    assert width(False) == pytest.approx(2 * 1.96 * math.sqrt(2 / 800), rel=0.1)
    assert width(True) == pytest.approx(2 * 1.96 * math.sqrt(2 * (1 - rho) / 800), rel=0.1)
    assert width(True) / width(False) == pytest.approx(math.sqrt(1 - rho), rel=0.1)


def test_an_interval_over_checkpoints_and_episodes():
    """Returns a_c + b_i: the mean's variance is var(a) / C + var(b) / E, with the unbiased variances."""
    random = np.random.default_rng(0)
    checkpoints, episodes = 200 * random.normal(size=(8, 1)), 100 * random.normal(size=(1, 50))
    low, high = interval([checkpoints + episodes], np.mean)
    error = math.sqrt(checkpoints.var(ddof=1) / 8 + episodes.var() / 50)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.05)
    low, high = interval([checkpoints.mean() + episodes[0]], np.mean)
    assert high - low == pytest.approx(2 * 1.96 * episodes.std() / math.sqrt(50), rel=0.05), "of one checkpoint"


@pytest.mark.parametrize(("alpha", "least"), [(1.0, 0.9), (0.1, 0.85)])
def test_an_interval_covers_the_truth_about_as_often_as_it_says(alpha, least):
    """Normal returns, three seeds of 100 episodes: 0.94 for both in 300 simulations; 120 vary by 0.02."""
    random, truth = np.random.default_rng(0), -norm.pdf(norm.ppf(alpha)) / alpha if alpha < 1 else 0.0
    hits = 0
    for _ in range(120):
        low, high = interval([random.normal(size=100) for _ in range(3)], partial(cvar, alpha=alpha))
        hits += low <= truth <= high
    assert least <= hits / 120 <= 0.995


def test_probability_of_improvement_counts_pairs():
    random = np.random.default_rng(0)
    a, b = random.integers(0, 5, 40).astype(float), random.integers(0, 5, 30).astype(float)
    pairs = [(x > y) + 0.5 * (x == y) for x in a for y in b]
    assert probability_of_improvement(a, b) == pytest.approx(np.mean(pairs))
    assert probability_of_improvement(a, b) + probability_of_improvement(b, a) == pytest.approx(1)


def test_thin_tails_are_named_with_what_would_do():
    assert thin_tails(100, [0.05, 0.1]) is None
    text = thin_tails(30, [0.05, 0.1, 0.25])
    assert text == "CVaR 0.05 on 1.5 and CVaR 0.1 on 3.0 of 30 episodes; evaluation.episodes=100 would be enough"


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.1, 0.07])
def test_terms_have_the_cvar_as_their_mean_and_move_as_it_does(alpha):
    """Against the plain mean of the worst, and its change when one row counts a little more."""
    value = np.random.default_rng(0).normal(3, 2, (40, 50))
    terms = cvar_terms(value, alpha)
    assert terms.mean() == pytest.approx(np.sort(value, axis=None)[: round(alpha * value.size)].mean())
    heavier = np.concatenate([value] * 20 + [value[:1]])  # row 0 once more among 801
    moved = cvar(heavier.ravel(), alpha) - cvar(value.ravel(), alpha)
    assert moved == pytest.approx((terms[0] - terms.mean()) / 801, rel=0.1, abs=1e-5)


def test_a_combined_interval_is_the_plain_formula():
    fits, terms = [1.0, 2.0, 4.0], np.array([0.0, 1.0, 3.0, 8.0, 3.0])
    s2 = sum((x - 7 / 3) ** 2 for x in fits) / 2
    e2 = sum((x - 3) ** 2 for x in terms) / 4 / 5
    half = math.sqrt(4.3027**2 * s2 + 2.7764**2 * e2)  # t of 2 and of 4 degrees of freedom
    found = combined_interval(2.5, fits, terms)
    expected = {"low": 2.5 - half, "high": 2.5 + half, "fit_error": math.sqrt(s2), "state_error": math.sqrt(e2)}
    assert found == pytest.approx(expected, rel=1e-4)
    few = combined_interval(0.0, [-1.0, 1.0], np.zeros(9))
    assert few["high"] == pytest.approx(12.706 * math.sqrt(2), rel=1e-4), "t of one degree of freedom"
    alone = combined_interval(1.0, [1.0, 1.0], np.ones(1))
    assert (alone["low"], alone["high"]) == (1.0, 1.0)


def test_a_combined_interval_covers_as_often_as_it_says():
    """Three fits of deviation 1 around an estimate of deviation 1, over 20 states of deviation 4: at least 95 %."""
    random, covered = np.random.default_rng(0), 0
    for _ in range(2000):
        states = random.normal(0, 4, 20)
        estimate = random.normal() + states.mean()
        found = combined_interval(estimate, random.normal(size=3).tolist(), states)
        covered += found["low"] <= 0 <= found["high"]
    assert 0.94 < covered / 2000 < 0.99
