"""What every critic must do: its contract, the quantiles of a skewed return, units, and ranges of arguments."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from tensordict import TensorDict

from ramac.errors import InputError
from ramac.registry import critics, risks
from ramac.spec import Spec
from ramac.testing import check_critic
from trials.skewed import LEVELS, SPEC, fit, skewed_quantile


@pytest.mark.parametrize("name", critics)
def test_contract(name):
    check_critic(name)


@pytest.mark.parametrize("name", ["iqn", "fqf", "qr", "ncqr", "c51", "hlgauss", "flow"])
def test_finds_the_quantiles_of_a_skewed_return(name):
    critic = critics.build({"name": name, "hidden": (64, 64)}, SPEC)
    pair = fit(critic)
    with torch.no_grad():
        value = critic(pair, LEVELS.expand(64, -1))["value"].mean((0, 1)).numpy()
        tail = critic.risk(pair, risks.build("cvar0.1")).mean().item()
    truth = [skewed_quantile(level) for level in LEVELS.tolist()]
    assert np.abs(value - truth).max() < 1.0, f"learned {value.round(2)}, truth {np.round(truth, 2)}"
    assert tail == pytest.approx(-10, abs=0.7)


def test_the_flow_of_a_normal_is_exact_before_any_training():
    """With its network silent, a flow critic is N(mean, deviation^2) of the trunk, for either solver."""
    for solver in ("midpoint", "rk4"):
        critic = critics.build({"name": "flow", "steps": 40, "solver": solver, "ensemble": 1}, Spec.unit(1, 1))
        torch.nn.init.zeros_(critic.head[-1].weight)
        torch.nn.init.zeros_(critic.head[-1].bias)
        features = torch.zeros(1, 1, 66)
        features[..., 0], features[..., 1] = 0.7, -1.0
        std = np.log1p(np.exp(-1 + 0.54))
        level = torch.tensor([[0.01, 0.1, 0.5, 0.9]])
        read = critic.quantile(features, level).flatten().detach().numpy()
        assert np.allclose(read, 0.7 + std * norm.ppf(level.flatten().numpy()), atol=0.01)


def test_returns_are_in_reward_units():
    """Shifting and stretching the standardisation moves the value, not the network."""
    pair = TensorDict({"observation": torch.zeros(4, 1), "action": torch.zeros(4, 1)}, [4])
    torch.manual_seed(0)
    plain = critics.build("qr", Spec.unit(1, 1))
    torch.manual_seed(0)
    scaled = critics.build("qr", Spec(1, 1, (-1.0,), (1.0,), (0.0,), (1.0,), 100.0, 10.0))
    measure = risks.build("cvar0.1")
    assert torch.allclose(scaled.risk(pair, measure), 100 + 10 * plain.risk(pair, measure), atol=1e-4)
    target = torch.randn(4, 3)
    assert torch.allclose(scaled.regress(pair, 100 + 10 * target), plain.regress(pair, target), atol=1e-4)


@pytest.mark.parametrize(
    "node",
    [
        {"name": "iqn", "kappa": -1.0},
        {"name": "iqn", "quantiles": 0},
        {"name": "qr", "ensemble": 0},
        {"name": "expectile", "expectiles": 8},
        {"name": "qr", "kappa": float("nan")},
        {"name": "iqn", "kappa": float("inf")},
    ],
)
def test_impossible_arguments_are_refused(node):
    with pytest.raises(InputError, match="critic="):
        critics.build(node, SPEC)
