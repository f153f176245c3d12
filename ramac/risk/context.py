"""Numbers at the end of an observation that a risk measure reads: where an episode stands, and dials."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import numpy as np
import torch
from tensordict import TensorDictBase
from torch import Tensor

from ramac.errors import InputError, nearest
from ramac.risk import RiskMeasure
from ramac.spec import Spec

EPISODE = {"reward_so_far": 0.0, "discount": 1.0}  # at the start of an episode: sum_t gamma^t r_t, and gamma^t


class Context:
    """What a risk measure reads, in its order, and the values that are used where none are given.

    An observation of a log or an environment has the first kind, where the measure needs it; dials come later.
    """

    def __init__(self, risk: RiskMeasure) -> None:
        self.names, self.dials = risk.context, risk.dials
        self.values: dict[str, float] = {name: EPISODE.get(name, 0.0) for name in self.names}
        self.values |= {name: ends[0] for name, ends in self.dials.items()}

    def __len__(self) -> int:
        return len(self.names)

    @property
    def played(self) -> dict[str, dict[str, float]]:
        """For a summary, `dial`: the values of the dials that are used where none are given. Empty without dials."""
        return {"dial": {name: self.values[name] for name in self.dials}} if self.dials else {}

    def turn(self, name: str, value: Any) -> None:
        """Set a dial, for all observations that come without it. Raises InputError for a value outside its range."""
        if name not in self.dials:
            has = f"it has {', '.join(self.dials)}" if self.dials else "it has none"
            raise InputError(f"{name!r} is no dial of the risk measure; {has}{nearest(name, self.dials)}")
        low, high = sorted(self.dials[name])
        if isinstance(value, bool) or not isinstance(value, Real):
            raise InputError(f"risk.{name} must be a number in [{low:g}, {high:g}], got {shown(value)}")
        if not low <= (found := float(value)) <= high:
            raise InputError(f"risk.{name}={found:g} is outside the range of the training, [{low:g}, {high:g}]")
        self.values[name] = found

    def extend(self, spec: Spec) -> Spec:
        """The spec of networks that also read the dials, with the moments of `drawn`."""
        found = [moments(*ends) for ends in self.dials.values()]
        return spec.extended(*zip(*found, strict=True)) if found else spec

    def widths(self, full: int) -> set[int]:
        """Sizes of the observations that `complete` takes, of which `full` is the largest."""
        return {full, full - len(self.dials), full - len(self)}

    def complete(self, observation: Tensor, full: int, given: Mapping[str, Any]) -> Tensor:
        """observation [*b, O], O in `widths`, and the missing numbers: [*b, full]. Raises InputError.

        `given`: values by name, numbers, [*b] or [*b, 1]. Dials that are in the observation must be in their ranges.
        """
        if (size := observation.shape[-1]) not in self.widths(full):
            raise InputError(
                f"an observation must have shape [..., {min(self.widths(full))}], got {[*observation.shape]}"
            )
        missing = self.names[len(self) - (full - size) :]
        for name in given:
            if name not in self.names:
                has = f"it reads {', '.join(self.names)}" if self.names else "it reads none"
                raise InputError(f"the risk measure reads no {name!r}; {has}{nearest(name, self.names)}")
            if name not in missing:
                raise InputError(f"{name} is in the observation already, whose last number it would be once more")
        if not missing:
            for i, name in enumerate(self.dials, -len(self.dials)):
                self.refuse_outside(name, observation[..., i], observation[..., i])
        parts = [self.column(name, given.get(name, self.values[name]), observation) for name in missing]
        return torch.cat([observation, *parts], -1) if parts else observation

    def column(self, name: str, value: Any, observation: Tensor) -> Tensor:
        """A value in its range, for each observation: [*b, 1]. Raises InputError."""
        shape = observation.shape[:-1]
        try:
            found = value if isinstance(value, Tensor) else np.asarray(value)
            if isinstance(found, np.ndarray) and found.dtype.kind not in "iuf":
                raise TypeError("no real numbers")
            found = torch.as_tensor(found, device=observation.device)
            column = found.to(torch.promote_types(observation.dtype, torch.float32))
            column = (column if column.shape == (*shape, 1) else column.expand(shape).unsqueeze(-1)).contiguous()
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"{name} must be a number, or {list(shape)} of them, got {shown(value)}") from error
        self.refuse_outside(name, torch.as_tensor(found), value)
        return column

    def refuse_outside(self, name: str, numbers: Tensor, value: Any) -> None:
        """Raise InputError, which shows `value`, for numbers outside their range."""
        if numbers.device.type != "cpu":  # a check would force a host-device sync
            return
        (low, high), found = self.ends(name), numbers.detach()
        slack = 1e-6 * max(abs(low), abs(high))  # an end may come in float32
        if not (found.isfinite() & (found >= low - slack) & (found <= high + slack)).all():
            allowed = f"in [{low:g}, {high:g}]" if high < torch.inf else "finite"
            raise InputError(f"{name} must be {allowed}, got {shown(value)}")

    def ends(self, name: str) -> tuple[float, float]:
        """The lowest and the highest value of a number."""
        low, high = sorted(self.dials.get(name, (0.0, 1.0) if name == "discount" else (-torch.inf, torch.inf)))
        return low, high

    def draw(self, batch: TensorDictBase, full: int) -> None:
        """Add to `observation` and next `observation` of a batch [B] dials that are drawn anew, the same for both."""
        read: Any = batch.get  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        observation: Tensor | None = read("observation", None)
        if not self.dials or observation is None or observation.shape[-1] == full:
            return
        kind = torch.promote_types(observation.dtype, torch.float32)
        shape = len(observation), 1
        dials = [drawn(*ends, torch.rand(shape, device=observation.device, dtype=kind)) for ends in self.dials.values()]
        for key in ("observation", ("next", "observation")):
            if (found := read(key, None)) is not None:
                batch.set(key, torch.cat([found, *dials], -1))  # pyright: ignore[reportUnknownMemberType]


def shown(value: Any) -> str:
    """A value in a message of one line."""
    return " ".join(repr(value).split())[:60]


def on_host(given: Mapping[str, Any]) -> dict[str, Any]:
    """Values with arrays in place of Tensors, whose range is then checked too: that waits for their device."""
    return {key: value.detach().cpu().numpy() if isinstance(value, Tensor) else value for key, value in given.items()}


def drawn(first: float, last: float, share: Tensor) -> Tensor:
    """Values of a range at uniform shares in [0, 1), same shape: uniform, or of a positive range in its logarithm.

    A measure changes with the ratio of such a number: half of uniform draws from [0.05, 1] would be above 0.5, where a
    CVaR is nearly the mean. Measured: docs/results/dial.md.
    """
    value = first * (last / first) ** share if min(first, last) > 0 else first + (last - first) * share
    return value.clamp(min(first, last), max(first, last))


def share_of(first: float, last: float, value: Tensor) -> Tensor:
    """The shares at which `drawn` gives these values of a range, same shape."""
    if min(first, last) > 0:
        return (value / first).log() / math.log(last / first)
    return (value - first) / (last - first)


def moments(first: float, last: float) -> tuple[float, float]:
    """Mean and standard deviation of `drawn`."""
    if min(first, last) <= 0 or abs(last / first - 1) < 1e-3:  # the logarithm is a line there, and digits cancel
        return (first + last) / 2, abs(last - first) / 12**0.5
    width = math.log(last / first)
    mean = (last - first) / width
    return mean, ((last**2 - first**2) / (2 * width) - mean**2) ** 0.5
