"""A risk measure of the whole return of an episode, instead of the return to go in each state."""

from collections.abc import Sequence
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor

from ramac.errors import at_least
from ramac.risk import Distortion, RiskMeasure
from ramac.risk.context import drawn, share_of
from ramac.spec import Scaling

GRID = 9  # values of a dial at which thresholds are kept, spaced as they are drawn, linear between them
FAR = 100.0  # standard deviations of the return: beyond, a utility is a line


class Episode(RiskMeasure):
    """Static risk: rho(c + gamma^t Z) with the reward so far c, by the utility whose mean rho is at its own optimum.

    A measure whose weight falls with the level is a mixture of CVaR, and CVaR_u(X) = max_y y + E min(X - y, 0) / u,
    with y the u quantile of X. For fixed y_k the mixture is E h(X) with the concave utility
    h(x) = (1 - sum_k mass_k) x + sum_k mass_k (y_k + min(x - y_k, 0) / u_k), which a policy of (s, c, gamma^t)
    maximises state by state. The y_k are quantiles of the return from the starts; `ramac.training.renewal` renews them.

    To alternate between policy and y_k never lowers rho, but can end in a local optimum. So a transition is learned at
    other rewards so far too, c + shift: nothing in the log depends on c. At the start, c = shift stands for thresholds
    y_k - shift, and a renewal begins with the best shift. With exact returns this finds the best policy of CVaR, which
    has one threshold.
    Paper: Baeuerle & Ott 2011, Markov Decision Processes with Average-Value-at-Risk Criteria; Moghimi & Ku 2025, arXiv
    2507.03900 (spectral measures, actor-critic); shift: Pires et al. 2025, Optimizing Return Distributions with
    Distributional Dynamic Programming (any stock).
    """

    measure: Distortion
    threshold: Tensor  # [G, K] standardised y_k, at G values of the dial (1 without one)
    gamma: Tensor  # [] discount of the rewards so far
    widest: Tensor  # [] shifts are uniform up to it, in reward units

    def __init__(self, measure: RiskMeasure, last: RiskMeasure, renewals: int) -> None:
        """`measure` at the first end of its dial, if it has one, and `last`, the same at the other end."""
        super().__init__()
        at_least(1, renewals=renewals)
        like = torch.empty(0, dtype=torch.float64)
        masses = [one.cvar_mixture(like)[1] for one in (measure, last) if isinstance(one, Distortion)]
        if measure.is_mean or (masses and all((mass.abs() < 1e-9).all() for mass in masses)):
            raise ValueError("horizon=episode has no effect on the mean, which is the same for both; leave it out")
        if not masses or any((mass < -1e-9).any() for mass in masses):
            text = "horizon=episode needs a distortion whose weight falls with the level, a mixture of CVaR"
            raise ValueError(f"{text}, such as cvar, spectral or wang with a negative eta")
        if len(measure.dials) > 1:
            raise ValueError(f"horizon=episode takes one range, got {' and '.join(measure.dials)}")
        assert isinstance(measure, Distortion)
        self.measure, self.renewals, self.dials = measure, renewals, measure.dials
        count = measure.cvar_mixture(torch.empty(0))[0].shape[-1]
        self.register_buffer("threshold", torch.zeros(GRID if self.dials else 1, count))
        self.register_buffer("gamma", torch.ones(()))
        self.register_buffer("widest", torch.zeros(()), persistent=False)  # of training, not of the agent

    @property
    def context(self) -> tuple[str, ...]:
        return ("reward_so_far", "discount", *self.dials)

    @property
    def whole(self) -> RiskMeasure:
        return self.measure

    def forward(self, value: Tensor, edges: Tensor) -> Tensor:
        return self.measure(value, edges)

    def relabel(self, batch: TensorDictBase, full: int) -> None:
        read: Any = batch.get  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        shift: Tensor | None = None
        for key in ("observation", ("next", "observation")):
            observation: Tensor | None = read(key, None)
            if observation is not None:
                if shift is None:
                    share = 2 * torch.rand(len(observation), device=observation.device, dtype=observation.dtype) - 1
                    shift = self.widest * share
                place = observation.shape[-1] - 2 - (len(self.dials) if observation.shape[-1] == full else 0)
                index = torch.full((1,), place, device=shift.device)  # copies nothing from the host
                moved = observation.index_add(-1, index, shift.unsqueeze(-1))
                batch.set(key, moved)  # pyright: ignore[reportUnknownMemberType]

    @torch.no_grad()
    def renew(self, returns: Sequence[Tensor]) -> None:
        """Set the thresholds to quantiles of standardised whole returns [M], one set for each value of `grid`."""
        for row, value, whole in zip(self.threshold, self.grid(), returns, strict=True):
            level, _ = self.measure.dialled(value).cvar_mixture(whole)
            row.copy_(whole.quantile(level))

    def grid(self) -> list[dict[str, float]]:
        """Values of the dial at which there are thresholds; one without a dial."""
        shares = torch.linspace(0, 1, GRID, dtype=torch.float64)
        for name, ends in self.dials.items():
            return [{name: value.item()} for value in drawn(*ends, shares)]
        return [{}]

    def at(self, context: Tensor, scaling: Scaling) -> RiskMeasure:
        so_far, discount = context[:, :1], context[:, 1:2]
        measure, threshold = self.measure, self.threshold
        for name, ends in self.dials.items():
            value = context[:, 2:]
            measure = measure.dialled({name: value})
            place = share_of(*ends, value).clamp(0, 1) * (GRID - 1)
            below = place.squeeze(-1).long().clamp(max=GRID - 2)
            threshold = torch.lerp(threshold[below], threshold[below + 1], place - below.unsqueeze(-1))
        level, mass = measure.cvar_mixture(threshold)
        standard = (so_far - (1 - discount) * scaling.return_mean) / scaling.return_std
        left = (threshold - standard) / discount.clamp_min(torch.finfo(discount.dtype).tiny)
        return Utility(level, mass, left.clamp(-FAR, FAR))


class Utility(RiskMeasure):
    """(E h(c + gamma^t Z) - c) / gamma^t of each row, with h as in `Episode`: a mean utility in units of Z.

    With y_k' = (y_k - c) / gamma^t it is (1 - sum_k mass_k) E Z + sum_k mass_k (y_k' + E min(Z - y_k', 0) / u_k).
    """

    def __init__(self, level: Tensor, mass: Tensor, left: Tensor) -> None:
        """u_k [K] or [B, K], mass_k [K] or [B, K], y_k' [B, K]."""
        super().__init__()
        self.level, self.mass, self.left = level, mass, left

    def forward(self, value: Tensor, edges: Tensor) -> Tensor:
        left = self.left.unsqueeze(-2)  # [B, 1, K], for value [*b, B, N, 1]
        short = (value.unsqueeze(-1) - left).clamp(max=0) / self.level.unsqueeze(-2)
        mass = self.mass.unsqueeze(-2)
        utility = value * (1 - mass.sum(-1)) + (mass * (left + short)).sum(-1)
        return (utility * edges.diff(dim=-1)).sum(-1)
