"""Sizes and statistics of a task's data, and the scaling between the user's units and the networks' units.

A batch is a TensorDict [B] in TorchRL's keys: `observation [B, O]`, `action [B, A]`, `("next", "observation") [B, O]`,
`("next", "reward") [B, 1]`, `("next", "terminated") [B, 1]` (bool; truncation never appears: it always bootstraps).
Batches of a log also have `("next", "action") [B, A]` and `("next", "followed") [B, 1]`: the next logged action, and
whether there is one.
"""

from collections.abc import Callable, Mapping, Sequence
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
    return_limits: tuple[float, float] | None = None  # worst and best cut episode, repeated for ever

    @classmethod
    def unit(cls, obs_dim: int, act_dim: int) -> "Spec":
        """Actions in [-1, 1], observations without scaling."""
        return cls(obs_dim, act_dim, (-1.0,) * act_dim, (1.0,) * act_dim, (0.0,) * obs_dim, (1.0,) * obs_dim)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Spec":
        """The spec stored as these plain values. Raises ValueError that names the first wrong one."""
        values = {"return_limits": None, **values}  # version 0.1 has none
        names = {field.name for field in fields(cls)}
        if wrong := sorted(names ^ set(values), key=str):
            raise ValueError(f"spec {'has no' if wrong[0] in names else 'has an unknown'} {wrong[0]!r}")
        for name in ("obs_dim", "act_dim"):
            if type(values[name]) is not int or values[name] < 1:
                raise ValueError(f"spec: {name} must be a whole number from 1, got {values[name]!r}")
        for name, size in (("low", "act_dim"), ("high", "act_dim"), ("obs_mean", "obs_dim"), ("obs_std", "obs_dim")):
            refuse_others(name, values[name], values[size])
        refuse_others("return_mean and return_std", [values["return_mean"], values["return_std"]], 2)
        for name in ("return_range", "return_limits"):
            if values[name] is not None:
                refuse_others(name, values[name], 2)
        found = {k: tuple(cast("list[Any]", v)) if isinstance(v, list) else v for k, v in values.items()}
        spec = cls(**cast("dict[str, Any]", found))
        if not all(low < high for low, high in zip(spec.low, spec.high, strict=True)):
            raise ValueError("spec: low must be below high in every coordinate of the action")
        if not all(std > 0 for std in (*spec.obs_std, spec.return_std)):
            raise ValueError("spec: obs_std and return_std must be positive")
        return spec

    def extended(self, mean: Sequence[float], std: Sequence[float]) -> "Spec":
        """A copy whose observations end with more numbers, of these means and deviations."""
        mean, std = (*self.obs_mean, *mean), (*self.obs_std, *std)
        return replace(self, obs_dim=len(mean), obs_mean=mean, obs_std=std)

    def shortened(self, count: int) -> "Spec":
        """A copy without the last `count` numbers of an observation."""
        size = self.obs_dim - count
        return replace(self, obs_dim=size, obs_mean=self.obs_mean[:size], obs_std=self.obs_std[:size])

    def of_returns(self, returns: np.ndarray, beyond: np.ndarray | float = 0.0) -> "Spec":
        """A copy with the statistics of these discounted returns-to-go [T]; the deviation of constant returns is 1.

        `beyond` [T]: discount of the part that `returns` have as its mean. As an independent draw Z' it would make the
        deviation the fixed point of R - V = (completed - V) + beyond (Z' - V).
        """
        low, high, std = float(returns.min()), float(returns.max()), float(returns.std())
        std /= float(np.sqrt(1 - np.mean(np.square(beyond))))
        std = std if std > 1e-12 * max(abs(low), abs(high)) else 1.0  # below it, float64 rounds
        return replace(self, return_mean=float(returns.mean()), return_std=std, return_range=(low, high))


def transitions(
    observation: Tensor, action: Tensor, reward: Tensor, next_observation: Tensor, terminated: Tensor
) -> TensorDict:
    """Steps as a TensorDict [T] in these keys: observations [T, O], action [T, A], reward [T], terminated [T].

    Rewards become float32, unless they are float64.
    """
    count = len(reward)
    after = {
        "observation": next_observation,
        "reward": reward.to(torch.promote_types(reward.dtype, torch.float32)).reshape(count, 1),
        "terminated": terminated.bool().reshape(count, 1),
    }
    return TensorDict({"observation": observation, "action": action, "next": TensorDict(after, [count])}, [count])


