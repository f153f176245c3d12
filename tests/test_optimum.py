"""Dynamic programs against closed forms, enumerated policies and simulated episodes."""

from itertools import product
from statistics import NormalDist

import numpy as np
import pytest

from ramac.errors import InputError
from ramac.optimum import Optimum, best_means
from ramac.registry import tasks
from ramac.statistics import cvar
from ramac.tasks import trading

NORMAL = NormalDist()


def tail_mean(values, probabilities, alpha):
    """CVaR of a discrete law: the mean of its worst share."""
    order = np.argsort(values)
    below = np.concatenate([[0], np.cumsum(np.asarray(probabilities)[order])]).clip(max=alpha)
    return np.asarray(values)[order] @ np.diff(below) / alpha


def mixture_cvar(alpha, weights, means, deviation=0.5):
    """CVaR of a mixture of normals: max over b of b - E(b - R)^+ / alpha."""
    found = []
    for b in np.linspace(3, 9, 301):  # where the quantile of these mixtures lies
        z = [(b - mean) / deviation for mean in means]
        short = [deviation * (x * NORMAL.cdf(x) + NORMAL.pdf(x)) for x in z]
        found.append(b - np.dot(weights, short) / alpha)
    return max(found)


def test_without_a_bound_on_trades_the_best_mean_is_that_of_riccati():
    """V = (x, q) P (x, q)' + c, u = ((2 P12 d - 1) x + 2 P22 q) / (2 (k - P22)); a cost of 0.5 makes trades small.

    Trades on a grid lose in proportion to the square of its spacing.
    """
    k, d, s2 = 0.5, np.exp(-0.2), (1 - np.exp(-0.4)) / 4
    P, c = np.array([[0, 0.5], [0.5, -0.5]]), 0.0
    for _ in range(10):
        move = np.diag([d, 1.0])
        after, c = move @ P @ move, c + P[0, 0] * s2
        gain = np.array([2 * after[0, 1] - 1, 2 * after[1, 1]]) / (2 * (k - after[1, 1]))
        trade = np.array([[1, 0], gain + np.array([0, 1])])  # x stays, q + u
        P = trade.T @ after @ trade - k * np.outer(gain, gain) - (np.outer([1, 0], gain) + np.outer(gain, [1, 0])) / 2
    lost = []
    for step in (0.05, 0.025):
        process = trading.grid(0.2, step, limit=1.5, cost=k, most=2.0)
        *_, (_, value) = best_means(process)
        lost.append(c - process.start @ value)
    assert c > 0.1
    assert 0 < lost[1] < 0.0005
    assert lost[0] / lost[1] == pytest.approx(4, rel=0.2)


def test_the_best_mean_of_trading_is_reached_by_its_policy():
    """40 000 simulated episodes of the table of best trades, against the induction on the same grid."""
    best, random = trading.best_trades(), np.random.default_rng(0)
    x, q, total = np.zeros(40_000), np.zeros(40_000), np.zeros(40_000)
    for t in range(10):
        near = np.rint(x / 0.2 + 12).clip(0, 24).astype(int), np.rint(q / 0.5 + 20).astype(int)
        u = best[(t, *near)]
        total -= (x + 1) * u + 0.005 * u**2
        q += u
        x = x * np.exp(-0.2) + np.sqrt((1 - np.exp(-0.4)) / 4) * random.standard_normal(len(x))
    total += q * (x + 1) - 0.5 * q**2
    found = Optimum.of(tasks.build("trading").process(1), "mean", 0.1)
    assert found.mean == pytest.approx(1.704, abs=0.001)
    assert found.mean == pytest.approx(total.mean(), abs=4 * total.std() / 200)
    assert found.cvar == pytest.approx(cvar(total, 0.1), abs=0.12)


def test_the_best_mean_of_trading_is_that_of_finer_grids_within_its_grid_error():
    """1.715 (docs/results/problems.md); steps of 0.2, 0.5 and half of them, continued as the square of the spacing."""
    means = []
    for fineness in (1, 2):
        process = tasks.build("trading").process(fineness)
        *_, (_, value) = best_means(process)
        means.append(process.start @ value)
    coarse, fine = means
    assert abs(fine - 1.715) < fine - coarse < 0.01
    assert fine + (fine - coarse) / 3 == pytest.approx(1.715, abs=0.001)


