"""Numbers at the end of an observation that a risk measure reads: where an episode stands, and dials."""

from collections.abc import Mapping
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

    def extend(self, spec: Spec) -> Spec:
        """The spec of networks that also read the dials, which are uniform in their ranges."""
        ends = list(self.dials.values())
        return spec.extended([(a + b) / 2 for a, b in ends], [abs(b - a) / 12**0.5 for a, b in ends]) if ends else spec

    def widths(self, full: int) -> set[int]:
        """Sizes of the observations that `complete` takes, of which `full` is the largest."""
        return {full, full - len(self.dials), full - len(self)}

    def complete(self, observation: Tensor, full: int, given: Mapping[str, Any]) -> Tensor:
        """observation [*b, O], O in `widths`, and the missing numbers: [*b, full]. Raises InputError.

        `given`: values by name, numbers, [*b] or [*b, 1].
        """
        missing = self.names[len(self) - (full - observation.shape[-1]) :] if full > observation.shape[-1] else ()
        for name in given:
            if name not in self.names:
                has = f"it reads {', '.join(self.names)}" if self.names else "it reads none"
                raise InputError(f"the risk measure reads no {name!r}; {has}{nearest(name, self.names)}")
            if name not in missing:
                raise InputError(f"{name} is in the observation already, whose last number it would be once more")
        parts = [self.column(name, given.get(name, self.values[name]), observation) for name in missing]
        return torch.cat([observation, *parts], -1) if parts else observation

    def column(self, name: str, value: Any, observation: Tensor) -> Tensor:
        """A value in its range, for each observation: [*b, 1]. Raises InputError."""
        shape = observation.shape[:-1]
        try:
            found = value if isinstance(value, Tensor) else np.asarray(value, np.float64)
            column = torch.as_tensor(found, device=observation.device)
            column = column.to(torch.promote_types(observation.dtype, torch.float32))
            column = (column if column.shape == (*shape, 1) else column.expand(shape).unsqueeze(-1)).contiguous()
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"{name} must be a number, or {list(shape)} of them, got {value!r:.60}") from error
        numbers = torch.as_tensor(found).detach()
        if numbers.device.type == "cpu":  # a check would wait for another device
            low, high = self.ends(name)
            slack = 1e-6 * max(abs(low), abs(high))  # an end may come in float32
            if not (numbers.isfinite() & (numbers >= low - slack) & (numbers <= high + slack)).all():
                allowed = f"in [{low:g}, {high:g}]" if high < torch.inf else "finite"
                raise InputError(f"{name} must be {allowed}, got {value!r:.60}")
        return column

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
        ends = torch.tensor(list(self.dials.values()), device=observation.device, dtype=kind)
        share = torch.rand(len(observation), len(ends), device=observation.device, dtype=kind)
        drawn = torch.lerp(ends[:, 0], ends[:, 1], share)
        for key in ("observation", ("next", "observation")):
            if (found := read(key, None)) is not None:
                batch.set(key, torch.cat([found, drawn], -1))  # pyright: ignore[reportUnknownMemberType]
