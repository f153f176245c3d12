"""Data and environments of the tasks whose best policy is known tell the same story."""

import numpy as np
import pytest

from ramac.errors import InputError
from ramac.registry import tasks
from ramac.tasks import chain


def small(name, **arguments):
    return tasks.build({**tasks.plain(name), **arguments})


def played(env, choose, seed=0):
    """Observations [T + 1, O], actions [T, A], rewards [T] and terminations [T] of one episode."""
    actions, rewards, ends = [], [], []
    observations = [env.reset(seed=seed)[0]]
    while not (ends and ends[-1]):
        actions.append(choose(observations[-1], env.action_space))
        observation, reward, terminated, truncated, _ = env.step(actions[-1])
        assert not truncated
        observations.append(observation)
        rewards.append(reward)
        ends.append(terminated)
    return np.array(observations), np.array(actions), np.array(rewards), np.array(ends)


def trading_rewards(now, action, then, ended):
    """The formula of docs/problems.md, written out."""
    price, u, inventory, last = now[:, 0], action[:, 0], then[:, 1], then[:, 0]
    return -price * u - 0.005 * u**2 + ended * (inventory * last - 0.5 * inventory**2)


def test_trading_rewards_and_inventories_follow_the_formula():
    log = small("trading", transitions=5000).dataset().log
    seen, actions, rewards, ends = played(small("trading").environment(), lambda _, space: space.sample())
    for now, action, then, reward, ended in (
        (log.observation, log.action, log.next_observation, log.reward, log.terminated),
        (seen[:-1], actions, seen[1:], rewards, ends),
    ):
        assert reward == pytest.approx(trading_rewards(now, action, then, ended), abs=1e-4)
        assert then[:, 1] == pytest.approx(now[:, 1] + action[:, 0], abs=1e-5)
        assert ended.tolist() == [step % 10 == 9 for step in range(len(now))]
        assert now[:, 2].tolist() == [step % 10 for step in range(len(now))]
        assert np.abs(action).max() <= 2
    assert (log.observation[log.start] == [1, 0, 0]).all()


def test_trading_prices_are_an_ornstein_uhlenbeck_process():
    """Regression of the next price on the price, exact transition: slope e^-0.2, variance (1 - e^-0.4) / 4."""
    log = small("trading", transitions=50_000).dataset().log
    x, y = log.observation[:, 0] - 1.0, log.next_observation[:, 0] - 1.0
    env = small("trading").environment()
    moved = np.concatenate([played(env, lambda *_: np.zeros(1), seed)[0][:, 0] for seed in range(300)])
    moved = moved.reshape(300, 11) - 1
    for before, after in ((x, y), (moved[:, :-1].ravel(), moved[:, 1:].ravel())):
        rest, error = after - np.exp(-0.2) * before, np.sqrt((1 - np.exp(-0.4)) / 4 / len(before))
        assert abs(rest.mean()) < 4 * error
        assert abs((rest * before).mean()) < 4 * error * before.std()
        assert rest.var() == pytest.approx((1 - np.exp(-0.4)) / 4, rel=4 * np.sqrt(2 / len(before)))


def test_the_behaviour_of_trading_is_the_documented_mixture():
    """Half of the episodes trade for the best mean, a quarter hardly, a quarter between -1 and 1."""
    log = small("trading").dataset().log
    largest = np.abs(log.action.reshape(-1, 10)).max(1)
    returns = log.returns()
    for group, share in ((largest < 0.3, 0.25), ((largest > 0.3) & (largest <= 1), 0.25), (largest > 1, 0.5)):
        assert group.mean() == pytest.approx(share, abs=0.02)
    assert returns[largest > 1].mean() == pytest.approx(1.5, abs=0.15)
    assert abs(returns[largest < 0.3].mean()) < 0.05
    assert np.array_equal(small("trading").dataset().log.action, log.action)
    assert not np.array_equal(small("trading", data_seed=1).dataset().log.action, log.action)


def test_the_chain_pays_as_documented():
    """Frequencies of every way through the chain, in the data and when it is played."""
    log = small("chain").dataset().log
    state, reward = log.observation.argmax(1).reshape(-1, 3), log.reward.reshape(-1, 3)
    assert (log.next_observation.argmax(1).reshape(-1, 3)[:, 2] == chain.END).all()
    assert set(map(tuple, state.tolist())) == {(0, 1, 3), (0, 2, 3)}
    assert (state[:, 1] == 1).mean() == pytest.approx(0.9, abs=0.02)
    assert (reward[:, 1] == np.where(state[:, 1] == 1, 10, 0)).all()
    gamble = log.action.reshape(-1, 3)[:, 2] > 0
    assert gamble.mean() == pytest.approx(0.5, abs=0.02)
    assert (reward[~gamble, 2] == 1).all()
    assert (reward[gamble, 2] == 10).mean() == pytest.approx(0.8, abs=0.03)
    assert set(reward[gamble, 2].tolist()) == {10, -10}
    env = small("chain").environment()
    ways = [played(env, lambda *_: np.ones(1, np.float32), seed) for seed in range(400)]
    totals = np.array([way[2].sum() for way in ways])
    assert all(len(way[2]) == 3 for way in ways)
    assert totals.mean() == pytest.approx(15, abs=4 * np.sqrt(73 / 400))  # 10 * 0.9 + 10 * 0.8 - 10 * 0.2
    assert played(env, lambda *_: np.zeros(1, np.float32))[2][-1] == 1, "0 is safe"


def test_a_context_of_the_bandit_decides_its_hazard():
    plain, data = small("bandit", transitions=50_000).dataset(), small("bandit", transitions=50_000, context=True)
    log = data.dataset().log
    assert np.array_equal(log.action, plain.log.action), "actions do not depend on the context"
    assert (plain.log.observation == 0).all()
    context, struck = log.observation[:, 0], log.reward < -40
    assert (context.min(), context.max()) == pytest.approx((-1, 1), abs=0.01)
    ring = np.linalg.norm(log.action, axis=1) > 0.5
    for low in (-1.0, -0.5, 0.0, 0.5):
        part = ring & (context > low) & (context < low + 0.5)
        chance = 0.05 * (1 + low + 0.25)
        assert struck[part].mean() == pytest.approx(chance, abs=4 * np.sqrt(chance / part.sum()))
    env = data.environment()
    seen = np.array([env.reset(seed=seed)[0][0] for seed in range(200)])
    assert seen.std() == pytest.approx(3**-0.5, abs=0.06)
    assert abs(seen.mean()) < 0.17


@pytest.mark.parametrize("name", ["trading", "chain"])
def test_wrong_arguments_are_refused(name):
    with pytest.raises(InputError, match="transitions must be at least"):
        small(name, transitions=2)
    with pytest.raises(InputError, match="data_seed must be at least 0"):
        small(name, data_seed=-1)
