"""`recipe=iql` against TorchRL's `IQLLoss`: value and every gradient, in float64."""

import pytest
import torch
from torchrl.modules import ValueOperator
from torchrl.objectives import IQLLoss, ValueEstimators

from tests.losses.oracle import (
    GAMMA,
    LOG_WIDTH,
    STD,
    Case,
    Value,
    close,
    critics,
    gaussian,
    same_gradient,
    set_target,
)

pytestmark = pytest.mark.filterwarnings("ignore:No target network updater")  # targets are set by hand

SETTINGS = ("loss.awr.effective_sample_size=null", "loss.awr.inverse_temperature=4.7")  # 1 per reward unit


def theirs(case, **settings):
    value = ValueOperator(Value(case.terms["iql"].net), in_keys=["observation"])
    loss = IQLLoss(gaussian(case.online), critics(case.online), value, loss_function="l2", **settings).double()
    loss.make_value_estimator(ValueEstimators.TD0, gamma=GAMMA)
    set_target(loss, "qvalue_network", critics(case.target))
    return loss


@pytest.fixture
def case():
    return Case("iql", "loss.iql.hidden=[12,12]", "loss.iql.expectile=0.75", *SETTINGS)


def test_value_is_the_expectile_of_the_lowest_target(case):
    loss = theirs(case, expectile=0.75)  # rounded to float32 there
    ours, (plain, _) = case.total("iql"), loss.value_loss(case.batch.clone())
    close(STD**2 * ours, plain)
    same_gradient(ours, plain, case.terms["iql"].net, loss.value_network_params, STD**2)


def test_critic_regresses_on_the_value(case):
    loss = theirs(case)
    ours, (plain, _) = case.total("td"), loss.qvalue_loss(case.batch.clone())
    close(STD**2 * ours, plain)
    same_gradient(ours, plain, case.online.critic.trunk, loss.qvalue_network_params, STD**2)


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_actor_is_cloned_by_clamped_weights(case, offset):
    """Ours is 2 / A of it, A = 2, for densities in [-1, 1]. With a value further down, weights reach the clamp."""
    with torch.no_grad():
        case.terms["iql"].net[-1].bias -= offset
    loss = theirs(case, temperature=1.0)
    ours, (plain, _) = case.total("awr"), loss.actor_loss(case.batch.clone())
    advantage = case.target.critic.standard_risk(case.batch, case.online.risk).amin(-1)
    weight = (STD * (advantage - case.terms["iql"].next_value(case.batch["observation"]).squeeze(-1))).exp().detach()
    assert (weight.max() > 100) == bool(offset) and weight.min() < 100
    close(ours + weight.clamp(max=100).mean() * LOG_WIDTH, plain)
    same_gradient(ours, plain, case.online.actor.net, loss.actor_network_params)
