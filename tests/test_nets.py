"""Solvers of differential equations, and ensembles of networks."""

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from ramac.nets import EnsembleLinear, EnsembleReLU, integrate
from ramac.registry import critics
from trials.skewed import SPEC


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_solvers_have_their_order(solver, order):
    """dx/dt = x (1 + t) has the solution exp(t + t^2/2); halving the step divides the error by 2^order."""
    start = torch.ones(1, dtype=torch.float64)

    def error(steps: int) -> float:
        return abs(integrate(lambda t, x: x * (1 + t), start, steps, solver).item() - np.exp(1.5))

    assert np.log2(error(8) / error(16)) == pytest.approx(order, abs=0.25)


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
