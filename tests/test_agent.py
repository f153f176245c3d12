"""How an agent acts, alone and among candidates, and what its critic says of an action."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ramac import checkpoint
from ramac.agent import Acting, Agent
from ramac.critics import Critic
from ramac.errors import InputError
from ramac.registry import critics
from ramac.spec import Spec


def agent_of(acting):
    """An agent whose candidates are 0, 1, 2, ... in the first coordinate, and whose critic likes 3 best."""
    agent = Agent.build({"actor": "deterministic", "critic": "mean", "risk": "neutral"}, Spec.unit(1, 1))
    agent.acting = acting

    def act(tensordict, mode=None):
        shape = tensordict.batch_size
        action = torch.arange(shape[-1]).float().expand(shape).unsqueeze(-1)
        return tensordict.set("action", action)

    agent.actor.forward = act
    agent.critic.standard_risk = lambda pairs, risk: -(pairs["action"] - 3).abs().expand(*pairs["action"].shape[:-1], 2)
    return agent


def test_the_best_candidate_is_taken():
    action = agent_of(Acting(candidates=6)).act(np.zeros((7, 1), np.float32))
    assert (action == 3).all()


def test_a_temperature_draws_by_softmax():
    torch.manual_seed(0)
    action = agent_of(Acting(candidates=6, temperature=0.8)).act(np.zeros((20_000, 1), np.float32))
    weight = np.exp(-np.abs(np.arange(6) - 3) / 0.8)
    drawn = np.bincount(action[:, 0].astype(int), minlength=6) / 20_000
    assert drawn == pytest.approx(weight / weight.sum(), abs=0.015)


def test_a_tiny_temperature_is_the_best():
    assert (agent_of(Acting(candidates=6, temperature=1e-40)).act(np.zeros((7, 1), np.float32)) == 3).all()


SPEC = Spec(2, 2, (-1.0,) * 2, (1.0,) * 2, (0.0,) * 2, (1.0,) * 2, 5.0, 4.0)  # returns: mean 5, deviation 4
PLACES = np.array([[0.1, -0.2], [0.4, 0.3], [-0.6, 0.8]])


class Uniform(Critic):
    """Member e says Z(s, a) ~ U(a_1 + e, a_1 + e + 2 + s_1): its quantile at tau is a_1 + e + tau (2 + s_1)."""

    def __init__(self):
        super().__init__(SPEC, hidden=(4,), outputs=1, ensemble=3)

    def features(self, tensordict):
        flat = [tensordict[key].reshape(-1, 2)[:, :1] for key in ("observation", "action")]
        return torch.cat(flat, -1).float().expand(3, -1, -1)

    def quantile(self, features, level):
        member = torch.arange(3.0).reshape(3, 1, 1)
        value = features[..., 1:] + member + level * (2 + features[..., :1])
        return self.scaling.to_standard(value)

    def measure(self, features, risk):
        grid = (torch.arange(1000.0) + 0.5) / 1000
        return risk.of_samples(self.quantile(features, grid.expand(features.shape[1], -1)))


def agent_with(actor="gaussian", risk="cvar0.1", **acting):
    agent = Agent.build({"actor": actor, "critic": "iqn", "risk": risk, **acting}, SPEC)
    agent.critic = Uniform()
    return agent


def truth(level, member=1.0):
    """Quantiles [3, N] of a member of Uniform at PLACES, action = - observation; 1 is the mean of 0, 1 and 2."""
    return -PLACES[:, :1] + member + np.asarray(level) * (2 + PLACES[:, :1])


def test_returns_are_the_quantiles_in_reward_units_from_the_worst_up():
    agent = agent_with()
    middle = (np.arange(32) + 0.5) / 32
    for levels, at in ((32, middle), (4, (np.arange(4) + 0.5) / 4), ([0, 0.25, 1], [0, 0.25, 1]), (np.ones(1), [1])):
        np.testing.assert_allclose(agent.returns(PLACES, -PLACES, levels), truth(at), rtol=1e-5)
    np.testing.assert_allclose(agent.returns(PLACES, -PLACES), truth(middle), rtol=1e-5)
    assert (np.diff(agent.returns(PLACES, -PLACES)) > 0).all()
    own = agent.returns(PLACES, -PLACES, None)
    np.testing.assert_allclose(own, agent.returns(PLACES, -PLACES, agent.critic.levels))
    members = agent.returns(PLACES, -PLACES, levels=[0.5], members=True)
    assert members.shape == (3, 3, 1)
    for e in range(3):
        np.testing.assert_allclose(members[:, e], truth([0.5], e), rtol=1e-5)


@pytest.mark.parametrize(("risk", "level"), [("neutral", 0.5), ("cvar0.1", 0.05), ("cvar1", 0.5), ("var0.25", 0.25)])
def test_risk_of_is_the_lowest_members_measure(risk, level):
    found = agent_with(risk=risk).risk_of(PLACES, -PLACES)
    np.testing.assert_allclose(found, truth([level], 0)[:, 0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("critic", critics)
def test_every_critic_reads_single_pairs_and_batches(critic):
    agent = Agent.build({"actor": "gaussian", "critic": critic, "risk": "neutral"}, SPEC)
    state = np.random.default_rng(0).uniform(-1, 1, (5, 4, 2))
    returns, members = agent.returns(state, state, 8), agent.returns(state, state, 8, members=True)
    assert returns.shape == (5, 4, 8) and members.shape == (5, 4, agent.critic.ensemble, 8)
    np.testing.assert_allclose(members.mean(-2), returns, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(agent.returns(state[2, 1], state[2, 1], 8), returns[2, 1], rtol=1e-4, atol=1e-4)
    assert agent.risk_of(state, state).shape == (5, 4) and agent.risk_of(state[0, 0], state[0, 0]).shape == ()
    assert agent.returns(state[:0, 0], state[:0, 0]).shape == (0, 32)
    assert agent.risk_of(state[:0, 0], state[:0, 0]).shape == (0,)


def test_many_rows_are_read_in_parts(monkeypatch):
    agent, state = agent_with(), np.random.default_rng(0).uniform(-1, 1, (50, 2))
    whole = agent.returns(state, state), agent.risk_of(state, state)
    monkeypatch.setattr("ramac.agent.ROWS", 100)  # three rows of 32 levels at once
    np.testing.assert_allclose(agent.returns(state, state), whole[0], rtol=1e-6)
    np.testing.assert_allclose(agent.risk_of(state, state), whole[1], rtol=1e-6)


def test_deterministic_is_the_central_action_whatever_acting_says():
    state = PLACES.astype(np.float32)
    for acting in ({}, {"mode": True}, {"candidates": 8}):
        agent = agent_with(**acting)
        with torch.no_grad():
            central = agent.actor.mode(torch.as_tensor(state)).numpy()
        np.testing.assert_array_equal(agent.act(state, deterministic=True), central)
        assert (agent.act(state, deterministic=False) != central).all()
        assert (agent.act(state) == central).all() == acting.get("mode", False)


@pytest.mark.parametrize("acting", [{}, {"candidates": 8, "temperature": 1.0}])
def test_a_seed_fixes_the_action_and_leaves_torchs_generator_alone(acting):
    agent = agent_with(**acting)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second, other = (agent.act(PLACES, seed=seed) for seed in (7, np.int64(7), 8))
    assert torch.equal(before, torch.get_rng_state())
    assert (first == second).all() and (first != other).any()
    drawn = agent.act(PLACES)
    assert not torch.equal(before, torch.get_rng_state())
    torch.manual_seed(3)
    np.testing.assert_array_equal(agent.act(PLACES), drawn)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda a: a.returns(PLACES[:, :1], PLACES), "an observation must have shape [..., 2], got [3, 1]"),
        (lambda a: a.returns(PLACES, PLACES[:, :1]), "an action must have shape [..., 2], got [3, 1]"),
        (lambda a: a.risk_of(PLACES, [["0", "1"]]), "an action must be an array of real numbers, got <U1"),
        (lambda a: a.risk_of(PLACES, np.full((3, 2), np.nan)), "an action is nan or infinite in 6 places"),
        (lambda a: a.returns(PLACES * np.inf, PLACES), "an observation is nan or infinite in 6 places"),
        (lambda a: a.risk_of(PLACES, PLACES[0]), "observation and action must agree in all dimensions but the last"),
        (lambda a: a.returns(PLACES, PLACES, 0), "levels must be a number from 1 to 16384, or levels in [0, 1], got 0"),
        (lambda a: a.returns(PLACES, PLACES, [0.5, 1.5]), "levels must be in [0, 1], got 1.5"),
        (lambda a: a.returns(PLACES, PLACES, [np.nan]), "levels must be in [0, 1], got nan"),
        (lambda a: a.returns(PLACES, PLACES, 0.5), "levels must have shape [N], N from 1 to 16384, got []"),
        (lambda a: a.returns(PLACES, PLACES, []), "levels must have shape [N], N from 1 to 16384, got [0]"),
        (lambda a: a.returns(PLACES, PLACES, "all"), "levels must be numbers in [0, 1]: could not convert"),
        (lambda a: a.act(PLACES, seed=-1), "seed must be a whole number from 0, got -1"),
        (lambda a: a.act(PLACES, seed=0.5), "seed must be a whole number from 0, got 0.5"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(use, message):
    with pytest.raises(InputError) as error:
        use(agent_with())
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_weights_that_have_diverged_are_named():
    agent = agent_with()
    agent.critic.scaling.return_std.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="the critic's return is nan"):
        agent.returns(PLACES, PLACES)
    with pytest.raises(FloatingPointError, match="the critic's risk is nan"):
        agent.risk_of(PLACES, PLACES)


def test_a_checkpoint_says_which_update_it_holds(tmp_path):
    parts = {"actor": "gaussian", "critic": "qr", "risk": "cvar0.1"}
    agent = Agent.build(parts, SPEC)
    checkpoint.save(agent, parts, tmp_path / "with", step=70)
    checkpoint.save(agent, parts, tmp_path / "without")
    assert checkpoint.step_of(tmp_path / "with") == 70
    assert checkpoint.step_of(tmp_path / "without") is None and checkpoint.step_of(tmp_path / "nothing") is None
    for name in ("with", "without"):
        loaded = checkpoint.load(tmp_path / name)
        np.testing.assert_array_equal(loaded.act(PLACES, seed=0), agent.act(PLACES, seed=0))


def test_a_checkpoint_of_version_0_1_loads():
    old = Path(__file__).parent / "fixtures" / "v0.1" / "finished" / "checkpoint"
    agent = checkpoint.load(old)
    assert checkpoint.step_of(old) is None
    state = np.zeros((3, agent.actor.data_spec.obs_dim))
    action = agent.act(state, seed=0)
    assert agent.returns(state, action, 8).shape == (3, 8) and agent.risk_of(state, action).shape == (3,)
