"""Sizes and statistics of a task's data, and the scaling between the user's units and the networks' units.

A batch is a TensorDict [B] in TorchRL's keys: `observation [B, O]`, `action [B, A]`, `("next", "observation") [B, O]`,
`("next", "reward") [B, 1]`, `("next", "terminated") [B, 1]` (bool; truncation never appears: it always bootstraps).
Batches of a log also have `("next", "action") [B, A]` and `("next", "followed") [B, 1]`: the next logged action, and
whether there is one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor, nn


def refuse_others(name: str, value: Any, count: int) -> None:
    """Refuse what is not a list of `count` numbers in the range of float32. Raises ValueError."""
    numbers = cast("list[Any]", value) if isinstance(value, list | tuple) else []
    if len(numbers) != count:
        raise ValueError(f"spec: {name} must be {count} numbers")
    for number in numbers:
        if type(number) not in (int, float) or not abs(number) < 3e38:
            raise ValueError(f"spec: {name} must be finite numbers, got {number!r}")


@dataclass(frozen=True)
class Spec:
    """Sizes, action box, and statistics of observations and returns (plain numbers: it is stored as JSON)."""

    obs_dim: int
    act_dim: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    obs_mean: tuple[float, ...]
    obs_std: tuple[float, ...]
    return_mean: float = 0.0  # statistics of the logged discounted returns-to-go
    return_std: float = 1.0
    return_range: tuple[float, float] | None = None  # lowest and highest

    @classmethod
    def unit(cls, obs_dim: int, act_dim: int) -> "Spec":
        """Actions in [-1, 1], observations without scaling."""
        return cls(obs_dim, act_dim, (-1.0,) * act_dim, (1.0,) * act_dim, (0.0,) * obs_dim, (1.0,) * obs_dim)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Spec":
        """The spec stored as these plain values. Raises ValueError that names the first wrong one."""
        names = {field.name for field in fields(cls)}
        if wrong := sorted(names ^ set(values), key=str):
            raise ValueError(f"spec {'has no' if wrong[0] in names else 'has an unknown'} {wrong[0]!r}")
        for name in ("obs_dim", "act_dim"):
            if type(values[name]) is not int or values[name] < 1:
                raise ValueError(f"spec: {name} must be a whole number from 1, got {values[name]!r}")
        for name, size in (("low", "act_dim"), ("high", "act_dim"), ("obs_mean", "obs_dim"), ("obs_std", "obs_dim")):
            refuse_others(name, values[name], values[size])
        refuse_others("return_mean and return_std", [values["return_mean"], values["return_std"]], 2)
        if values["return_range"] is not None:
            refuse_others("return_range", values["return_range"], 2)
        found = {k: tuple(cast("list[Any]", v)) if isinstance(v, list) else v for k, v in values.items()}
        spec = cls(**cast("dict[str, Any]", found))
        if not all(low < high for low, high in zip(spec.low, spec.high, strict=True)):
            raise ValueError("spec: low must be below high in every coordinate of the action")
        if not all(std > 0 for std in (*spec.obs_std, spec.return_std)):
            raise ValueError("spec: obs_std and return_std must be positive")
        return spec

    def of_returns(self, returns: np.ndarray) -> "Spec":
        """A copy with the statistics of these discounted returns-to-go; the deviation of constant returns is 1."""
        low, high, std = float(returns.min()), float(returns.max()), float(returns.std())
        std = std if std > 1e-6 * max(abs(low), abs(high)) else 1.0
        return replace(self, return_mean=float(returns.mean()), return_std=std, return_range=(low, high))


def transitions(
    observation: Tensor, action: Tensor, reward: Tensor, next_observation: Tensor, terminated: Tensor
) -> TensorDict:
    """Steps as a TensorDict [T] in these keys: observations [T, O], action [T, A], reward [T], terminated [T]."""
    count = len(reward)
    after = {
        "observation": next_observation,
        "reward": reward.float().reshape(count, 1),
        "terminated": terminated.bool().reshape(count, 1),
    }
    return TensorDict({"observation": observation, "action": action, "next": TensorDict(after, [count])}, [count])


class Scaling(nn.Module):
    """Observations and returns to zero mean and unit variance, actions between the box and [-1, 1]^A."""

    obs_mean: Tensor
    obs_std: Tensor
    centre: Tensor
    half_width: Tensor
    return_mean: Tensor
    return_std: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        low, high, mean, std = (
            torch.tensor(numbers, dtype=torch.float32) for numbers in (spec.low, spec.high, spec.obs_mean, spec.obs_std)
        )
        self.register_buffer("obs_mean", mean)
        self.register_buffer("obs_std", std)
        self.register_buffer("centre", (high + low) / 2)
        self.register_buffer("half_width", (high - low) / 2)
        self.register_buffer("return_mean", torch.tensor(spec.return_mean, dtype=torch.float32))
        self.register_buffer("return_std", torch.tensor(spec.return_std, dtype=torch.float32))

    def observe(self, observation: Tensor) -> Tensor:
        """observation [*b, O] of any float type -> float32, standardised."""
        return (observation.to(self.obs_mean.dtype) - self.obs_mean) / self.obs_std

    def to_unit(self, action: Tensor) -> Tensor:
        """action [*b, A] in the box -> [-1, 1]."""
        return (action.to(self.half_width.dtype) - self.centre) / self.half_width

    def to_box(self, unit: Tensor) -> Tensor:
        """unit [*b, A] in [-1, 1] -> the box."""
        return self.centre + self.half_width * unit

    def to_standard(self, value: Tensor) -> Tensor:
        """Returns in reward units -> standardised."""
        return (value - self.return_mean) / self.return_std

    def to_return(self, standard: Tensor) -> Tensor:
        """Standardised returns -> reward units."""
        return self.return_mean + self.return_std * standard

    def step_to_standard(self, reward: Tensor, kept: Tensor) -> Tensor:
        """What standardised r + g Z' has beside g z', z' standardised: (r - (1 - g) mean) / sd, r and g [*b]."""
        mean, std = self.return_mean.double(), self.return_std.double()
        return ((reward.double() - (1 - kept.double()) * mean) / std).to(kept.dtype)
