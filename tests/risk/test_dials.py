"""A range of a measure: each row of a dial is the plain measure at that row's value, in every reading and critic."""

import math
import os
from functools import partial

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from tensordict import TensorDict

import ramac
from benchmarks.updates import data, ramac_trainer
from ramac import checkpoint
from ramac.agent import Agent
from ramac.errors import InputError
from ramac.registry import critics, risks
from ramac.risk import Distortion, cumulative, edges, stratified
from ramac.risk.context import Context, drawn, moments
from ramac.spec import Scaling, Spec
from ramac.testing import check_risk

RANGES = {  # of every number of every measure
    ("cvar", "alpha"): (0.05, 1.0), ("var", "alpha"): (0.05, 0.9), ("wang", "eta"): (-1.0, 0.5),
    ("cpw", "eta"): (0.4, 1.0), ("dual_power", "nu"): (1.0, 4.0), ("power", "eta"): (-3.0, 0.0),
    ("spectral", "k"): (0.5, 8.0), ("mean_cvar", "alpha"): (0.1, 1.0), ("mean_cvar", "mean_weight"): (0.0, 1.0),
    ("maxvar", "stress"): (0.0, 2.0), ("minmaxvar", "stress"): (0.0, 2.0), ("maxminvar", "stress"): (0.0, 2.0),
    ("entropic", "beta"): (0.1, 3.0), ("expectile", "level"): (0.05, 0.5),
}  # fmt: skip
SEEKING = {("power", "eta"): (0.5, 3.0), ("entropic", "beta"): (-3.0, -0.1), ("expectile", "level"): (0.6, 0.95)}
KINDS = [{}, {"convention": "cdf"}, {"convention": "gain"}]  # of cpw, whose forms have formulas of their own
CASES = [({"name": name, key: ends}, key) for ranges in (RANGES, SEEKING) for (name, key), ends in ranges.items()]
CASES += [({"name": "cpw", "eta": (0.4, 1.0), **kind}, "eta") for kind in KINDS[1:]]
SCALING = Scaling(Spec.unit(1, 1))


def test_every_number_of_every_measure_is_tested():
    own = {name: entry for name, entry in risks.items() if entry.__module__.startswith("ramac.risk.")}
    floats = {(name, key) for name in own for key, p in risks.parameters(name).items() if p.annotation is float}
    assert floats == RANGES.keys()


def rows_of(spec, key):
    """A dial at three values, the ends among them, in rows; and the plain measures at these values."""
    values = np.linspace(*spec[key], 3)
    row = risks.build(spec).at(torch.tensor(values).unsqueeze(-1), SCALING)
    return row, [risks.build({**spec, key: float(value)}) for value in values]


@pytest.mark.parametrize(("spec", "key"), CASES, ids=[f"{spec['name']}-{spec[key]}" for spec, key in CASES])
def test_each_row_reads_as_the_plain_measure_at_its_value(spec, key):
    row, plain = rows_of(spec, key)
    value = torch.randn(2, 3, 9, dtype=torch.float64).sort(-1).values  # [E, B, N]
    cells = edges(9, value)
    own = cumulative(torch.rand(2, 3, 9, dtype=torch.float64).softmax(-1))
    u = stratified((3,), 8, value)

    def quantile(level, scale):
        return scale * torch.special.ndtri(level.clamp(1e-9, 1 - 1e-9))

    scale = torch.tensor([[[1.0]], [[2.0]]], dtype=torch.float64)
    found = {
        "atoms": row(value, cells), "of a critic": row(value[0], cells), "own edges": row(value, own),
        "samples": row.of_samples(value.flip(-1)), "cells": row.of_cells(value, cells),
        "own cells": row.of_cells(value, own), "quantiles": row.of_quantiles(partial(quantile, scale=scale), u),
    }  # fmt: skip
    for b, one in enumerate(plain):
        expected = {
            "atoms": one(value[:, b], cells), "of a critic": one(value[0, b], cells),
            "own edges": one(value[:, b], own[:, b]), "samples": one.of_samples(value[:, b]),
            "cells": one.of_cells(value[:, b], cells), "own cells": one.of_cells(value[:, b], own[:, b]),
            "quantiles": one.of_quantiles(partial(quantile, scale=scale), u[b : b + 1])[:, 0],
        }  # fmt: skip
        for name, read in expected.items():
            assert torch.allclose(found[name][..., b], read, rtol=1e-9, atol=1e-9), name


