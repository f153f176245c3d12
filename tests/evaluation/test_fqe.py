"""Estimates from logs alone: closed forms, what bootstraps, random streams, checkpoints, bad input."""

import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from scipy.stats import norm
from tensordict import TensorDict

import ramac
from ramac.actors import Actor
from ramac.agent import Agent
from ramac.checkpoint import save
from ramac.cli.estimate import main
from ramac.critics.quantile import QR
from ramac.data import Dataset, Log, from_arrays
from ramac.errors import InputError
from ramac.evaluation.fqe import Estimator, FittedQ, behaviour_transitions, left_over
from ramac.experiment import estimate
from ramac.registry import risks, tasks
from ramac.spec import Spec

SMALL = {"name": "qr", "quantiles": 50, "hidden": (64, 64)}
FITS = 2
ALPHAS = (0.1, 0.25)


class Always(Actor):
    """One action everywhere."""

    def __init__(self, spec: Spec, action: tuple[float, ...]) -> None:
        super().__init__(spec)
        self.action = action

    def sample(self, observation):
        return torch.tensor(self.action).expand(len(observation), -1)


def always(data: Dataset, *action: float, risk: str = "neutral") -> Agent:
    return Agent(Always(data.spec, action), QR(data.spec, hidden=(4,)), risks.build(risk))


def task_of(log: Log, gamma: float, **settings) -> Dataset:
    task = tasks.build({**tasks.plain("logs"), "gamma": gamma, **settings})
    task.use(data=log)
    return task.dataset()


def estimated(agent: Agent, data: Dataset, gamma: float, steps: int, seed: int = 0) -> dict[str, Any]:
    return estimate.report(Estimator(data, gamma, ALPHAS, seed, steps, FITS, SMALL, torch.device("cpu")), agent)


def chain(episodes: int = 2000, length: int = 4) -> Log:
    """Each step pays N(1, 1) for the action 1 and 0 for the action -1; the behaviour tosses a coin."""
    random, steps = np.random.default_rng(0), episodes * length
    step = np.arange(steps) % length
    action = random.choice([-1.0, 1.0], steps)
    reward = np.where(action > 0, random.normal(1, 1, steps), 0)
    place = step[:, None] / length
    return from_arrays(place, action[:, None], reward, step == length - 1, np.zeros(steps))


@pytest.fixture(scope="module")
def chain_data():
    torch.set_num_threads(1)
    return task_of(chain(), 0.9)


@pytest.fixture(scope="module")
def chain_report(chain_data):
    return estimated(always(chain_data, 1.0), chain_data, 0.9, 600)


def test_a_policy_other_than_the_behaviour_meets_its_closed_form(chain_report):
    """Discounted sum of four N(1, 1): N(3.439, 2.994 ...); CVaR = mean - sd phi(z) / alpha."""
    weight = 0.9 ** np.arange(4)
    mean, sd = weight.sum(), np.sqrt((weight**2).sum())
    for row in chain_report["policy"]["cvar"]:
        alpha = row["alpha"]
        truth = mean if alpha == 1 else mean - sd * norm.pdf(norm.ppf(alpha)) / alpha
        assert row["estimate"] == pytest.approx(truth, abs=0.15 * sd), alpha
        assert row["member_low"] <= row["estimate"] <= row["member_high"]
        assert row["low"] < row["estimate"] < row["high"]


def test_the_behaviour_meets_its_own_law(chain_report):
    """Played out: half of the steps pay N(1, 1), the others nothing."""
    random = np.random.default_rng(1)
    paid = random.integers(2, size=(100_000, 4)) * random.normal(1, 1, (100_000, 4))
    returns = np.sort(paid @ 0.9 ** np.arange(4))
    behaviour = chain_report["behaviour"]
    for row in behaviour["cvar"]:
        truth = returns[: int(row["alpha"] * len(returns))].mean()
        assert row["predicted"] == pytest.approx(truth, abs=0.15 * returns.std()), row["alpha"]
        assert row["realised"] == pytest.approx(truth, abs=0.2 * returns.std()), row["alpha"]
    assert behaviour["held_out"]
    assert behaviour["episodes"] == 400
    assert behaviour["completed"] == 0, "every episode is terminal"
    assert behaviour["miscalibration"] < 0.1
    assert chain_report["distance"]["action_rms"] == pytest.approx(1, abs=0.1), "2 in half of all states"


