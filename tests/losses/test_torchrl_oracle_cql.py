"""`recipe=cql` against TorchRL's `CQLLoss`: value and every gradient, in float64."""

import math
from importlib.metadata import version

import pytest
import torch
from torchrl.objectives import CQLLoss, ValueEstimators

from tests.losses.oracle import GAMMA, MEAN, STD, Case, close, critics, gaussian, same_gradient, set_target, unit_batch

pytestmark = pytest.mark.filterwarnings("ignore:No target network updater")  # targets are set by hand

PAPER = ("loss.conservative.normalise=none", "loss.conservative.actions=1")
ALPHA = 0.3  # temperature in reward units


def theirs(case, observation="observation", **settings):
    """TorchRL's loss; its proposals are uniform in [-1, 1], so it gets actions in this unit."""
    settings = {"num_random": 1, "loss_function": "l2", "target_entropy": -2.0, "alpha_init": ALPHA} | settings
    more = [] if observation == "observation" else [observation]
    loss = CQLLoss(gaussian(case.online, True, *more), critics(case.online, True, observation), **settings).double()
    with torch.no_grad():
        loss.log_alpha.fill_(math.log(ALPHA))  # its constructor rounds it to float32
    loss.make_value_estimator(ValueEstimators.TD0, gamma=GAMMA)
    set_target(loss, "qvalue_network", critics(case.target, True))
    return loss


def build(*overrides):
    case = Case("cql", *PAPER, *overrides)
    with torch.no_grad():
        case.terms["entropy"].multiplier.logarithm.fill_(math.log(ALPHA / STD))
    return case


def at_the_state(batch):
    """A batch for a TorchRL critic that reads `state`: s also for the proposals of the policy at s'.

    TorchRL evaluates these proposals at s', the paper's code at s.
    """
    batch = unit_batch(batch).set("state", batch["observation"])
    return batch.set(("next", "state"), batch["observation"])


def conservative(loss, batch):
    """TorchRL's `cql_loss`, whose draws start from seed 1; it reads what `q_loss` has left in the batch."""
    loss.q_loss(batch)
    torch.manual_seed(1)
    return loss.cql_loss(batch)[0]


@pytest.mark.parametrize("backup", [False, True])
def test_critic_with_and_without_entropy_in_the_target(backup):
    case = build(f"loss.entropy.backup={backup}")
    loss = theirs(case, deterministic_backup=not backup)
    ours = case.total("td")
    torch.manual_seed(1)
    plain, _ = loss.q_loss(unit_batch(case.batch))
    close(STD**2 * ours, plain)
    same_gradient(ours, plain, case.online.critic.trunk, loss.qvalue_network_params, STD**2)


def test_best_of_several_next_actions():
    """TorchRL takes the maximum of each member, then the lowest member; ours one action by its lowest member.

    So members must agree here. TorchRL draws one next action before, which it does not use.
    """
    case = build("loss.td.candidates=4")
    with torch.no_grad():
        for parameter in case.target.critic.trunk.parameters():
            parameter[1] = parameter[0]
    loss = theirs(case, max_q_backup=True, num_random=4)
    torch.manual_seed(1)
    torch.randn_like(case.batch["action"])
    ours = case.terms["td"](case.batch, case.online, case.target).mean()
    torch.manual_seed(1)
    plain, _ = loss.q_loss(unit_batch(case.batch))
    close(STD**2 * ours, plain)
    same_gradient(ours, plain, case.online.critic.trunk, loss.qvalue_network_params, STD**2)


@pytest.mark.parametrize("actions", [1, 10])
def test_conservative_term(actions):
    """TorchRL takes the logarithm of three proposals at a time: ours with `actions=1`, on a batch of as many copies.

    TorchRL sums over the proposals and ours takes their mean, which is log 3 less for each member.
    """
    case = build()
    loss = theirs(case, "state", num_random=actions)
    plain = conservative(loss, at_the_state(case.batch))
    case.batch = case.batch.repeat_interleave(actions, 0)
    ours = case.total("conservative")
    close(ours + 2 * math.log(3), plain)
    same_gradient(ours, plain, case.online.critic.trunk, loss.qvalue_network_params)