def test_two_dials_have_a_column_each():
    both = risks.build({"name": "mean_cvar", "alpha": (0.1, 1.0), "mean_weight": (0.0, 1.0)})
    value = torch.randn(3, 9, dtype=torch.float64).sort(-1).values
    pairs = torch.tensor([[0.1, 0.0], [0.5, 0.25], [1.0, 1.0]], dtype=torch.float64)
    found = both.at(pairs, SCALING).of_samples(value)
    for b, (alpha, weight) in enumerate(pairs.tolist()):
        tail = value[b] @ (alpha * 9 - torch.arange(9.0, dtype=torch.float64)).clamp(0, 1) / (alpha * 9)
        assert found[b].item() == pytest.approx(weight * value[b].mean().item() + (1 - weight) * tail.item())


@pytest.mark.parametrize("measure", [{"name": "cvar", "alpha": (0.05, 1.0)}, {"name": "entropic", "beta": (0.1, 3.0)}])
@pytest.mark.parametrize("critic", sorted({*critics} - {"mean"}))
def test_each_row_of_a_critic_reads_as_the_plain_measure(critic, measure):
    """flow reads the mean from its start, and other levels by its solver; so its dial stays below 1 here."""
    key, risk = next(key for key in measure if key != "name"), risks.build(measure)
    part = critics.build({"name": critic, "hidden": (16,)}, Context(risk).extend(Spec.unit(2, 1))).double()
    first, last = measure[key]
    values = torch.linspace(first, min(last, 0.95) if critic == "flow" else last, 4, dtype=torch.float64)
    state = torch.cat([torch.randn(4, 3, 2, dtype=torch.float64), values.view(4, 1, 1).expand(4, 3, 1)], -1)
    pairs = TensorDict({"observation": state, "action": torch.rand(4, 3, 1, dtype=torch.float64)}, [4, 3])

    def read(one):
        torch.manual_seed(0)
        lowest = (part.standard_risk_of_lowest(pairs, one),) if part.differentiable_quantile else ()
        return part.standard_risk(pairs, one), *lowest

    found = read(risk)
    for b, value in enumerate(values.tolist()):
        for ours, plain in zip(found, read(risks.build({**measure, key: value})), strict=True):
            assert torch.allclose(ours[b], plain[b], rtol=1e-9, atol=1e-9)


class Hidden(Distortion):
    """A measure of a user's that keeps its number under another name."""

    def __init__(self, *, share: float = 0.5) -> None:
        super().__init__()
        self.part = share

    def level(self, u):
        return u * self.part

    def distort(self, tau):
        return (tau / self.part).clamp(max=1)


class OfFloats(Distortion):
    """A measure of a user's whose formula takes a float only."""

    def __init__(self, *, k: float = 2.0) -> None:
        super().__init__()
        self.k = k

    def level(self, u):
        return (u * (math.exp(-self.k) - 1) + 1).log() / -self.k

    def distort(self, tau):
        return ((-self.k * tau).exp() - 1) / (math.exp(-self.k) - 1)


class Plain(Distortion):
    """A measure of a user's without a number of its own, but with a list, and a level of its own for closed forms."""

    def __init__(self, *, parts: tuple[float, ...] = (0.25, 0.75), share: float = 0.5) -> None:
        super().__init__()
        self.parts, self.share = parts, share
        self.cvar_level = share

    def level(self, u):
        return u * self.share

    def distort(self, tau):
        return (tau / self.share).clamp(max=1)


@pytest.fixture
def registered(monkeypatch):
    for part in ("entries", "suffix"):
        monkeypatch.setattr(risks, part, dict(getattr(risks, part)))
    return risks.register("mine")


