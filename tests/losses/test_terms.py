"""Terms together: what they refuse, ask of the actor, and need to be complete."""

import pytest
import torch

from ramac.actors.gaussian import Gaussian
from ramac.agent import Agent
from ramac.composite import CompositeLoss
from ramac.errors import InputError
from ramac.losses import Term
from ramac.registry import losses
from ramac.training.trainer import Trainer
from tests.losses.samples import SPEC, agent, pair, terms


@pytest.mark.parametrize(
    ("actor", "critic", "names", "words"),
    [
        ("gaussian", "mean", ["td", "distill"], "loss=distill needs the actor's sample_with_teacher; .*onestep has it"),
        (
            "flow",
            "mean",
            ["td", "entropy"],
            "loss=entropy needs the actor's sample_with_log_prob; .*gaussian, mixture have",
        ),
        ("gaussian", "mean", ["td", "guidance"], "loss=guidance needs the actor's denoise"),
        ("gaussian", "mean", ["bc", "risk"], r"loss=risk needs td beside it: loss=\[td,bc,risk\]"),
        ("gaussian", "c51", ["td", {"name": "risk", "members": "quantile_min"}], "critic's differentiable_quantile"),
        (
            "gaussian",
            "mean",
            ["td", {"name": "risk", "members": "pooled"}],
            "members=pooled needs a critic of distributions",
        ),
        ("gaussian", "mean", ["td", {"name": "td", "aggregation": "own"}, "iql"], "so td.aggregation has no effect"),
        ("onestep", "mean", ["bc"], r"actor=onestep needs distill among the losses: loss=\[bc,distill\]"),
        ("gaussian", "mean", ["td", {"name": "bc", "budget": 1.0, "weight": 0.0}], "a weight above 0"),
        ("gaussian", "mean", ["td", {"name": "critic_bc", "budget": 1.0}], "no loss of its own to hold at budget=1.0"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(actor, critic, names, words):
    with pytest.raises(InputError, match=words):
        CompositeLoss(agent(actor, critic), terms(*names), target=agent(actor, critic))


@pytest.mark.parametrize(
    "node",
    [
        {"name": "iql", "expectile": 1.0},
        {"name": "bc", "final": 1.0},
        {"name": "bc", "decay": 5},
        {"name": "td", "candidates": 0},
        {"name": "td", "smoothing": -0.1},
        {"name": "td", "smoothing_clip": 0.3},
        {"name": "td", "drop": 0.2},
        {"name": "awr", "most": 0.0},
        {"name": "conservative", "actions": 0},
        {"name": "entropy", "automatic": False, "budget": 1.0},
        {"name": "awr", "most": float("inf")},
    ],
)
def test_impossible_terms_are_refused(node):
    with pytest.raises(InputError, match="loss="):
        losses.build(node, SPEC)


def test_a_delayed_actor_moves_in_every_second_update(batch):
    online = agent("deterministic")
    trainer = Trainer(online, terms("td", "bc"), batch, 0, steps=4, delay=2)
    for moves in (False, True, False, True):
        before = [p.clone() for p in online.actor.parameters()]
        averaged = [p.clone() for p in trainer.target.critic.parameters()]
        trainer.update(batch)
        assert all(torch.equal(a, b) for a, b in zip(before, online.actor.parameters(), strict=True)) != moves
        assert (
            all(torch.equal(a, b) for a, b in zip(averaged, trainer.target.critic.parameters(), strict=True)) != moves
        )


class Taught(Gaussian):
    """An actor with two extras."""

    def sample_with_teacher(self, observation):
        action = self.sample(observation)
        return action, action - 0.5


def test_any_set_of_extras_of_an_actor_works(batch):
    online = Agent(Taught(SPEC), agent().critic, agent().risk)
    loss = CompositeLoss(online, terms("td", "bc", "distill", "entropy", "risk"), target=online)
    torch.manual_seed(1)
    found = loss.sample_losses(batch, ["distill", "entropy", "risk"])
    torch.manual_seed(1)
    action, teacher = online.actor.sample_with_teacher(batch["observation"])  # the first extra's action is the policy's
    _, log_prob = online.actor.sample_with_log_prob(batch["observation"])
    assert torch.equal(found[0]["distill"], teacher.square().mean(-1))
    assert torch.equal(found[0]["entropy"], log_prob)
    rho = online.critic.standard_risk(pair(batch["observation"], action), online.risk).amin(-1)
    assert torch.allclose(found[0]["risk"], -rho)
    metrics = Trainer(online, terms("td", "bc", "distill", "entropy"), batch, 0, steps=2).update(batch)
    assert all(value.isfinite() for value in metrics.values())


class Asking(Term):
    """A plug-in that asks the actor for something new."""

    group, reads = "actor", [("policy", "speed")]

    def __init__(self, *, scale: float = 1.0, **schedule):
        super().__init__(**schedule)
        self.scale = scale

    def forward(self, tensordict, agent, target):
        return self.scale * tensordict["policy", "speed"]


def test_a_term_asks_the_actor_for_something_new(batch, monkeypatch):
    assert len(losses)  # the built-in entries are imported
    monkeypatch.setitem(losses.entries, "asking", Asking)
    monkeypatch.setitem(losses.suffix, "asking", "weight")
    asking = terms({"name": "asking", "scale": 2.0, "budget": 1.0})
    with pytest.raises(InputError, match=r"loss=asking needs the actor's sample_with_speed; .*, no actor has it"):
        CompositeLoss(agent(), asking, target=agent())
    monkeypatch.setattr(Gaussian, "sample_with_speed", lambda actor, s: (actor.sample(s), s.sum(-1)), raising=False)
    loss = CompositeLoss(agent(), asking, target=agent())
    assert loss.in_keys == ["observation"]
    assert torch.equal(loss.sample_losses(batch)[0]["asking"], 2 * batch["observation"].sum(-1))
    assert isinstance(loss.terms["asking"].multiplier.logarithm, torch.nn.Parameter)


def test_terms_are_complete_once_built(batch):
    built = terms("awr", "td", "iql", {"name": "entropy", "weight": 2.0})
    assert list(built) == ["awr", "td", "iql", "entropy"]  # the order of the configuration
    assert built["entropy"].multiplier.budget == 2 and built["entropy"].multiplier.value.item() == pytest.approx(2)
    assert built["iql"].next_value(batch["observation"]).shape == (32, 1)
    assert built["iql"] in built["td"].others and built["iql"] in built["awr"].others
    first, second = (CompositeLoss(agent(), built, target=agent()) for _ in range(2))
    first.step += 3
    assert all(loss.sample_losses(batch, ["iql"])[0]["iql"].shape == (32,) for loss in (first, second))
    assert second.step == 0


@pytest.mark.parametrize("name", ["critic_bc", "iql"])
def test_terms_that_were_built_apart_are_refused(name):
    apart = {"td": losses.build("td"), **terms(name)}
    with pytest.raises(InputError, match=f"loss=td was built without {name}"):
        CompositeLoss(agent(), apart, target=agent())