def inside(low: Sequence[float] | Tensor, high: Sequence[float] | Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest float32 numbers [A] that lie in the box [low, high]."""
    least, most = np.asarray(low, np.float32), np.asarray(high, np.float32)
    least = np.where(least < np.asarray(low, np.float64), np.nextafter(least, np.float32(np.inf)), least)
    return least, np.where(most > np.asarray(high, np.float64), np.nextafter(most, np.float32(-np.inf)), most)


class Scaling(nn.Module):
    """Observations and returns to zero mean and unit variance, actions between the box and [-1, 1]^A.

    Numbers of more than 24 bits lose their mean in float64, before they are rounded to float32. After `double()` all
    constants are the spec's own numbers in float64, and nothing is rounded to float32.
    """

    obs_mean: Tensor
    obs_std: Tensor
    centre: Tensor
    half_width: Tensor
    return_mean: Tensor
    return_std: Tensor

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        low, high, mean, std, *returns = (
            torch.tensor(numbers, dtype=torch.float64)
            for numbers in (spec.low, spec.high, spec.obs_mean, spec.obs_std, spec.return_mean, spec.return_std)
        )
        self.exact = {"obs_mean": mean, "obs_std": std, "centre": (high + low) / 2, "half_width": (high - low) / 2}
        self.exact |= {"return_mean": returns[0], "return_std": returns[1]}
        self.box = low, high
        for name, constant in self.exact.items():
            self.register_buffer(name, constant.float())
        self.set_constants()

    @torch.no_grad()
    def set_constants(self) -> None:
        """Set what is in no checkpoint: what the buffers' type leaves of the means, and the bounds of actions."""
        kind, device = self.centre.dtype, self.centre.device
        if kind == torch.float64:
            for name, constant in self.exact.items():
                getattr(self, name).copy_(constant)
        rest = {name: self.exact[name] - self.exact[name].to(kind).double() for name in ("obs_mean", "return_mean")}
        self.obs_rest, self.return_rest = rest["obs_mean"].to(device), rest["return_mean"].to(device)
        bounds = self.box if kind == torch.float64 else (torch.tensor(bound) for bound in inside(*self.box))
        self.low, self.high = (bound.to(device, kind) for bound in bounds)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Scaling":
        super()._apply(fn, recurse)  # pyright: ignore[reportUnknownMemberType]
        self.set_constants()
        return self

    def observe(self, observation: Tensor) -> Tensor:
        """observation [*b, O] of any type -> the networks' type, float32 by default, standardised."""
        if observation.dtype == self.obs_mean.dtype:
            return (observation - self.obs_mean) / self.obs_std
        return (observation.double() - self.obs_mean - self.obs_rest).to(self.obs_std.dtype) / self.obs_std

    def to_unit(self, action: Tensor) -> Tensor:
        """action [*b, A] in the box -> [-1, 1]."""
        return (action.to(self.half_width.dtype) - self.centre) / self.half_width

    def to_box(self, unit: Tensor) -> Tensor:
        """unit [*b, A] in [-1, 1] -> the box, never outside by a rounding."""
        action = self.centre + self.half_width * unit
        within = action.detach().clamp(self.low, self.high)
        return within + (action - action.detach())  # the gradient of the unclamped action, also at a bound

    def to_standard(self, value: Tensor) -> Tensor:
        """Returns in reward units -> standardised, in the networks' type."""
        if value.dtype == self.return_mean.dtype:
            return (value - self.return_mean) / self.return_std
        return self.standard_reward(value, 0.0, torch.zeros_like(value))

    def standard_reward(self, reward: Tensor, gamma: float, going: Tensor) -> Tensor:
        """What a reward adds to a standardised return: (r - (1 - gamma going) mean) / std, [*b].

        r + gamma going Z' in reward units is standard_reward + gamma going Z' in standardised returns. `going` [*b] is
        false where the step is terminal. The difference is made in float64: the mean is up to 1 / (1 - gamma) rewards.
        """
        mean = self.return_mean.double() + self.return_rest
        left = reward.double() - (1 - gamma * going.double()) * mean
        return left.to(self.return_std.dtype) / self.return_std

    def to_return(self, standard: Tensor) -> Tensor:
        """Standardised returns -> reward units."""
        return self.return_mean + self.return_std * standard