def test_actor_with_entropy():
    """alpha log pi - min Q; ours counts per standard deviation and from the mean of the returns."""
    case = build()
    loss = theirs(case)
    ours = case.total("risk", "entropy")
    torch.manual_seed(1)
    plain, _ = loss.actor_loss(unit_batch(case.batch))
    close(STD * ours - MEAN, plain)
    same_gradient(ours, plain, case.online.actor.net, loss.actor_network_params, STD)


def test_temperature():
    case = build()
    loss, multiplier = theirs(case), case.terms["entropy"].multiplier
    torch.manual_seed(1)
    ours = multiplier(case.loss.sample_losses(case.batch.clone(), ["entropy"])[0]["entropy"])
    torch.manual_seed(1)
    _, log_prob = loss.actor_loss(unit_batch(case.batch))
    plain, _ = loss.alpha_loss(log_prob)
    close(ours / multiplier.logarithm * loss.log_alpha, plain.mean())
    slopes = torch.autograd.grad(ours, multiplier.logarithm) + torch.autograd.grad(plain.mean(), loss.log_alpha)
    close(*slopes)


def test_multiplier_of_the_penalty():
    """TorchRL's threshold is one member's, of a sum of three proposals; its slope is alpha / 2 times ours."""
    threshold, alpha = 5.0, 1.75
    case = build(f"loss.conservative.budget={2 * (threshold - math.log(3))}", f"loss.conservative.weight={alpha}")
    loss = theirs(case, "state", with_lagrange=True, lagrange_thresh=threshold)
    multiplier = case.terms["conservative"].multiplier
    with torch.no_grad():
        multiplier.logarithm.fill_(math.log(alpha))
        loss.log_alpha_prime.fill_(math.log(alpha))
    batch = at_the_state(case.batch)
    penalty = conservative(loss, batch)
    plain, _ = loss.alpha_prime_loss(batch)
    torch.manual_seed(1)
    ours = multiplier(case.loss.sample_losses(case.batch.clone(), ["conservative"])[0]["conservative"])
    (slope,) = torch.autograd.grad(ours, multiplier.logarithm)
    (their_slope,) = torch.autograd.grad(plain, loss.log_alpha_prime, retain_graph=True)
    close(alpha / 2 * slope, their_slope)
    close(alpha / 2 * slope, plain)
    # the multiplier weighs our penalty
    ours = case.total("conservative")
    close(ours + alpha * 2 * math.log(3), alpha * penalty)
    same_gradient(ours, penalty, case.online.critic.trunk, loss.qvalue_network_params, 1 / alpha)


@pytest.mark.skipif(version("torchrl") != "0.14.1", reason="faults of this version, named in docs/results/torchrl.md")
def test_what_torchrl_does_otherwise_than_the_paper():
    """Proposals at s' are valued at s', each triple has a logarithm of its own, and the multiplier weighs nothing."""
    case = build("loss.conservative.actions=10")
    state = theirs(case, "state", num_random=10, with_lagrange=True)
    triples = conservative(state, at_the_state(case.batch))
    paper = case.total("conservative") + 2 * math.log(3)
    assert paper > triples + 0.1  # the same 30 proposals per state: a mean of logarithms is below that of the mean
    assert abs(conservative(theirs(case, num_random=10), unit_batch(case.batch)) - triples) > 0.1
    assert torch.autograd.grad(triples, state.log_alpha_prime, allow_unused=True) == (None,)
    with torch.no_grad():
        state.log_alpha_prime.fill_(3.0)
    assert torch.equal(conservative(state, at_the_state(case.batch)), triples)
