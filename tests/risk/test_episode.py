"""Static risk: the utility, the reward so far in data and environment, and the search for its thresholds."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from tensordict import TensorDict

from ramac.agent import Agent
from ramac.data.context import widest_shift, with_reward_so_far
from ramac.environments import RewardSoFar
from ramac.errors import InputError
from ramac.experiment.compose import compose
from ramac.experiment.run import Build
from ramac.optimum import Optimum
from ramac.registry import risks, tasks
from ramac.risk import edges
from ramac.risk.episode import Episode
from ramac.spec import Scaling, Spec
from ramac.statistics import cvar
from ramac.tasks.chain import Chain
from ramac.tasks.trading import DEVIATION, HORIZON, KEPT, axis, grid
from ramac.training import renewal

CONCAVE = ("cvar0.1", "cvar0.37", "mean_cvar", "spectral", "wang", "dual_power", "power", "minmaxvar", "maxvar")


def episode(name: str, **more) -> Episode:
    return risks.build({**risks.plain(name), "horizon": "episode", **more})


@pytest.mark.parametrize("name", CONCAVE)
def test_the_utility_at_the_own_quantiles_reads_the_measure(name):
    """Of a normal law; for weights that are not constant by parts, to the error of 32 cells."""
    value = torch.special.ndtri((torch.arange(4000, dtype=torch.float64) + 0.5) / 4000)
    risk, cells = episode(name).double(), edges(4000, value)
    risk.renew([value])
    read = risk.at(torch.tensor([[0.0, 1.0]], dtype=torch.float64), Scaling(Spec.unit(1, 1)).double())
    exact = 1e-3 if "cvar" in name else 5e-3
    assert read(value.unsqueeze(0), cells).item() == pytest.approx(risks.build(name)(value, cells).item(), abs=exact)
    risk.threshold.add_(0.5)  # the quantiles are the best thresholds
    worse = risk.at(torch.tensor([[0.0, 1.0]], dtype=torch.float64), Scaling(Spec.unit(1, 1)).double())
    assert worse(value.unsqueeze(0), cells).item() < read(value.unsqueeze(0), cells).item()


def test_the_utility_is_that_of_the_whole_return_less_the_reward_so_far():
    """(E h(c + b Z) - c) / b, h(x) = y + min(x - y, 0) / u, in reward units of a spec with mean 3 and deviation 2."""
    spec = Spec(1, 1, (-1.0,), (1.0,), (0.0,), (1.0,), return_mean=3.0, return_std=2.0)
    risk, level, threshold = episode("cvar0.2"), 0.2, 1.5
    risk.threshold.fill_((threshold - 3) / 2)
    context, outcomes = [(4.0, 0.9), (-2.0, 0.5), (0.0, 1.0)], [-3.0, 0.5, 1.0, 6.0]
    standard = torch.tensor([[(z - 3) / 2 for z in outcomes]] * 3).expand(5, 3, 4)  # five members
    read = risk.at(torch.tensor(context), Scaling(spec))(standard, edges(4, standard))
    for row, (so_far, discount) in enumerate(context):
        totals = [so_far + discount * z for z in outcomes]
        utility = sum(threshold + min(total - threshold, 0) / level for total in totals) / 4
        plain = (utility - so_far) / discount
        assert read[:, row].tolist() == pytest.approx([(plain - 3) / 2] * 5, abs=1e-4)


def test_a_dial_has_a_threshold_for_each_of_its_values():
    risk = episode("cvar", alpha=(0.2, 1.0))
    laws = [torch.linspace(0, 1, 101) + i for i, _ in enumerate(risk.grid())]
    risk.renew(laws)
    middle = 0.2 * 5 ** (3.5 / 8)  # drawn in logarithms: place 3.5 of the nine
    context = torch.tensor([[0.0, 1.0, 0.2], [0.0, 1.0, middle], [0.0, 1.0, 1.0]])
    bound = risk.at(context, Scaling(Spec.unit(1, 1)))
    below, above = (0.2 * 5 ** (i / 8) + i for i in (3, 4))  # quantile alpha_i of U(i, i + 1)
    assert bound.left.squeeze(-1).tolist() == pytest.approx([0.2, (below + above) / 2, 9.0], abs=1e-4)
    assert bound.level.squeeze(-1).tolist() == pytest.approx([0.2, middle, 1.0])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"name": "neutral"}, "no effect on the mean"),
        ({"name": "cvar", "alpha": 1.0}, "no effect on the mean"),
        ({"name": "wang", "eta": 0.0}, "no effect on the mean"),
        ({"name": "mean_cvar", "mean_weight": 1.0}, "no effect on the mean"),
        ({"name": "cpw"}, "whose weight falls with the level"),
        ({"name": "var"}, "whose weight falls with the level"),
        ({"name": "entropic"}, "whose weight falls with the level"),
        ({"name": "wang", "eta": 0.5}, "whose weight falls with the level"),
        (
            {"name": "mean_cvar", "alpha": (0.1, 0.5), "mean_weight": (0.1, 0.5)},
            "takes one range, got alpha and mean_weight",
        ),
        ({"name": "cvar", "renewals": 0}, "renewals must be at least 1"),
    ],
)
def test_what_cannot_be_static_is_refused(settings, text):
    with pytest.raises(InputError, match=text):
        risks.build({"horizon": "episode", **settings})


def test_renewals_without_static_risk_are_refused():
    with pytest.raises(InputError, match="renewals=5 has no effect with horizon=state"):
        risks.build({"name": "cvar", "renewals": 5})


def test_a_critic_of_the_mean_is_refused():
    with pytest.raises(InputError, match="a critic of the mean alone cannot read"):
        Agent.build(
            {"actor": "gaussian", "critic": "mean", "risk": {"name": "cvar", "horizon": "episode"}}, Spec.unit(3, 1)
        )


def test_a_target_of_utilities_is_refused():
    """V(s') of iql is rho; with rho in the target the utility would be applied once more in each step."""
    with pytest.raises(InputError, match="loss=iql backs rho up from state to state"):
        Build.of(compose(["recipe=iql", "task=chain", "critic=qr8", "risk=cvar0.1", "risk.horizon=episode"]))


@pytest.mark.parametrize(
    ("steps", "renewals", "last"), [(100, 4, 80), (10_000, 20, 9520), (2000, 20, 1900), (7, 20, 7)]
)
def test_renewals_are_as_many_as_asked_for_and_leave_time_to_follow(steps, renewals, last, monkeypatch):
    words = ["recipe=td3bc", "critic=qr8", "critic.hidden=[8]", "actor.hidden=[8]", "task=chain", "risk=cvar0.1"]
    words += ["task.transitions=60", f"trainer.steps={steps}", "risk.horizon=episode", f"risk.renewals={renewals}"]
    trainer, done = Build.of(compose(words)).trainer, []
    monkeypatch.setattr(renewal, "best_returns", lambda *_: done.append(trainer.step_count) or torch.zeros(5))
    ((every, hook),) = trainer.hooks
    for trainer.step_count in range(every, steps + 1, every):
        hook()
    assert len(done) == min(renewals, steps) and done[-1] == last
    assert len({*np.diff(done)}) == 1


def test_equal_rewards_move_nothing():
    """Their sums differ by rounding only, which is no scale of an observation."""
    log = replace(Chain(transitions=30).dataset().log, reward=np.full(30, 0.7, np.float32))
    assert widest_shift(log, 0.9) == 0


def test_rewards_so_far_are_those_of_a_plain_loop():
    log, gamma = Chain(transitions=30).dataset().log, 0.9
    found = with_reward_so_far(log, gamma)
    for i, begin in enumerate(log.start):
        so_far, discount = 0.0, 1.0
        for row in range(begin, log.stop[i]):
            assert found.observation[row, -2:].tolist() == pytest.approx([so_far, discount])
            so_far, discount = so_far + discount * log.reward[row], discount * gamma
            assert found.next_observation[row, -2:].tolist() == pytest.approx([so_far, discount])
    assert np.array_equal(found.observation[:, :-2], log.observation)


@pytest.mark.parametrize("task", ["trading", "chain", "bandit"])
def test_known_propensities_are_those_of_the_log_without_the_reward_so_far(task):
    log = tasks.build({**tasks.plain(task), "transitions": 60}).dataset().log
    longer = with_reward_so_far(log, 0.9)
    some = np.arange(len(log.start)) < 2
    for one, other in ((log, longer), (log.keep(some[log.episode]), longer.keep(some[longer.episode]))):
        assert np.array_equal(other.behaviour(other), one.behaviour(one))
    assert longer.observation.shape[1] == log.observation.shape[1] + 2


def test_the_environment_appends_the_same_numbers():
    env = RewardSoFar(gymnasium.make("ramac/Chain-v0"), 0.9)
    observation, _ = env.reset(seed=3)
    rewards, ended = [], False
    while not ended:
        so_far = sum(0.9**t * reward for t, reward in enumerate(rewards))
        assert observation[-2:].tolist() == pytest.approx([so_far, 0.9 ** len(rewards)])
        assert observation in env.observation_space
        observation, reward, ended, _, _ = env.step(np.ones(1, np.float32))
        rewards.append(reward)
    assert observation[-2:].tolist() == pytest.approx([sum(0.9**t * r for t, r in enumerate(rewards)), 0.9**3])
    assert env.reset(seed=4)[0][-2:].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("dial", [False, True])
def test_training_moves_the_reward_so_far_and_nothing_else(dial):
    risk = episode("cvar", alpha=(0.1, 0.5)) if dial else episode("cvar0.1")
    risk.widest.fill_(2.0)
    observation, then = torch.randn(200, 5), torch.randn(200, 5)
    batch = TensorDict({"observation": observation, "next": {"observation": then}}, [200])
    full = 6 if dial else 5  # without its dial, which is drawn later
    risk.relabel(batch, full)
    moved = batch["observation"] - observation
    shift = moved[:, 3]
    assert moved[:, [0, 1, 2, 4]].abs().max() == 0
    assert torch.allclose(batch["next", "observation"] - then, moved, atol=1e-6)
    assert shift.abs().max() <= 2 and shift.std() > 1  # uniform: 1.15


def exact_chain(threshold: float) -> np.ndarray:
    """Equally likely returns [1000] of the chain under the best policy for E min(return - threshold, 0)."""
    bad = 0.8 * min(10 - threshold, 0) + 0.2 * min(-10 - threshold, 0) > min(1 - threshold, 0)
    good = 0.8 * min(20 - threshold, 0) + 0.2 * min(0 - threshold, 0) > min(11 - threshold, 0)
    unlucky = [10.0] * 80 + [-10.0] * 20 if bad else [1.0] * 100
    return np.array(unlucky + ([20.0] * 720 + [0.0] * 180 if good else [11.0] * 900))


class ExactTrading:
    """Trading on its coarse grid: returns of the best policy for E min(return - threshold, 0), simulated."""

    def __init__(self) -> None:
        self.process = process = grid(0.2, 0.5)
        value, self.action = np.minimum(process.surplus + process.terminal[:, None], 0), []
        for _ in range(HORIZON):
            ahead = process.expect(value)
            value, action = np.full(value.shape, -np.inf), np.zeros(value.shape, np.int8)
            for m in range(process.after.shape[1]):
                other = process.take(ahead, np.full(len(value), m))
                action[other > value] = m
                np.maximum(value, other, out=value)
            self.action.insert(0, action)
        x = axis(2.4, 0.2)
        move = np.exp(-0.5 * ((x - KEPT * x[:, None]) / DEVIATION) ** 2)
        self.move = (move / move.sum(1, keepdims=True)).cumsum(1)

    def returns(self, threshold: float, count: int) -> np.ndarray:
        process, random = self.process, np.random.default_rng(0)
        state, earned, width = (
            np.full(count, process.start.argmax()),
            np.zeros(count),
            len(process.start) // len(self.move),
        )
        for action in self.action:
            place = (earned - threshold - process.surplus[0]) / (process.surplus[1] - process.surplus[0])
            taken = action[state, np.rint(place).astype(int).clip(0, len(process.surplus) - 1)]
            earned, after = earned + process.reward[state, taken], process.after[state, taken]
            price = (self.move[after // width] < random.random((count, 1))).sum(1).clip(0, len(self.move) - 1)
            state = price * width + after % width
        return earned + process.terminal[state]


def renewed(risk: Episode, law, widest: float, start: float, monkeypatch, times: int = 5) -> float:
    """Renew the thresholds some times, by exact laws of the policies; the last CVaR. Returns are not standardised."""
    agent = type("Exact", (), {"risk": risk, "complete": lambda self, state, dials: state})()
    risk.threshold.fill_(start)

    def exact(agent, state):
        return torch.tensor(np.stack([law(risk.threshold.item() - shift) for shift in state[:, -2].tolist()]))

    monkeypatch.setattr(renewal, "whole_returns", exact)
    for _ in range(times):
        risk.renew([renewal.best_returns(agent, torch.tensor([[0.0, 1.0]]), {}, widest)])
    return risk.whole.of_samples(torch.tensor(law(risk.threshold.item()))).item()


def test_renewals_end_at_the_static_optimum_of_the_chain(monkeypatch):
    """From the threshold of the safe policy, where alternation alone stays at the nested optimum, 1."""
    best = Optimum.of(Chain().process(1), "static", 0.09).cvar
    alone = renewed(episode("cvar0.09"), exact_chain, 0.0, 1.0, monkeypatch)
    found = renewed(episode("cvar0.09"), exact_chain, 12.0, 1.0, monkeypatch)
    assert (best, alone) == pytest.approx((50 / 9, 1))  # -10 with 2 %, 10 with 7 %
    assert found == pytest.approx(best)


def test_renewals_end_at_the_static_optimum_of_trading(monkeypatch):
    """From the threshold of not trading, where alternation alone stays; 2000 simulated episodes, error 0.03."""
    exact, count = ExactTrading(), 2000
    best = Optimum.of(exact.process, "static", 0.5).cvar
    alone = renewed(episode("cvar0.5"), lambda y: exact.returns(y, count), 0.0, 0.0, monkeypatch, 1)
    found = renewed(episode("cvar0.5"), lambda y: exact.returns(y, count), 3.8, 0.0, monkeypatch, 2)
    assert alone == pytest.approx(0, abs=1e-6) and best == pytest.approx(0.48, abs=0.01)
    assert found == pytest.approx(best, abs=0.06)


def test_a_run_on_logged_data_gambles_after_bad_luck_only():
    """The static optimum of the chain is 6 at level 0.1; without the reward so far at most 1 can be had."""
    words = ["recipe=td3bc", "critic=qr20", "critic.hidden=[64,64]", "actor.hidden=[64,64]", "task=chain"]
    words += ["trainer.steps=800", "trainer.batch_size=128", "trainer.delay=1", "loss.risk.members=mean"]
    build = Build.of(compose([*words, "risk=cvar0.1", "risk.horizon=episode", "evaluation.episodes=1000"]))
    for _ in build.trainer.run():
        pass
    agent = build.trainer.target
    crossroads = np.eye(5, dtype=np.float32)[3]
    actions = agent.act(np.stack([crossroads] * 2), reward_so_far=np.array([0.0, 10.0]), discount=1.0)
    assert actions[0] > 0 > actions[1]  # above 0: the gamble
    returns = np.array([row["return"] for row in build.evaluation.run(agent, build.task, 0)])
    assert cvar(returns, 0.1) > 4