@pytest.mark.parametrize(
    ("kind", "finding"),
    [
        (Hidden, "share must be an attribute of that name"),
        (OfFloats, "k cannot be a range: formulas must take a Ten"),
    ],
)
def test_a_measure_that_takes_no_range_is_found(kind, finding, registered):
    registered(kind)
    with pytest.raises(AssertionError, match=rf"1 finding\(s\)\n- {finding}"):
        check_risk("mine")


@pytest.mark.parametrize(
    ("kind", "text"),
    [(Hidden, "it is no attribute of the measure"), (Plain, "cvar_level must be a property that reads it")],
)
def test_what_a_measure_cannot_read_anew_is_refused_as_a_range(kind, text, registered):
    registered(kind)
    with pytest.raises(InputError, match=f"risk=mine: share cannot be a range: {text}"):
        risks.build({"name": "mine", "share": (0.1, 0.5)})


def test_a_list_of_two_numbers_is_no_range(registered):
    registered(Plain)
    found = risks.build({"name": "mine", "parts": [0.5, 0.6]})
    assert (found.parts, found.dials, found.cvar_level) == ((0.5, 0.6), {}, 0.5)
    assert risks.label({"name": "mine", "parts": [0.5, 0.6], "horizon": "episode"}) == "mine-episode"


@pytest.mark.parametrize(
    ("given", "label"),
    [
        ({"alpha": (0.05, 1.0)}, "cvar0.05to1"),
        ({"alpha": (1.0, 0.05)}, "cvar1to0.05"),
        ({"alpha": (0.05, 1.0), "horizon": "episode"}, "cvar0.05to1-episode"),
        ({"alpha": 0.1, "horizon": "episode"}, "cvar0.1-episode"),
        ({"name": "mean_cvar", "mean_weight": (0.0, 0.5)}, "mean_cvar0.1-mean_weight0to0.5"),
        ({"name": "mean_cvar", "alpha": (0.1, 0.5), "mean_weight": (0.0, 1.0)}, "mean_cvar0.1to0.5-mean_weight0to1"),
    ],
)
def test_a_label_names_the_range(given, label):
    assert risks.label({"name": "cvar", **given}) == label
    risks.build({"name": "cvar", **given})


@pytest.mark.parametrize("ends", [(0.05, 1.0), (4.0, 0.5), (-1.0, 0.5), (0.0, 2.0), (-0.2, -0.1)])
def test_values_are_uniform_or_uniform_in_the_logarithm_of_a_positive_range(ends):
    def value(share):
        return drawn(*ends, torch.tensor(share, dtype=torch.float64)).item()

    mean = quad(value, 0, 1)[0]
    deviation = quad(lambda share: (value(share) - mean) ** 2, 0, 1)[0] ** 0.5
    assert moments(*ends) == pytest.approx((mean, deviation))
    middle = (ends[0] * ends[1]) ** 0.5 if min(ends) > 0 else sum(ends) / 2
    assert [value(share) for share in (0.0, 0.5, 1.0)] == pytest.approx([ends[0], middle, ends[1]])


def test_a_transition_has_one_value_for_both_of_its_observations(batch):
    context = Context(risks.build({"name": "cvar", "alpha": (0.05, 1.0)}))
    context.draw(batch, 4)
    now, then = batch["observation"], batch["next", "observation"]
    assert now.shape == then.shape == (32, 4)
    assert torch.equal(now[:, -1], then[:, -1])
    assert len(now[:, -1].unique()) == 32
    assert ((now[:, -1] >= 0.05) & (now[:, -1] <= 1)).all()
    context.draw(batch, 4)  # complete already
    assert batch["observation"] is now


def dialled(actor="gaussian", **acting) -> Agent:
    parts = {"actor": actor, "critic": "qr8", "risk": {"name": "cvar", "alpha": (0.05, 1.0)}, **acting}
    return Agent.build(parts, Spec.unit(2, 1))


