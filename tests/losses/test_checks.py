"""A term that cannot act is found: by `check_term` for its author, by a refusal or a warning for its user."""

from typing import Any, ClassVar

import pytest
import torch
from tensordict import TensorDict

from ramac.agent import Agent
from ramac.composite import CompositeLoss
from ramac.errors import InputError
from ramac.losses import POLICY_ACTION, Term, build_terms
from ramac.registry import losses
from ramac.spec import Spec
from ramac.testing import check_term
from ramac.training.gradients import gradients, norm, refuse_idle
from ramac.training.trainer import Trainer

SPEC = Spec.unit(3, 2)


class Good(Term):
    """Squared action."""

    group, reads = "actor", ["observation", POLICY_ACTION]

    def forward(self, tensordict, agent, target):
        return tensordict[POLICY_ACTION].square().mean(-1)


class Reduced(Good):
    """One number for the batch."""

    def forward(self, tensordict, agent, target):
        return super().forward(tensordict, agent, target).mean().reshape(1)


class Detached(Good):
    """No gradient."""

    def forward(self, tensordict, agent, target):
        return super().forward(tensordict, agent, target).detach()


class OtherGroup(Good):
    """A gradient for the actor in the critic's group."""

    group = "critic"


class WrongKey(Good):
    """A key that no batch has."""

    reads: ClassVar[list[Any]] = ["observation", "actoin"]


class Undeclared(Good):
    """A key that it does not declare."""

    reads: ClassVar[list[Any]] = ["observation"]


class WrongGroup(Good):
    """A misspelt group."""

    group = "actro"


class NoGroup(Good):
    """No group."""

    group = None


class Bonus(Term):
    """A bonus of the wrong shape."""

    adds_bonus, next_log_prob = True, False

    def bonus(self, pair, tensordict, agent):
        return torch.ones(len(pair))


@pytest.fixture
def registered(monkeypatch):
    def register(kind: type[Term]) -> str:
        assert len(losses)  # the built-in entries are imported
        monkeypatch.setitem(losses.entries, "mine", kind)
        monkeypatch.setitem(losses.suffix, "mine", "weight")
        return "mine"

    return register


@pytest.mark.parametrize("name", losses)
def test_every_term_passes_the_check(name):
    check_term(name)


def test_a_good_term_passes(registered):
    check_term(registered(Good))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Reduced, r"forward must give one loss per sample, \[8\] for a batch of 8; do not reduce"),
        (Detached, "its loss sends no gradient to the parameters of the actor, its group"),
        (OtherGroup, "its loss sends no gradient to the parameters of the critic, its group"),
        (WrongKey, "reads has the key 'actoin', which no batch has; there are observation, action, "),
        (Undeclared, r"it reads .*policy.* which is not in reads: \['observation'\]"),
        (WrongGroup, "group is 'actro'; it must be 'critic' or 'actor'"),
        (NoGroup, "loss=mine has no group, 'critic' or 'actor', and does not shape TD's target either"),
        (Bonus, r"bonus must give \[8, 1\] for 8 pairs, not \[8\]"),
    ],
)
def test_a_faulty_term_is_told_in_one_sentence(kind, words, registered):
    with pytest.raises(AssertionError, match=words):
        check_term(registered(kind))


def trainer(batch: TensorDict, *nodes: object) -> Trainer:
    agent = Agent.build({"actor": "gaussian", "critic": "qr8", "risk": "cvar0.2"}, SPEC)
    terms = build_terms({n if isinstance(n, str) else n["name"]: n for n in nodes}, SPEC)  # type: ignore[index]
    return Trainer(agent, terms, batch, 0, steps=100)


def test_a_term_without_gradient_is_refused_before_the_run(batch, registered):
    with pytest.raises(InputError, match="loss=mine sends no gradient to any parameter of the actor: it cannot act"):
        refuse_idle(trainer(batch, "td", "bc", registered(Detached)))


def test_a_zero_gradient_is_warned_about_and_a_term_that_is_switched_off_is_not(batch):
    idle = trainer(batch, "td", "bc", "risk")
    state = torch.get_rng_state()
    refuse_idle(idle)
    assert torch.equal(torch.get_rng_state(), state), "a check draws from no generator of the run"
    for parameter in idle.agent.critic.trunk[-1].parameters():  # the value does not depend on the action
        parameter.data.zero_()
    with pytest.warns(UserWarning, match="loss=risk sends a zero gradient to the actor on 32 rows of the data"):
        refuse_idle(idle)
    refuse_idle(trainer(batch, "td", "bc", {"name": "risk", "weight": 0.0}))


@pytest.mark.parametrize(("kind", "words"), [(WrongGroup, "group 'actro'; choose"), (NoGroup, "has no group")])
def test_an_unknown_or_missing_group_is_refused(kind, words, registered):
    agent = Agent.build({"actor": "gaussian", "critic": "qr8", "risk": "cvar0.2"}, SPEC)
    with pytest.raises(InputError, match=f"loss=mine .*{words}"):
        CompositeLoss(agent, build_terms({"mine": registered(kind)}, SPEC), target=agent)


def test_gradients_are_those_of_the_weighted_loss(batch):
    """Of 2 mean(a^2): twice the gradient of the plain mean."""
    found = trainer(batch, {"name": "bc", "weight": 2.0})
    torch.manual_seed(1)
    weighted = norm(gradients(found, "bc", batch, found.step))
    torch.manual_seed(1)
    found.agent.actor.bc(batch).mean().backward()
    plain = torch.nn.utils.get_total_norm([p.grad for p in found.agent.actor.parameters()])
    assert weighted == pytest.approx(2 * plain.item(), rel=1e-5)
