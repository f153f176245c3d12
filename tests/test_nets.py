"""Ensembles of networks."""

import pytest
import torch
from tensordict import TensorDict

from ramac.nets import EnsembleLinear, EnsembleReLU
from ramac.registry import critics
from ramac.risk.distortions import CVaR
from trials.skewed import SPEC


def test_a_relu_network_written_by_its_derivative_is_the_plain_one():
    """Values, gradients of everything, and the gradient of a gradient."""
    network = EnsembleReLU(2, 3, 8).double()
    first, last = (layer for layer in network if isinstance(layer, EnsembleLinear))
    x = torch.randn(2, 20, 3, dtype=torch.float64, requires_grad=True)
    plain = (x @ first.weight + first.bias).relu() @ last.weight + last.bias
    found = network(x)
    torch.testing.assert_close(found, plain)
    with torch.no_grad():
        torch.testing.assert_close(network(x), plain)
    inputs, gradients = [x, *network.parameters()], []
    for value in (found, plain):
        gradient = torch.autograd.grad(value.square().sum(), inputs, create_graph=True)
        gradients.append((*gradient, *torch.autograd.grad(gradient[0].square().sum(), inputs)))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_members_of_an_ensemble_are_separate_networks():
    critic = critics.build({"name": "qr", "hidden": (16,)}, SPEC)
    pair = TensorDict({"observation": torch.randn(8, 1), "action": torch.rand(8, 1)}, [8])
    joined = torch.cat([pair["observation"], pair["action"]], -1)
    first, second = critic.trunk[0], critic.trunk[-1]
    for member in range(2):
        hidden = joined @ first.weight[member] + first.bias[member]
        hidden = torch.nn.functional.silu(torch.nn.functional.layer_norm(hidden, (16,)))
        plain = hidden @ second.weight[member] + second.bias[member]
        assert torch.allclose(critic.features(pair)[member], plain, atol=1e-5)


def test_all_members_at_once_are_the_members_one_by_one():
    trunk = critics.build({"name": "qr", "hidden": (16,)}, SPEC).trunk
    x = torch.randn(2, 8, 2)
    assert torch.allclose(trunk.batched(x), trunk(x), atol=1e-5)


@pytest.mark.parametrize("name", ["mean", "qr", "iqn", "fqf", "c51", "flow"])
def test_the_first_member_alone_is_the_first_of_all(name):
    critic, risk = critics.build({"name": name}, SPEC), CVaR(alpha=0.3)
    pair = TensorDict({"observation": torch.randn(8, 1), "action": torch.rand(8, 1)}, [8])
    torch.manual_seed(0)
    every = critic.standard_risk(pair, risk)
    torch.manual_seed(0)
    assert torch.equal(critic.standard_risk(pair, risk, 1), every[:, :1])
    assert len(critic.features(pair)) == 2