def test_an_estimate_is_met_within_the_interval_or_a_tenth_of_a_deviation(chain_report):
    behaviour = chain_report["behaviour"]
    for row in behaviour["cvar"]:
        close = abs(row["predicted"] - row["realised"]) <= 0.1 * np.std(behaviour["realised"])
        assert row["met"] == (close or row["low"] <= row["predicted"] <= row["high"])
    assert behaviour["cvar"][0]["met"]


def test_the_verdict_says_what_the_figures_say():
    row = {"alpha": 1, "met": True, "high": 3.0}
    behaviour = {"episodes": 50, "held_out": True, "completed": 0.0, "cvar": [row, {"alpha": 0.1, "met": True}]}

    def said(rate: float, mean: float = 0.0, left: float = 0.0, **change) -> str:
        policy = {"cvar": [{"alpha": 1, "estimate": mean}]}
        distance = {"ood": None if rate < 0 else {"rate": rate, "data": 0.1}}
        found = {"policy": policy, "behaviour": {**behaviour, **change}, "distance": distance, "left_over": left}
        return estimate.verdict(found)

    assert "meets the behaviour's mean and CVaR 0.1 on 50 held-out episodes" in said(0.15)
    assert "extrapolation" not in said(0.15)
    assert "beat the behaviour" not in said(0.15, mean=2.9)
    assert "estimated to beat the behaviour" in said(0.15, mean=3.1)
    assert "50% of the policy's actions are out of distribution, 10% of the logged ones" in said(0.5)
    assert said(0.5).endswith("an extrapolation")
    missed = {"alpha": 0.1, "met": False}
    assert "misses the behaviour's CVaR 0.1 on 50 held-out episodes: do not trust it" in said(0.1, cvar=[row, missed])
    rare = {"alpha": 0.01, "met": False}
    assert "meets the behaviour's mean on" in said(0.1, cvar=[row, rare]), "half an episode tells nothing"
    assert "cut too early" in said(0.1, completed=0.9)
    assert "4 training episodes cannot tell" in said(0.1, episodes=4, held_out=False)
    assert "too few data" in said(-1)
    assert "up to 40% of the estimate is its first guess" in said(0.1, left=0.4)
    assert "first guess" not in said(0.1, left=0.01)


def test_truncation_bootstraps_and_termination_does_not():
    """Reward 1 for ever at discount 1/2: 2 where episodes are cut; 1 + 1/2 + 1/4 where the third step is the last."""
    last = np.arange(600) % 3 == 2
    place = (np.arange(600) % 3)[:, None] / 2.0
    action = np.random.default_rng(0).uniform(-1, 1, (600, 1))
    never = np.zeros(600, bool)
    cut = from_arrays(np.zeros((600, 1)), action, np.ones(600), never, last, np.zeros((600, 1)))
    terminal_place = np.where(last[:, None], place, place + 0.5)
    terminal = from_arrays(place, action, np.ones(600), last, never, terminal_place)
    for log, truth, beyond in ((terminal, 1.75, 0.0), (cut, 2.0, 0.5**3)):
        data = task_of(log, 0.5)
        found = estimated(always(data, 0.0), data, 0.5, 200)
        assert found["policy"]["cvar"][0]["estimate"] == pytest.approx(truth, abs=0.05)
        for key in ("predicted", "realised"):
            assert found["behaviour"]["cvar"][0][key] == pytest.approx(truth, abs=0.05)
        assert found["behaviour"]["completed"] == pytest.approx(beyond)


def test_a_cut_return_is_completed_by_what_the_estimate_says_follows():
    """Two steps of reward 1 and a cut at discount 1/2; Z = 9 at the last step: 1 + 9 / 2."""
    zeros = np.zeros((4, 1))
    log = from_arrays(zeros, np.linspace(-1, 1, 4)[:, None], [1, 1, 1, 3], [0, 0, 0, 1], [0, 1, 0, 0], zeros)
    data = Dataset(log, Spec.unit(1, 1), log.returns(), "")
    estimator = Estimator(data, 0.5, ALPHAS, 0, 1, FITS, SMALL, torch.device("cpu"))
    outcome, share = estimator.completed(np.full((2, 100), 9.0))
    assert outcome.tolist() == [1 + 9 / 2, 1 + 3 / 2]
    assert share == 0.25 / 2