def test_an_agent_acts_at_the_value_that_is_given():
    agent, state = dialled(), np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)

    def expected(values):
        full = torch.cat([torch.from_numpy(state), torch.tensor(values).view(-1, 1).expand(5, 1)], -1)
        return agent.actor(TensorDict({"observation": full}, [5]), mode=True)["action"].detach().numpy()

    act = partial(agent.act, state, deterministic=True)
    assert not np.array_equal(act(alpha=0.1), act(alpha=0.9))
    assert np.array_equal(act(alpha=0.3), expected([0.3]))
    assert np.array_equal(act(), expected([0.05]))  # the first end
    each = [0.1, 0.2, 0.3, 0.4, 1.0]
    for values in (each, np.array(each), torch.tensor(each), np.array(each)[:, None]):
        assert np.array_equal(act(alpha=values), expected(each))
    found = agent(TensorDict({"observation": torch.from_numpy(state), "alpha": torch.tensor(each)}, [5]), mode=True)
    assert np.array_equal(found["action"].detach().numpy(), expected(each))
    agent.context.turn("alpha", 0.7)
    assert np.array_equal(act(), expected([0.7]))
    assert np.array_equal(agent.risk_of(state, act(), alpha=0.2), agent.risk_of(state, act(), alpha=[0.2] * 5))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alpha": 1.5}, "alpha must be in \\[0.05, 1\\], got 1.5"),
        ({"alpha": float("nan")}, "alpha must be in \\[0.05, 1\\], got nan"),
        ({"alpha": torch.tensor(0.01)}, "alpha must be in \\[0.05, 1\\]"),
        ({"alpha": "x"}, "alpha must be a number, or \\[5\\] of them, got 'x'"),
        ({"alpha": [0.1, 0.2]}, "alpha must be a number, or \\[5\\] of them"),
        ({"alpa": 0.1}, "the risk measure reads no 'alpa'; it reads alpha; did you mean 'alpha'?"),
    ],
)
def test_values_that_cannot_be_used_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        dialled().act(np.zeros((5, 2), np.float32), **given)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("alpa", 0.1, "'alpa' is no dial of the risk measure; it has alpha; did you mean 'alpha'?"),
        ("alpha", 1.5, r"risk.alpha=1.5 is outside the range of the training, \[0.05, 1\]"),
        ("alpha", True, "must be a number in"),
    ],
)
def test_a_dial_that_cannot_be_turned_so_is_refused(name, value, message):
    with pytest.raises(InputError, match=message):
        dialled().context.turn(name, value)


def test_an_observation_of_another_width_is_refused_by_the_policy():
    """Of a measure with three numbers, one missing number more or less must not be filled in."""
    risk = {"name": "cvar", "alpha": (0.05, 1.0), "horizon": "episode"}
    agent = Agent.build({"actor": "gaussian", "critic": "qr8", "risk": risk}, Spec.unit(5, 1))
    for width in (3, 5, 6):
        assert agent(TensorDict({"observation": torch.full((2, width), 0.5)}, [2]))["action"].shape == (2, 1)
    for width in (2, 4, 7):
        with pytest.raises(InputError, match=rf"must have shape \[..., 3\], got \[2, {width}\]"):
            agent(TensorDict({"observation": torch.zeros(2, width)}, [2]))


def test_candidates_are_ranked_at_the_value_that_is_given():
    """A critic that likes high actions at alpha above 1/2, and low ones below: of the same 64 samples."""
    agent, state = dialled(candidates=64), np.zeros((3, 2), np.float32)
    agent.critic.standard_risk = lambda pairs, risk: (pairs["observation"][..., -1:] - 0.5) * pairs["action"]
    sampled = {alpha: dialled_samples(agent, state, alpha) for alpha in (0.1, 1.0)}
    assert np.array_equal(agent.act(state, alpha=0.1, seed=0), sampled[0.1].min(1))
    assert np.array_equal(agent.act(state, alpha=1.0, seed=0), sampled[1.0].max(1))


def dialled_samples(agent, state, alpha):
    """The candidates of each state: [B, 64, 1]."""
    full = np.concatenate([state, np.full((len(state), 1), alpha, np.float32)], -1)
    torch.manual_seed(0)
    rows = torch.from_numpy(full).unsqueeze(1).expand(-1, 64, -1)
    return agent.actor(TensorDict({"observation": rows}, [len(state), 64]), mode=False)["action"].detach().numpy()


