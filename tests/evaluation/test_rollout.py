import numpy as np
import pytest
import torch

from ramac.agent import Agent
from ramac.checkpoint import load
from ramac.errors import InputError
from ramac.evaluation.rollout import Evaluation
from ramac.registry import evaluations, tasks
from ramac.spec import Spec
from ramac.statistics import cvar
from ramac.system.noise import EpisodeNoise
from ramac.tasks.bandit import region, reward, shares


@pytest.fixture
def agent():
    return Agent.build({"actor": "gaussian", "critic": "qr", "risk": "neutral"}, Spec.unit(1, 2))


def test_evaluation_leaves_the_training_stream_alone(agent):
    task = tasks.build("bandit")
    state = torch.get_rng_state()
    first = Evaluation(episodes=20).run(agent, task, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert Evaluation(episodes=20).run(agent, task, seed=1) == first
    assert Evaluation(episodes=20).run(agent, task, seed=2) != first


@pytest.mark.parametrize("acting", [{}, {"candidates": 4}, {"candidates": 4, "temperature": 1.0}])
@pytest.mark.parametrize("actor", ["gaussian", "ddpm", "flow", "mixture"])
def test_an_episode_does_not_depend_on_how_many_there_are(actor, acting):
    """Nor on how many act as one batch."""
    torch.manual_seed(0)
    parts = {"actor": {"name": actor, "hidden": (8,)}, "critic": {"name": "iqn", "hidden": (8,), "embedding": 8}}
    agent = Agent.build({**parts, "risk": "cvar0.1", **acting}, Spec.unit(1, 2))
    returns, actions = [], []
    for episodes, environments in ((50, 50), (50, 25), (50, 10), (100, 50)):
        taken = []
        evaluation = Evaluation(episodes=episodes, environments=environments)
        rows = evaluation.run(agent, tasks.build("bandit"), 0, lambda *step, taken=taken: taken.append(step[2]))
        returns.append(rows[:50])
        actions.append(np.concatenate(taken)[:50])
    assert returns[1:] == [returns[0]] * 3
    assert np.ptp(actions, axis=0).max() < 1e-5
    assert len(np.unique(actions[0].round(4), axis=0)) > 25, "each episode has its own noise"


def test_episodes_that_the_agent_splits_keep_their_noise():
    """3000 candidates: the agent takes five observations at once."""
    agent = Agent.build({"actor": "gaussian", "critic": "mean", "risk": "neutral", "candidates": 3000}, Spec.unit(1, 2))
    task = tasks.build("bandit")
    first, other = (Evaluation(episodes=12, environments=e).run(agent, task, 0) for e in (12, 4))
    assert other == first


def test_steps_of_an_episode_do_not_depend_on_the_others():
    """Hopper, several steps: returns agree to rounding, which a matrix product of another size changes."""
    torch.manual_seed(0)
    agent = Agent.build({"actor": "ddpm", "critic": "iqn", "risk": "cvar0.1"}, Spec.unit(11, 3))
    task = tasks.build("hopper-medium-expert")
    first, other = (Evaluation(episodes=n, environments=e).run(agent, task, 3)[:5] for n, e in ((5, 5), (7, 2)))
    for row, again in zip(first, other, strict=True):
        assert again.pop("return") == pytest.approx(row.pop("return"), rel=1e-4)
        assert again == row
    assert Evaluation(episodes=7).starts(3)[:5] == Evaluation(episodes=5).starts(3)


def test_rows_and_their_summary(agent):
    evaluation = Evaluation(episodes=25, environments=10)
    rows = evaluation.run(agent, tasks.build("bandit"), 0)
    assert [row["episode"] for row in rows] == list(range(25))
    assert all(row["length"] == 1 for row in rows)
    summary = evaluation.summary(rows)
    returns = [row["return"] for row in rows]
    assert summary["return_mean"] == pytest.approx(np.mean(returns))
    assert summary["return_min"] == min(returns)
    assert summary["return_cvar"]["0.1"] == pytest.approx(
        np.sort(returns)[:2].sum() / 2.5 + np.sort(returns)[2] * 0.5 / 2.5
    )
    assert summary["hazard_rate"] == pytest.approx(sum(row["risky_steps"] for row in rows) / 25)


def test_episodes_count_until_they_end():
    """Hopper falls: each environment's first episode is counted alone, hazards included."""
    agent = Agent.build({"actor": "gaussian", "critic": "qr", "risk": "neutral"}, Spec.unit(11, 3))
    task = tasks.build("hopper-medium-expert")
    rows = Evaluation(episodes=3).run(agent, task, 0)
    # replayed by hand: the same policy noise, each environment stepped until its own first end
    words = [np.random.SeedSequence([0, 0, i]).generate_state(2).tolist() for i in range(3)]
    noise = EpisodeNoise([word[1] for word in words])
    envs = [task.environment() for _ in range(3)]
    states = [env.reset(seed=seed)[0] for env, seed in zip(envs, [word[0] for word in words], strict=True)]
    total, length, done = np.zeros(3), np.zeros(3, int), np.zeros(3, bool)
    while not done.any():  # up to the first fall all three agree step by step
        with noise:
            actions = agent.act(np.stack(states))
        for i, env in enumerate(envs):
            states[i], reward, terminated, truncated, _ = env.step(actions[i])
            total[i] += reward
            length[i] += 1
            done[i] = terminated or truncated
    for i in np.flatnonzero(done):
        assert rows[i]["length"] == length[i]
        assert rows[i]["return"] == pytest.approx(total[i])
    assert all(length.max() <= row["length"] < 500 and row["penalties"] <= row["risky_steps"] for row in rows)


def test_the_bandit_is_as_described():
    data = tasks.build("bandit").dataset()
    action, value = data.transitions["action"].numpy(), data.returns
    radius = np.linalg.norm(action, axis=-1)
    assert shares(action)["mass_centre"] == pytest.approx(0.25, abs=0.01)
    assert radius[radius > 0.6].mean() == pytest.approx(0.92, abs=0.005)
    assert (value < -40).sum() / (radius > 0.6).sum() == pytest.approx(0.05, abs=0.006)
    assert value[radius < 0.4].mean() == pytest.approx(5, abs=0.05)
    assert value[radius > 0.6].mean() == pytest.approx(6.05, abs=0.5)
    assert cvar(value[radius > 0.6], 0.1) == pytest.approx(-20.5, abs=2.5)
    assert cvar(value[radius < 0.4], 0.1) == pytest.approx(4.12, abs=0.1)
    assert data.transitions["next", "terminated"].all()
    again = tasks.build("bandit").dataset()
    assert (again.transitions == data.transitions).all()


def test_bandit_regions_and_rewards():
    assert region(np.array([[0, 0.3], [0.5, 0], [0, -0.9], [1, 1]])).tolist() == [0, 2, 1, 2]
    value, hazard = reward(np.repeat([0, 1, 2], 20_000), np.random.default_rng(0))
    assert value[:20_000].mean() == pytest.approx(5, abs=0.02)
    assert hazard[20_000:40_000].mean() == pytest.approx(0.05, abs=0.005)
    assert not value[40_000:].any()


@pytest.mark.parametrize("node", [{"episodes": 0}, {"alphas": (0.0,)}, {"environments": 0}])
def test_impossible_settings_are_refused(node):
    with pytest.raises(InputError, match="evaluation=default"):
        evaluations.build({"name": "default", **node})


def test_a_checkpoint_that_is_not_one(tmp_path):
    with pytest.raises(InputError, match="no usable checkpoint"):
        load(tmp_path)
    (tmp_path / "agent.json").write_text('{"spec": {}}')
    with pytest.raises(InputError, match="no usable checkpoint"):
        load(tmp_path)
