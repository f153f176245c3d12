"""`recipe=td3bc` against TorchRL's `TD3BCLoss`: value and every gradient, in float64."""

import pytest
import torch
from torchrl.objectives import TD3BCLoss, ValueEstimators

from tests.losses.oracle import (
    GAMMA,
    HALF,
    HIGH,
    LOW,
    MEAN,
    STD,
    Case,
    close,
    critics,
    deterministic,
    same_gradient,
    set_target,
    unit_batch,
)

pytestmark = pytest.mark.filterwarnings("ignore:No target network updater")  # targets are set by hand


def theirs(case, unit, **settings):
    low, high = (-torch.ones(2), torch.ones(2)) if unit else (LOW, HIGH)
    loss = TD3BCLoss(
        deterministic(case.online, unit), critics(case.online, unit), bounds=(low, high), loss_function="l2", **settings
    ).double()
    loss.make_value_estimator(ValueEstimators.TD0, gamma=GAMMA)
    set_target(loss, "actor_network", deterministic(case.target, unit))
    set_target(loss, "qvalue_network", critics(case.target, unit))
    return loss


def test_critic_with_smoothed_clipped_double_q():
    """TorchRL's noise is in the box's unit, ours in that of [-1, 1]."""
    case = Case("td3bc")
    loss = theirs(case, False, policy_noise=0.2 * HALF, noise_clip=0.5 * HALF)
    ours = case.total("td")
    torch.manual_seed(1)
    plain, _ = loss.qvalue_loss(case.batch.clone())
    close(STD**2 * ours, plain)
    same_gradient(ours, plain, case.online.critic.trunk, loss.qvalue_network_params, STD**2)


def test_actor():
    """-lambda Q_1 + squared error, lambda = 2.5 / mean |Q_1| without gradient."""
    case = Case("td3bc", "loss.risk.normalise=abs", "loss.risk.weight=2.5")
    loss = theirs(case, True, alpha=2.5)
    ours = case.total("bc", "risk")
    plain, found = loss.actor_loss(unit_batch(case.batch))
    close(ours - found["lmbd"] * MEAN, plain)  # ours counts from the mean of the returns
    same_gradient(ours, plain, case.online.actor.net, loss.actor_network_params)
