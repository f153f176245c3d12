"""Importance weighting: closed forms, coverage on a bandit, densities of kernels and behaviours, when it is silent."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from ramac.cli.estimate import show_weighted
from ramac.data import Dataset, Log, as_log, from_arrays
from ramac.errors import InputError
from ramac.evaluation.tail_bounds import intervals
from ramac.evaluation.weighting import Kernel, neighbours, of_policy
from ramac.registry import tasks
from ramac.statistics import clipped_normal, effective_sample, weighted_cvar

ALPHAS = (0.1, 0.25)


def judged(data: Dataset, act: Any, gamma: float = 1.0) -> dict[str, Any]:
    return of_policy(data, act, gamma, ALPHAS, seed=0)


def build(name: str, **settings: Any) -> Any:
    return tasks.build({**tasks.plain(name), **settings})


def always(action: float) -> Any:
    return lambda observation: np.full((len(observation), 1), action, np.float32)


def test_equal_weights_are_the_order_statistics_themselves():
    returns = np.sort(np.random.default_rng(0).normal(size=200))
    rows = intervals(returns, np.ones(200), ALPHAS)
    assert [row["estimate"] for row in rows] == pytest.approx(
        [returns.mean(), returns[:20].mean(), returns[:50].mean()]
    )
    assert all(row["low"] < row["estimate"] < row["high"] for row in rows)
    assert [row["effective"] for row in rows] == pytest.approx([200, 20, 50])


def test_weighted_cvar_and_effective_sample_by_hand():
    """Shares 1/8, 3/8, 1/2 of 0, 1, 2: the worst quarter is half 0 and half 1; the worst 3/4 has a third of 2."""
    weights = np.array([1.0, 3.0, 4.0])
    found = [weighted_cvar(np.arange(3.0), weights, alpha) for alpha in (0.125, 0.25, 0.75, 1)]
    assert found == pytest.approx([0, 0.5, (3 / 8 + 2 / 4) / 0.75, 11 / 8])
    cases = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [3, 1, 0, 0], [0, 0, 0, 0]], float)
    assert effective_sample(cases) == pytest.approx([4, 1, 1.6, 0])


def test_intervals_cover_a_bandit_of_two_arms_at_the_nominal_rate():
    """The log pulls N(0, 1) four times in five, the policy N(1, 4) three times in five: CVaR of a mixture."""

    def below(x: float) -> float:
        return float(0.4 * norm.cdf(x) + 0.6 * norm.cdf(x, 1, 2))

    low, high = -10.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < 0.25 else (low, middle)
    truth = (low - quad(below, -30, low)[0] / 0.25, 0.6)
    random, covered = np.random.default_rng(0), np.zeros(2)
    for _ in range(200):
        arm = random.random(500) < 0.2
        returns = np.where(arm, random.normal(1, 2, 500), random.normal(0, 1, 500))
        weights = np.where(arm, 0.6 / 0.2, 0.4 / 0.8)
        order = returns.argsort()
        mean, tail = intervals(returns[order], weights[order], (0.25,))
        covered += [row["low"] <= value <= row["high"] for row, value in zip((tail, mean), truth, strict=True)]
    assert (covered >= 180).all(), "95 % of 200 is 190, with a standard deviation of 3.1"
    assert (covered <= 199).all()


def test_bounds_take_what_the_log_lacks_as_worst_and_best():
    """Uniform returns, weights of 0.6: at worst the mean is 0.6 / 2 and CVaR 0.25 is 0, at best 0.7 and 0.25 / 1.2."""
    returns = np.linspace(0, 1, 200_001)
    mean, _, tail = intervals(returns, np.full(200_001, 0.6), ALPHAS)
    assert [mean["bound_low"], mean["bound_high"]] == pytest.approx([0.3, 0.7], abs=0.01)
    assert [tail["bound_low"], tail["bound_high"]] == pytest.approx([0, 0.25 / 1.2], abs=0.01)
    (_, tail) = intervals(returns, np.full(200_001, 0.9), (0.25,))
    worst, best = 0.15**2 / 2 / 0.9 / 0.25, 0.25 / 1.8
    assert [tail["bound_low"], tail["bound_high"]] == pytest.approx([worst, best], abs=0.01)


@pytest.mark.parametrize("clips", [(True, True), (True, False), (False, False)])
def test_a_kernel_is_a_density_on_the_box(clips):
    kernel = Kernel(np.array([0.3]), np.array([-1.0]), np.array([1.0]), *(np.array([clip]) for clip in clips))
    centres = np.array([[[-0.9], [0.4], [1.0]]])

    def at(action: float) -> float:
        return float(kernel.density(centres, np.array([[action]]))[0])

    inside = quad(at, -1 + 1e-9, 1 - 1e-9, points=[-0.9, 0.4], limit=200)[0]
    assert inside + sum(at(end) for end, clip in zip((-1, 1), clips, strict=True) if clip) == pytest.approx(1)


def test_constant_coordinates_say_nothing():
    log = from_arrays(np.zeros((4, 1)), np.array([[0, 1], [1, 1], [0, 1], [1, 1]]), np.ones(4), np.ones(4), np.zeros(4))
    kernel, alone = Kernel.of(log, [0, 0], [1, 1]), Kernel.of(replace(log, action=log.action[:, :1]), [0], [1])
    kernel = replace(kernel, width=np.append(alone.width, 0))
    assert kernel.density(log.action[:, None], log.action) == pytest.approx(
        alone.density(log.action[:, None, :1], log.action[:, :1])
    )


PARTS = {  # a law whose density is known, inside the behaviour's support: [T] densities of the logged actions
    "chain": lambda action: clipped_normal(action[:, 0], 0.5, 0.2, -1, 1),
    "trading": lambda action: (np.abs(action[:, 0]) < 0.8) / 1.6,
    "bandit": lambda action: norm.pdf(action, 0, 0.08).prod(-1),
}


@pytest.mark.parametrize("name", PARTS)
def test_ratios_to_a_known_behaviour_average_one(name):
    """E_beta[q / beta] = 1 for any density q on the support, and so for the product over an episode's steps."""
    log = build(name, transitions=20_000, data_seed=1).dataset().log
    density = log.behaviour(log)
    ratio = PARTS[name](log.action.astype(float)) / density
    product = np.multiply.reduceat(ratio, log.start)
    # a trader's earlier trades exclude later ones all but surely: the mean of single ratios is of no use there
    for value in (product,) if name == "trading" else (ratio, product):
        assert value.mean() == pytest.approx(1, abs=4 * value.std() / len(value) ** 0.5)