def test_the_behaviour_leaves_out_steps_without_a_next_action():
    zeros = np.zeros((4, 1))
    log = from_arrays(zeros, zeros, [1, 2, 3, 4], [0, 0, 0, 1], [0, 1, 0, 0], zeros)
    assert behaviour_transitions(log.transitions(), 0.5).get(("next", "reward")).flatten().tolist() == [1, 3, 4]
    assert len(behaviour_transitions(log.transitions(), 0.0)) == 4, "nothing follows"
    alone = from_arrays(zeros, zeros, np.ones(4), np.zeros(4), np.ones(4), zeros)
    with pytest.raises(InputError, match="every logged step is cut off"):
        behaviour_transitions(alone.transitions(), 0.5)


def test_left_over_is_the_share_of_a_constant_error():
    """Critic and target, played out: one constant that the backup scales by gamma."""
    target = 1.0
    for _ in range(50):
        target = 0.8 * target + 0.2 * 0.9 * target
    assert left_over(0.9, 50) == pytest.approx(target)


def test_fits_are_independent_and_each_has_its_own_episodes():
    """One decision of ten episodes, reward i in episode i: a fit's mean is that of the episodes it has drawn."""
    zeros, reward = np.zeros((10, 1)), np.arange(10.0)
    log = from_arrays(zeros, np.linspace(-1, 1, 10)[:, None], reward, np.ones(10), np.zeros(10), zeros)
    data = Dataset(log, log.spec(gymnasium.spaces.Box(-1, 1, (1,)), 0.0), log.returns(), "")
    estimator = Estimator(data, 0.0, ALPHAS, 3, 400, 4, {**SMALL, "hidden": (8,)}, torch.device("cpu"))
    weight: Any = estimator.transitions["weight"].numpy()
    assert weight.shape == (10, 4)
    assert (weight.sum(0) == 10).all()
    assert len(np.unique(weight, axis=1).T) == 4, "other episodes for each fit"
    nowhere = estimator.transitions.clone().set("action", torch.zeros(10, 1))
    fitted = estimator.fit(nowhere, "").returns(zeros[:1], zeros[:1], 100, members=True)[0].mean(-1)
    assert fitted == pytest.approx(weight.T @ reward / 10, abs=0.5)


def test_the_target_of_a_fit_is_its_own_estimate():
    """Two members whose Z' is 0 and 8 everywhere, discount 1/2, reward 1: targets 1 and 5, in standard units."""
    spec = Spec.unit(1, 1)
    agent = Agent(Always(spec, (0.0,)), QR(spec, hidden=(), ensemble=2, quantiles=2), risks.build("neutral"))
    for weight in agent.critic.parameters():
        weight.data.zero_()
    list(agent.critic.parameters())[-1].data[1] = 8.0  # the bias of the last layer, [E, 1, quantiles]
    ones = torch.ones(3, 1)
    next_step = {"observation": ones, "action": ones, "reward": ones, "terminated": torch.zeros(3, 1, dtype=torch.bool)}
    batch = TensorDict(
        {"observation": ones, "action": ones, "weight": torch.tensor([[1.0, 2.0]] * 3), "next": next_step}
    )
    found = FittedQ(0.5)(batch.auto_batch_size_(), agent, agent)
    first, second = (1 - 0) / 2, (8 - 5) / 2  # mean of tau |u| and (1 - tau) |u| at the levels 1/4 and 3/4
    assert found.tolist() == pytest.approx([1 * first + 2 * second] * 3)


