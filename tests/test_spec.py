"""Scaling: actions stay in the box, and nothing is lost between reward units and standardised returns."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch

from ramac.data import from_arrays
from ramac.spec import Scaling, Spec

UNIT = torch.tensor([-1.0, -np.nextafter(np.float32(1), np.float32(0)), -0.3, 0.0, 0.7, 1.0])


def random_boxes(kind, count=300):
    random = np.random.default_rng(0)
    for _ in range(count):
        scale = 10.0 ** random.integers(-6, 7)
        low = (scale * random.normal(size=4)).astype(kind)
        width = scale * 10.0 ** random.uniform(-3, 2, 4)
        yield gymnasium.spaces.Box(low, (low + width).astype(kind), dtype=kind)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_actions_are_inside_any_box(kind):
    left = 0
    for box in random_boxes(kind):
        log = from_arrays([[0.0]], box.low[None], [1.0], [1], [0])
        scaling = Scaling(log.spec(box, 0.9))
        for unit in UNIT:
            action = scaling.to_box(unit.expand(4))
            assert action.dtype == torch.float32
            assert box.contains(action.numpy()), f"{unit} in {box}: {action}"
            left += not box.contains((scaling.centre + scaling.half_width * unit).numpy())
        width = (box.high.astype(np.float64) - box.low) / 2
        size = np.maximum(np.abs(box.low), np.abs(box.high))
        assert np.allclose(scaling.to_box(torch.ones(4)), box.high, rtol=0, atol=float((3e-7 * (size + width)).max()))
    assert left > 50, "a rounding would have taken these outside"


def test_the_gradient_passes_at_a_bound():
    scaling = Scaling(replace(Spec.unit(1, 1), low=(0.1,), high=(0.7,)))
    unit = torch.tensor([[-1.0], [1.0], [0.2]], requires_grad=True)
    (gradient,) = torch.autograd.grad(scaling.to_box(unit).sum(), unit)
    assert torch.equal(gradient, scaling.half_width.expand(3, 1))


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e8])
def test_a_backup_in_standardised_returns_is_that_in_reward_units(offset):
    """The plain formula of r + gamma Z', in float64, with rewards around an offset."""
    gamma, mean, std = 0.99, (offset + 0.3) / 0.01, 7.0
    scaling = Scaling(replace(Spec.unit(1, 1), return_mean=mean, return_std=std))
    random = np.random.default_rng(0)
    reward, standard = offset + random.normal(size=(100, 1)), random.normal(size=(100, 1))
    going = random.random((100, 1)) < 0.8
    plain = (reward + gamma * going * (mean + std * standard) - mean) / std
    found = scaling.standard_reward(torch.from_numpy(reward), gamma, torch.from_numpy(going))
    assert found.dtype == torch.float32
    target = found + gamma * torch.from_numpy(going) * torch.from_numpy(standard).float()
    assert np.allclose(target.numpy(), plain, rtol=1e-5, atol=1e-5)
    value = mean + std * random.normal(size=50)
    assert np.allclose(scaling.to_standard(torch.from_numpy(value)), (value - mean) / std, atol=1e-5)


def test_float32_observations_and_those_of_higher_precision_agree():
    scaling = Scaling(replace(Spec.unit(2, 1), obs_mean=(0.1, -3.0), obs_std=(0.5, 2.0)))
    single = torch.randn(50, 2)
    assert torch.allclose(scaling.observe(single), scaling.observe(single.double()), atol=1e-6)
    assert scaling.observe(torch.ones(1, 2, dtype=torch.int64)).dtype == torch.float32


def test_a_spec_of_version_0_1_has_no_limits():
    values = {**vars(Spec.unit(1, 1))}
    del values["return_limits"]
    listed = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    assert Spec.of(listed) == Spec.unit(1, 1)


def test_a_float64_scaling_has_the_numbers_of_the_spec():
    spec = Spec(1, 1, (-0.1,), (0.7,), (0.3,), (0.9,), 100.1, 7.3)
    scaling = Scaling(spec).double()
    value = torch.tensor([[0.123456789]], dtype=torch.float64)
    found = [scaling.observe(value), scaling.to_unit(value), scaling.to_standard(value), scaling.to_return(value)]
    plain = [(0.123456789 - 0.3) / 0.9, (0.123456789 - 0.3) / 0.4, (0.123456789 - 100.1) / 7.3]
    assert [number.item() for number in found] == pytest.approx([*plain, 100.1 + 7.3 * 0.123456789], rel=1e-14)
    assert scaling.to_box(torch.tensor([1.0], dtype=torch.float64)).item() == pytest.approx(0.7, rel=1e-15)
    reward = scaling.standard_reward(value, 0.9, torch.ones(1, 1, dtype=torch.bool))
    assert reward.item() == pytest.approx((0.123456789 - 0.1 * 100.1) / 7.3, rel=1e-14)


def test_a_scaling_that_went_through_float64_is_as_before():
    spec = Spec(1, 1, (-0.1,), (0.7,), (0.3,), (0.9,), 100.1, 7.3)
    plain, back = Scaling(spec), Scaling(spec).double().float()
    for name in ("obs_mean", "centre", "return_std", "obs_rest", "return_rest", "low", "high"):
        assert torch.equal(getattr(plain, name), getattr(back, name)), name
        assert getattr(plain, name).dtype == getattr(back, name).dtype, name