def test_the_edges_of_the_bandit_have_the_probability_of_what_is_clipped():
    """On an edge the density is one of lines: its integral along the edge is the share of actions there."""
    log = build("bandit", transitions=200_000).dataset().log
    right = log.action[:, 0] >= 1
    place = np.linspace(-0.6, 0.6, 601)
    points = np.stack([np.ones(601), place], -1).astype(np.float32)
    edge = replace(log, action=points)
    share = np.trapezoid(log.behaviour(edge), place)
    assert right.mean() == pytest.approx(share, abs=4 * (share / len(right)) ** 0.5)


@pytest.fixture(scope="module")
def chain() -> Dataset:
    return build("chain", transitions=30_000, data_seed=1).dataset()


def test_the_gamble_of_the_chain(chain):
    """Always 0.6: 20 with 72 %, 10 with 8 %, 0 with 18 %, -10 with 2 %; the noise hardly ever makes it safe."""
    found = judged(chain, always(0.6))
    assert found["propensities"] == "known"
    for row, truth in zip(found["cvar"], (15, -2, 1.2), strict=True):
        assert row["bound_low"] <= row["low"] <= truth <= row["high"] <= row["bound_high"], row
    assert found["cvar"][0]["high"] - found["cvar"][0]["low"] < 4
    assert found["mean_weight"] == pytest.approx(1, abs=4 * found["mean_weight_error"])
    each = found["effective_by_step"]
    assert each[0] > each[1] > each[2] == found["effective"]
    assert found["effective"] >= 20 / 0.1, "noise is halved while the smallest tail keeps 20 effective episodes"
    assert "count as" in found["verdict"]


def test_a_fitted_behaviour_is_that_of_similar_states():
    """Actions are N(-0.5, 0.1) in one state and N(0.5, 0.1) in the other; a kernel of 0.05 adds its variance."""
    random, count = np.random.default_rng(0), 6000
    state, ones = random.integers(2, size=(count, 1)) - 0.5, np.ones(count)
    log = from_arrays(state, state + 0.1 * random.normal(size=(count, 1)), random.normal(size=count), ones, 0 * ones)
    task = build("logs", gamma=0.0, held_out=0.05)
    task.use(data=log)
    data = task.dataset()
    held_out = data.held_out
    near = neighbours(data, held_out)
    assert near.shape == (300, 200, 1)
    assert (np.sign(near[..., 0]) == np.sign(held_out.observation)).all()
    kernel = replace(Kernel.of(held_out, [-9.0], [9.0]), width=np.array([0.05]))
    ratio = kernel.density(near, held_out.action) / norm.pdf(held_out.action, held_out.observation, 0.0125**0.5)[:, 0]
    assert np.median(ratio) == pytest.approx(1, abs=0.1)
    found = judged(data, lambda seen: (seen + 0.1 * random.normal(size=seen.shape)).clip(*ends(log)), 0.0)
    assert found["propensities"] == "fitted"
    mean = found["cvar"][0]
    assert mean["low"] <= 0 <= mean["high"], "the policy is the behaviour, whose rewards are N(0, 1)"
    assert found["effective"] > 100