def test_the_best_static_cvar_of_trading():
    """0 by not trading at low levels, the best mean at level 1, and never below what the other policies reach."""
    process = tasks.build("trading").process(1)
    static, mean, nested = (
        {alpha: Optimum.of(process, objective, alpha) for alpha in (0.05, 0.1, 0.5, 1.0)}
        for objective in ("static", "mean", "nested")
    )
    assert static[0.1].mean is None
    assert (static[0.05].cvar, static[0.1].cvar) == (0, 0)
    assert static[0.5].cvar == pytest.approx(0.48, abs=0.01)
    assert static[1.0].cvar == pytest.approx(mean[1.0].mean, abs=0.001)
    assert mean[1.0].cvar == pytest.approx(mean[1.0].mean, abs=0.001)
    for other in (mean, nested):
        assert all(best.cvar >= other[alpha].cvar - 1e-9 for alpha, best in static.items())
    assert static[0.5].cvar > 3 * nested[0.5].cvar


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.25, 0.5, 1.0])
def test_the_chain_against_all_its_policies(alpha):
    """A policy gambles or not after luck, and after bad luck; one that sees the state only does the same in both."""

    def law(after_luck, after_bad_luck):
        sides = ((0.9, 10, after_luck), (0.1, 0, after_bad_luck))
        return zip(*((p * r, paid + won) for p, paid, gamble in sides
                     for r, won in (((0.8, 10), (0.2, -10)) if gamble else ((1, 1),))), strict=True)  # fmt: skip

    laws = {pair: tuple(law(*pair)) for pair in product((False, True), repeat=2)}
    means = {pair: np.dot(*one) for pair, one in laws.items()}
    tails = {pair: tail_mean(one[1], one[0], alpha) for pair, one in laws.items()}
    process = tasks.build("chain").process(1)
    mean, nested, static = (Optimum.of(process, name, alpha) for name in ("mean", "nested", "static"))
    assert static.cvar == pytest.approx(max(tails.values()))
    assert (mean.mean, mean.cvar) == pytest.approx((max(means.values()), tails[True, True]))
    gamble = tail_mean([10, -10], [0.8, 0.2], alpha) > 1
    assert (nested.mean, nested.cvar) == pytest.approx((means[gamble, gamble], tails[gamble, gamble]))
    if alpha == 0.1:
        assert static.cvar == pytest.approx(6 * max(tails[False, False], tails[True, True]))


def test_the_bandit_with_a_context_against_thresholds():
    """Policies that choose the ring where the context is below L - 1; the hazard strikes with 5 % (1 + context)."""
    task = tasks.build({**tasks.plain("bandit"), "context": True})
    mean, nested, static = (Optimum.of(task.process(2), name, 0.1) for name in ("mean", "nested", "static"))

    def weights(length):
        struck = 0.05 * length**2 / 4
        return (2 - length) / 2, length / 2 - struck, struck

    best = max(np.dot(weights(length), (5, 9, -50)) for length in np.linspace(0, 2, 2001))
    assert mean.mean == pytest.approx(best, abs=0.001)
    tails = [mixture_cvar(0.1, weights(length), (5, 9, -50)) for length in np.linspace(0, 0.2, 11)]
    assert static.cvar == pytest.approx(max(tails), abs=0.005)
    centre = mixture_cvar(0.1, (1,), (5,))
    lengths = np.linspace(0, 0.3, 31)
    length = max(x for x in lengths if mixture_cvar(0.1, (1 - 0.05 * x, 0.05 * x), (9, -50)) > centre)
    assert nested.cvar == pytest.approx(mixture_cvar(0.1, weights(length), (5, 9, -50)), abs=0.03)
    assert nested.cvar < static.cvar - 0.05


def test_other_tasks_have_no_known_best_policy():
    with pytest.raises(
        InputError, match="task=hopper-mixed has no known best policy; choose from bandit, chain, trading"
    ):
        tasks.build("hopper-mixed").process(1)