def test_a_saved_agent_acts_as_before(tmp_path):
    agent, state = dialled(), np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    risk = {"name": "cvar", "alpha": (0.05, 1.0)}
    checkpoint.save(agent, {"actor": "gaussian", "critic": "qr8", "risk": risk}, tmp_path)
    loaded = checkpoint.load(tmp_path)
    assert loaded.context.dials == {"alpha": (0.05, 1.0)}
    for alpha in (0.05, 0.4, 1.0):
        assert np.array_equal(loaded.act(state, seed=0, alpha=alpha), agent.act(state, seed=0, alpha=alpha))


SMALL = ["trainer.batch_size=8", "trainer.steps=20", "actor.hidden=[8]", "critic.hidden=[8]"]
DIAL = ["risk=cvar", "risk.alpha=[0.05,1]"]


def stepped(words, steps=3, mode="off"):
    logged = data(64)
    logged["next", "action"], logged["next", "followed"] = logged["action"], ~logged["next", "terminated"]
    trainer = ramac_trainer([*SMALL, *DIAL, *words.split(), f"trainer.compile={mode}"], logged)
    return trainer, [{str(k): v.item() for k, v in trainer.update(trainer.batch()).items()} for _ in range(steps)]


@pytest.mark.parametrize(
    "words",
    [
        "recipe=radac", "recipe=codac", "recipe=oraac critic.quantiles=4", "recipe=rebrac critic=qr4",
        "recipe=fql critic=qr4", "recipe=iql critic=qr4", "actor=gaussian critic=c51 loss=[td,bc,risk,entropy]",
        "actor=edm critic=expectile5 loss=[td,bc,risk_onestep]", "actor=flow critic=qr4 loss=[td,bc,guidance]",
        "actor=gaussian critic=fqf4 loss.risk.members=quantile_min",
        "actor=gaussian critic=qr4 loss.td.aggregation=risk_min loss.td.candidates=3 loss.risk.members=random",
    ],
)  # fmt: skip
def test_loss_terms_train_with_a_dial(words):
    trainer, metrics = stepped(words)
    assert all(np.isfinite(value) for row in metrics for value in row.values())
    assert trainer.agent.context.names == tuple(trainer.agent.risk.dials)


@pytest.mark.parametrize("horizon", ["state", "episode"])
def test_captured_steps_of_a_dial_are_the_eager_ones(horizon):
    words = "actor=deterministic critic=qr4 loss.td.aggregation=risk_min trainer.delay=1"
    words += f" risk.horizon={horizon}"
    (eager, expected), (flat, found) = (stepped(words, 3, mode) for mode in ("off", "flat"))
    assert found == expected
    assert flat.captured.operators and not eager.captured.operators
    ours, theirs = eager.state(), flat.state()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.skipif("RAMAC_CASES" not in os.environ, reason="a minute: RAMAC_CASES=330, each night")
def test_one_run_learns_both_ends_of_its_dial(tmp_path):
    """The bandit's ring has CVaR_alpha 9 - 2.95 / alpha for alpha from 0.05, its centre 5: equal at 0.74."""
    words = ["task=bandit", "actor=flow", "critic=qr25", "critic.hidden=[64,64]", *DIAL, "trainer.steps=3000"]
    run = ramac.train(*words, evaluation={"episodes": 10}, run_dir=str(tmp_path / "run"), quiet=True)
    agent = ramac.load(run.folder)
    radius = {
        alpha: np.linalg.norm(agent.act(np.zeros((2000, 1), np.float32), seed=0, alpha=alpha), axis=-1)
        for alpha in (0.1, 1.0)
    }
    assert (radius[0.1] <= 0.3).mean() > 0.95  # seeds 0 to 2: 0.99
    assert ((radius[1.0] >= 0.75) & (radius[1.0] <= 1.1)).mean() > 0.6  # seeds 0 to 2: 0.71 to 0.77