def ends(log: Log) -> tuple[float, float]:
    return float(log.action.min()), float(log.action.max())


def test_a_policy_between_the_modes_has_no_bound(chain, capsys):
    found = judged(chain, always(0.0))
    assert found["effective"] < 5
    assert all(row["low"] is None and row["estimate"] is None for row in found["cvar"])
    assert found["verdict"].endswith("the effective sample is too small for any bound")
    show_weighted(json.loads(json.dumps(found)))
    printed = capsys.readouterr().out
    assert "too small for any bound" in printed
    assert "nan" not in printed


def test_a_policy_that_half_leaves_the_data_is_said_to():
    """Logged actions are uniform in [-1, 0] of a box to 1; the policy takes -0.5 or 0.5: half of it is in no log."""
    random, count = np.random.default_rng(0), 4000
    action, ones = random.uniform(-1, 0, (count, 1)), np.ones(count)
    log = from_arrays(np.zeros((count, 1)), action, random.normal(size=count), ones, 0 * ones, propensities=ones)
    task = build("logs", gamma=0.0, low=-1.0, high=1.0, held_out=0.5)
    task.use(data=log)
    found = judged(task.dataset(), lambda seen: random.choice([-0.5, 0.5], (len(seen), 1)), 0.0)
    assert found["held_out"]
    assert found["mean_weight"] == pytest.approx(0.5, abs=0.1)
    assert "not 1: the log lacks part of what the policy does, only bounds hold" in found["verdict"]
    assert found["cvar"][0]["low"] is None
    assert found["cvar"][1]["bound_low"] == pytest.approx(task.dataset().held_out.reward.min())


def test_long_and_cut_episodes_are_not_weighted():
    ends = np.arange(120) % 60 == 59
    seen, action, reward = np.zeros((120, 1)), np.linspace(-1, 1, 120)[:, None], np.arange(120.0)
    log = from_arrays(seen, action, reward, ends, 0 * ends)
    cut = from_arrays(seen, action, reward, 0 * ends, np.arange(120) % 10 == 9)
    data = Dataset(log, log.spec(box(), 0.9), log.returns(), "")
    assert "up to 60 steps, and the weights of more than 50 leave nothing" in judged(data, always(0.0))["verdict"]
    data = replace(data, log=cut)
    assert "12 of 12 episodes are cut, 3" in judged(data, always(0.0), 0.9)["verdict"]
    few = from_arrays(seen[:20], action[:20], reward[:20], np.ones(20), np.zeros(20))
    assert "200 logged steps of other episodes are needed" in judged(replace(data, log=few), always(0.0))["verdict"]


def box() -> Any:
    from gymnasium.spaces import Box

    return Box(-1, 1, (1,))


def test_weights_that_average_more_than_one_give_no_bound(chain, capsys):
    log = replace(chain.log, propensity=0.5 * chain.log.behaviour(chain.log))
    found = judged(replace(chain, log=log), always(0.6))
    assert found["mean_weight"] == pytest.approx(8, abs=2), "each of three steps counts twice"
    assert "the propensities are wrong, so there is no bound" in found["verdict"]
    assert all(row["bound_low"] is None for row in found["cvar"])
    show_weighted(found)
    printed = " ".join(capsys.readouterr().out.split())
    assert "by importance weighting of 10000 training episodes, known propensities" in printed


def test_propensities_are_read_as_a_column():
    columns = {"observations": np.zeros((6, 1)), "actions": np.zeros((6, 1)), "rewards": np.ones(6)}
    ends = {"terminals": np.zeros(6), "episode": [0, 0, 0, 1, 1, 1], "step": [2, 0, 1, 0, 1, 2]}
    log = as_log({**columns, **ends, "propensity": np.array([3, 1, 2, 4, 5, 6])})
    assert log.propensity == pytest.approx([1, 2, 4, 5]), "in the order of steps; a cut episode loses its last one"
    with pytest.raises(InputError, match=r"propensities must be finite and above 0, got 0 at row 5; data\.columns"):
        as_log({**columns, **ends, "propensity": np.array([3, 1, 2, 4, 5, 0])})
    assert as_log({**columns, **ends, "pi": np.ones(6)}).propensity is None