def test_the_caller_keeps_its_random_stream_and_calls_repeat():
    data = task_of(chain(60), 0.9)
    agent = Agent.build({"actor": "gaussian", "critic": SMALL, "risk": "cvar0.1"}, data.spec)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one = estimated(agent, data, 0.9, 20, seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert estimated(agent, data, 0.9, 20, seed=1) == one
    assert estimated(agent, data, 0.9, 20, seed=2)["policy"] != one["policy"]


def arms(steps: int = 20_000) -> Dataset:
    """One decision: the action 1 pays 9 or, one time in five, -10; the action -1 pays N(3, 1)."""
    random = np.random.default_rng(0)
    risky = random.random(steps) < 0.5
    reward = np.where(risky, np.where(random.random(steps) < 0.2, -10, 9), random.normal(3, 1, steps))
    action, ones = np.where(risky, 1.0, -1.0)[:, None], np.ones(steps)
    return task_of(from_arrays(np.zeros((steps, 1)), action, reward, ones, 0 * ones), 0.0)


def test_a_bad_checkpoint_ranks_below_a_good_one():
    """The risky arm: mean 5.2, CVaR_0.1 -10; the safe one: 3 and 3 - phi(z) / 0.1."""
    data = arms()
    agents = {1: always(data, 1.0, risk="cvar0.1"), 2: always(data, -1.0, risk="cvar0.1")}
    estimator = Estimator(data, 0.0, ALPHAS, 0, 600, FITS, SMALL, torch.device("cpu"))  # fits the behaviour once
    found = estimate.rank(agents, {step: estimate.report(estimator, agent) for step, agent in agents.items()}, data)
    assert found["chosen"] == 2
    assert found["rule"] == "highest estimated cvar0.1"
    assert [row["step"] for row in found["rows"]] == [2, 1]
    safe, risky = found["rows"]
    assert risky["mean"] == pytest.approx(5.2, abs=0.5)
    assert risky["cvar"]["0.1"] == pytest.approx(-10, abs=0.5)
    assert safe["mean"] == pytest.approx(3, abs=0.5)
    assert safe["cvar"]["0.1"] == pytest.approx(3 - norm.pdf(norm.ppf(0.1)) / 0.1, abs=0.7)
    assert safe["score"] == pytest.approx(safe["cvar"]["0.1"], abs=0.01)


@pytest.mark.parametrize(
    ("risk", "best", "scores", "rule"),
    [
        ("cvar0.1", 2, (0, -1), "cvar0.1"),
        ("neutral", 1, (4.5, 0), "neutral"),
        ({"name": "cvar", "alpha": (0.1, 1.0)}, 2, (0, -1), "cvar0.1"),  # a dial, at its first end
        ({"name": "cvar", "alpha": 0.1, "horizon": "episode"}, 2, (0, -1), "cvar0.1"),  # of whole returns, as these are
    ],
)
def test_checkpoints_rank_by_their_own_risk_measure(risk, best, scores, rule):
    """Returns of one policy: -1 a tenth of the time, else 5.111; of the other always 0."""
    data = arms(40)
    risky, safe = [-1.0] * 10 + [(4.5 + 0.1) / 0.9] * 90, [0.0] * 100
    reports = {
        step: {
            "policy": {"quantiles": value, "cvar": [{"alpha": 1.0, "estimate": float(np.mean(value))}]},
            "distance": {"action_rms": 0.0, "ood": None},
        }
        for step, value in ((1, risky), (2, safe))
    }
    found = estimate.rank({step: always(data, 1.0, risk=risk) for step in reports}, reports, data)
    assert found["chosen"] == best
    assert found["rule"] == f"highest estimated {rule}"
    assert [row["score"] for row in found["rows"]] == pytest.approx(scores, abs=1e-6)


def test_logs_hold_out_whole_episodes():
    log = chain(50)
    data = task_of(log, 0.9, held_out=0.3, split_seed=4)
    assert data.held_out is not None
    assert (len(data.log.start), len(data.held_out.start)) == (35, 15)
    together = np.concatenate([data.log.reward.reshape(-1, 4), data.held_out.reward.reshape(-1, 4)])
    assert np.array_equal(np.unique(together, axis=0), np.unique(log.reward.reshape(-1, 4), axis=0))
    assert data.spec.obs_mean == pytest.approx(tuple(data.log.observation.mean(0)))
    other = task_of(log, 0.9, held_out=0.3, split_seed=5)
    assert not np.array_equal(other.log.reward, data.log.reward)
    assert (data.spec.low, data.spec.high) == ((-1.0,), (1.0,))
    assert task_of(log, 0.9, low=-2.0, high=3.0).spec.high == (3.0,)


def test_out_of_distribution_actions_are_counted_on_held_out_states(tmp_path):
    task = tasks.build("logs")
    task.use(data=chain(50))
    data = task.dataset()
    report = task.report(lambda observation: np.full((len(observation), 1), 1.0), data, np.zeros(0), "", tmp_path)
    shares = {"threshold", "rate", "data", "uniform"}
    assert set(report["ood"]) == shares | {"nominal", "standard_error", "states", "paper", "curve"}
    assert set(report["ood"]["paper"]) == shares | {"kappa"}
    assert all(set(row) == shares | {"nominal"} for row in report["ood"]["curve"])
    assert report["ood"]["states"] == 40
    assert (report["ood"]["rate"], report["ood"]["data"]) == (0, 0)
    assert report["ood"]["uniform"] > 0.9, "the data take -1 and 1 only"


def spoilt(**change) -> Log:
    log = chain(5)
    for key, value in change.items():
        setattr(log, key, value)
    return log


@pytest.mark.parametrize(
    ("settings", "log", "message"),
    [
        ({"held_out": 1.5}, chain(5), r"task=logs: held_out must be inside \(0, 1\), got 1.5"),
        ({"held_out": 0.01}, chain(5), "holds out none; choose a share from 0.2 to 0.8"),
        ({"held_out": 0.95}, chain(5), "holds out all; choose a share from 0.2 to 0.8"),
        ({}, chain(1), "at least 2 episodes are needed"),
        ({"low": 2.0, "high": 1.0}, chain(5), "low must be below high, got 2 and 1"),
        ({"high": 0.5}, chain(5), "actions outside the box"),
        ({"split_seed": -1}, chain(5), "split_seed must be at least 0"),
        ({}, spoilt(action=np.ones((20, 1), np.float32)), "action coordinate 0 would be bounded by 1 and 1"),
        ({}, spoilt(reward=np.zeros(20, np.float32)), "every return is 0"),
        ({}, spoilt(reward=np.full(20, np.nan, np.float32)), "reward is nan or infinite in 20 of 20 steps"),
    ],
)
def test_data_that_cannot_be_judged_are_refused(settings, log, message):
    with pytest.raises(InputError, match=message):
        task_of(log, 0.9, **settings)


def test_there_is_no_environment():
    with pytest.raises(InputError, match=r"set task=gymnasium task\.environment=ID"):
        tasks.build("logs").environment()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("estimate") / "run"
    ramac.train("critic=qr", "critic.hidden=[32,32]", "actor=gaussian", "risk=cvar0.1", "trainer.steps=20",
                "task.transitions=500", "evaluation.episodes=10", f"run_dir={folder}")  # fmt: skip
    return folder


def test_a_run_gets_an_estimate(run, capsys):
    agent = ramac.load(run)
    parts = json.loads((run / "checkpoint/agent.json").read_text())
    save(agent, parts, run / "checkpoints/10")
    assert main([str(run), "steps=30", "seed=3", "fits=2"]) == 0
    printed = capsys.readouterr().out
    assert "CVaR 0.1" in printed
    assert "by importance weighting of 500 training episodes, known propensities" in " ".join(printed.split())
    assert "checkpoints by highest estimated cvar0.1" in printed
    found = json.loads((run / "estimate.json").read_text())
    assert (found["seed"], found["steps"], found["fits"], found["gamma"]) == (3, 30, 2, 0)
    assert not found["behaviour"]["held_out"]
    assert [row["alpha"] for row in found["importance"]["cvar"]] == [row["alpha"] for row in found["policy"]["cvar"]]
    assert {row["step"] for row in found["choice"]["rows"]} == {10, 20}
    assert (run / "estimate.png").stat().st_size > 10_000
    assert not list(run.glob("*.part"))


def test_the_checkpoint_of_an_unfinished_run_is_of_its_own_update(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "a[b]c")
    shutil.rmtree(copy / "checkpoints", ignore_errors=True)
    (copy / "summary.json").unlink()
    shutil.copytree(copy / "checkpoint", copy / "checkpoints/4")
    parts = json.loads((copy / "checkpoint/agent.json").read_text())
    save(ramac.load(copy), parts, copy / "checkpoint", step=8)  # killed after the evaluation of gradient step 8
    with pytest.warns(UserWarning, match="is unfinished, it has no summary.json: its checkpoint is of gradient step 8"):
        assert main([str(copy), "steps=10", "fits=2"]) == 0
    found = json.loads((copy / "estimate.json").read_text())
    assert {row["step"] for row in found["choice"]["rows"]} == {4, 8}
    assert "a[b]c/estimate.*" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no run folder"),
        (
            ["nowhere", "stepz=3"],
            "estimate has no setting 'stepz'; choose from seed, steps, fits, data; did you mean 'steps'",
        ),
        (["nowhere", "fits=1"], "fits must be a whole number from 2 to 100, got 1"),
        (["nowhere", "steps=0"], "steps must be a whole number from 1"),
        (["nowhere", "seed=x"], "seed must be a whole number from 0 to .* got 'x'"),
    ],
)
def test_wrong_input_is_refused(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        main(arguments)
    assert not list(Path().iterdir())
