"""Categorical critics: the projection onto the atoms, and the support."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from tensordict import TensorDict

from ramac.critics import Critic
from ramac.errors import InputError
from ramac.registry import critics
from ramac.spec import Spec
from trials.skewed import SPEC


def project(name: str, target: torch.Tensor) -> tuple[torch.Tensor, Critic]:
    spec = Spec(1, 1, (-1.0,), (1.0,), (0.0,), (1.0,), 0.0, 1.0, (-5.0, 5.0))
    critic = critics.build({"name": name, "ensemble": 1, "atoms": 13}, spec)  # one atom per unit, from -6 to 6
    return critic.project(target), critic


def test_c51_shares_a_return_between_its_neighbours():
    share, critic = project("c51", torch.tensor([[-6.0, 1.25, 6.0]]))
    assert critic.atom.tolist() == pytest.approx(list(range(-6, 7)))
    plain = torch.zeros(3, 13)
    plain[0, 0], plain[1, 7], plain[1, 8], plain[2, 12] = 1, 0.75, 0.25, 1
    assert torch.allclose(share[0], plain, atol=1e-5)


def test_hlgauss_spreads_a_return_by_a_normal():
    share, _ = project("hlgauss", torch.tensor([[1.25, 6.0]]))
    for i, target in enumerate([1.25, 6.0]):
        edge = (np.arange(-6, 8) - 0.5 - target) / 0.75
        mass = np.diff(norm.cdf(edge))
        assert np.allclose(share[0, i].numpy(), mass / mass.sum(), atol=1e-5)


def test_hlgauss_takes_its_smoothing_out_again():
    """Perfectly fitted to N(0.3, 1), its support has that mean and deviation."""
    share, critic = project("hlgauss", (0.3 + torch.special.ndtri((torch.arange(4000) + 0.5) / 4000)).unsqueeze(0))
    features = (share.mean(1) + 1e-30).log() + critic.atom.square() / 2
    atom, edge = critic.support(features.unsqueeze(0))
    mass = edge.diff(dim=-1)
    mean = (mass * atom).sum()
    assert mean.item() == pytest.approx(0.3, abs=1e-3)
    assert (mass * (atom - mean).square()).sum().sqrt().item() == pytest.approx(1, abs=0.01)
    assert (mass * (critic.atom - mean).square()).sum().sqrt().item() > 1.2


def test_returns_outside_the_support_are_clipped():
    critic = critics.build({"name": "c51", "ensemble": 1}, SPEC)
    pair = TensorDict({"observation": torch.zeros(2, 1), "action": torch.zeros(2, 1)}, [2])
    far = critic.regress(pair, torch.tensor([[-1e6], [1e6]]))
    end = critic.regress(pair, critic.scaling.to_return(critic.atom[[0, -1]]).unsqueeze(-1))
    assert torch.allclose(far, end, rtol=1e-4)


@pytest.mark.parametrize("name", ["c51", "hlgauss"])
@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.0, 20.0, r"atoms from 0 to 20 leave out logged returns from -14 to 10"),
        (5.0, -5.0, r"low must be below high and both finite, got 5 and -5"),
        (float("nan"), None, r"low must be below high and both finite, got nan"),
    ],
)
def test_a_support_that_cannot_hold_the_returns_is_refused(name, low, high, message):
    with pytest.raises(InputError, match=f"critic={name}: {message}"):
        critics.build({"name": name, "low": low, "high": high}, SPEC)


@pytest.mark.parametrize("name", ["c51", "hlgauss"])
def test_targets_outside_the_support_are_counted_and_told(name):
    critic = critics.build({"name": name, "ensemble": 1, "hidden": [4]}, SPEC)
    low, high = critic.atom[[0, -1]].tolist()
    pair = TensorDict({"observation": torch.zeros(2, 1), "action": torch.zeros(2, 1)}, [2])
    features = critic.features(pair)
    for _ in range(50):
        critic.regression(features, torch.tensor([[low, high, 0.0, 1.0]] * 2))
    assert (critic.clipped.item(), critic.warning()) == (0, None)
    for _ in range(100):
        critic.regression(features, torch.tensor([[low - 0.1, high + 0.1, 0.0, 1.0]] * 2))
    assert critic.clipped.item() == pytest.approx(0.5 * (1 - 0.99**100), rel=1e-5)
    assert critic.warning() == (
        "the critic clips 32% of its targets to its atoms, which reach from -16.4 to 12.4;"
        " widen them by critic.low= and critic.high="
    )
    assert "clipped" in dict(critic.named_buffers()), "a resumed run goes on with it"
    assert "clipped" not in critic.state_dict(), "an agent has no use for it"


def test_atoms_too_far_apart_are_told():
    spec = replace(SPEC, return_limits=(-100.0, 100.0))
    assert critics.build("c51", spec).warning() is None
    assert critics.build("c51", replace(spec, return_limits=(-500.0, 500.0))).warning() == (
        "its atoms, which reach from -500 to 500 in steps of 10, are coarse: returns deviate by 4.9;"
        " set critic.atoms=, or critic.low= and critic.high="
    )
