"""Risk measures of a return Z (higher is better); level 0 is the worst outcome.

Every measure reads four representations: weighted atoms (`forward`: categorical and imputed atoms), samples
(`of_samples`), quantiles in the middle of cells (`of_cells`), and a quantile function (`of_quantiles`).
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Self, cast

import torch
from tensordict import TensorDictBase
from torch import Tensor, nn

from ramac.arguments import parameters
from ramac.risk.levels import (
    PARTS,
    between,
    closed,
    cumulative,
    edges,
    ends,
    finite,
    inside,
    interpolate,
    midpoints,
    ndtr,
    ndtri,
    normal_score,
    parts,
    step,
    stratified,
    tails,
)
from ramac.spec import Scaling

__all__ = [
    "PARTS", "Distortion", "RiskMeasure", "between", "closed", "cumulative", "edges", "ends", "finite", "inside",
    "interpolate", "midpoints", "ndtr", "ndtri", "normal_score", "parts", "step", "stratified", "tails",
]  # fmt: skip

DENSE = 3  # levels u^3: of exponents 2 to 5 the least error on the bandit's ring; docs/results/critics.md
RENEWALS = 20  # of the utility in a run, evenly spaced; arXiv 2507.03900: every 500 of some 10^4 updates
CELLS = 32  # of a mixture: spectral measures of a normal within 0.005 (tests/risk/test_episode.py)


class RiskMeasure(nn.Module):
    """A risk measure rho; an entry defines `forward`, or is a `Distortion` and defines `level` and `distort`.

    A number of a measure may be a range of a configuration, `alpha=[0.05,1]`: a dial. Then it is an input of actor and
    critic, drawn anew for each transition, and `at` gives each row its own. So formulas read numbers from attributes of
    their names, which are floats, or Tensors [B, 1] that broadcast with [*b, B, N].

    Args:
        horizon: The return it measures: from each `state` on, or of the whole `episode` (docs/static.md).
        renewals: Renewals of the utility in a run, evenly spaced, with horizon=episode; arXiv 2507.03900: every 500 of
            some 10^4.
    """

    ranged: ClassVar[bool] = True  # for the registry: numbers of these entries may be ranges
    averse: bool = True  # False: high outcomes decide, and `of_quantiles` reads most levels there
    cvar_level: float | Tensor | None = None  # alpha of a CVaR (1: the mean), for closed forms

    def __init__(self) -> None:
        super().__init__()
        self.dials: dict[str, tuple[float, float]] = {}  # ends by name; the attribute itself is the first end

    @classmethod
    def configured(
        cls, *, horizon: Literal["state", "episode"] = "state", renewals: int = RENEWALS, **arguments: Any
    ) -> "RiskMeasure":
        """The measure of a configuration. Raises ValueError.

        `horizon`: of the return to go in each state, or of the whole return of an episode (`ramac.risk.episode`), whose
        utility is renewed `renewals` times in a run.
        """
        floats = [name for name, parameter in parameters(cls).items() if parameter.annotation is float]
        ranged = [name for name in floats if isinstance(arguments.get(name), tuple)]
        dials = {name: cast("tuple[float, float]", arguments[name]) for name in ranged}
        first, last = (cls(**arguments | {name: ends[i] for name, ends in dials.items()}) for i in (0, 1))
        for name, (low, high) in dials.items():
            if name not in vars(first):
                raise ValueError(f"{name} cannot be a range: it is no attribute of the measure")
            if "cvar_level" in vars(first):  # it would stay where it is
                raise ValueError(f"{name} cannot be a range: cvar_level must be a property that reads it")
            if low == high:
                raise ValueError(f"{name}=[{low:g},{high:g}] is one number, and no range; write {name}={low:g}")
        if first.averse != last.averse:
            text = ", ".join(f"{name}=[{low:g},{high:g}]" for name, (low, high) in dials.items())
            raise ValueError(f"{text} reaches from risk-averse to risk-seeking, whose levels are read differently")
        first.dials = dials
        from ramac.risk.episode import Episode  # it needs this class

        if horizon == "episode":
            return Episode(first, last, renewals)
        if renewals != RENEWALS:
            raise ValueError(f"renewals={renewals} has no effect with horizon=state; set horizon=episode")
        return first

    @property
    def context(self) -> tuple[str, ...]:
        """Names of the numbers that it reads at the end of an observation: its dials."""
        return tuple(self.dials)

    @property
    def whole(self) -> "RiskMeasure":
        """The measure of whole returns, which an evaluation reads."""
        return self

    @property
    def is_mean(self) -> bool:
        """Whether rho is the mean, in every row."""
        return isinstance(self.cvar_level, int | float) and self.cvar_level == 1 and not self.dials

    def at(self, context: Tensor, scaling: Scaling) -> "RiskMeasure":
        """The measure of each row, with numbers of shape [B, 1], by its `context` [B, C] in their order."""
        return self.dialled({name: context[:, i : i + 1] for i, name in enumerate(self.dials)})

    def relabel(self, batch: TensorDictBase, full: int) -> None:
        """Change what a batch [B] is read as, before its losses; networks read `full` numbers of an observation."""

    def dialled(self, values: Mapping[str, Any]) -> Self:
        """A copy with these values of its dials, and none left."""
        found = copy.copy(self)
        vars(found).update(values, dials={})
        return found

    def forward(self, value: Tensor, edges: Tensor) -> Tensor:
        """Exact rho of weighted atoms: value [*b, N], sorted; edges [N+1] or [*b, N+1] of their probabilities -> [*b].

        Atom i has the probability edges[i+1] - edges[i]; the first edge is 0, the last 1.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(value, edges)")

    def of_samples(self, value: Tensor) -> Tensor:
        """rho of equally likely values in any order: [*b, M] -> [*b]."""
        return self(value.sort(-1).values, edges(value.shape[-1], value))

    def of_cells(self, value: Tensor, edges: Tensor) -> Tensor:
        """rho of the quantiles in the middle of cells: sorted value [*b, N >= 2], edges as in `forward` -> [*b]."""
        return self(value, edges)

    def of_quantiles(self, quantile: Callable[[Tensor], Tensor], u: Tensor) -> Tensor:
        """rho of a quantile function (levels [B, K] -> values [*b, B, K]) at stratified draws u [B, K] -> [*b, B].

        One level is drawn in each of K cells whose edges are (i/K)^3, and its value gets the cell's probability.
        """
        level, probability = self.dense(u)
        value, order = quantile(level).sort(-1)  # a network's values may cross
        return self(value, cumulative(probability[order]))

    def dense(self, u: Tensor, reach: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        """One level [B, K] in each of K cells with the edges reach (i/K)^3, and the cells' probabilities [K]."""
        count = u.shape[-1]
        edge = reach * edges(count, u) ** DENSE
        edge = edge if self.averse else 1 - edge.flip(-1)
        probability = edge.diff(dim=-1)
        return edge[..., :-1] + probability * (u * count).frac(), probability


class Distortion(RiskMeasure):
    """A measure in three forms: rho(Z) = E_u F^-1(beta(u)) = integral F^-1 dg = integral F^-1(tau) w(tau) dtau.

    `level` is beta, the sampling map; `distort` is g = beta^-1, the distortion of cumulative probabilities; `density`
    is w = g', the weight of each level. g concave, beta convex, w falling: risk-averse.
    """

    def level(self, u: Tensor) -> Tensor:
        """Sampling map beta: uniform u -> level, same shape, non-decreasing."""
        raise NotImplementedError(f"{type(self).__name__} must define level(u)")

    def distort(self, tau: Tensor) -> Tensor:
        """Distortion g of cumulative probabilities, same shape, non-decreasing from [0, 1] onto [0, 1]."""
        raise NotImplementedError(f"{type(self).__name__} must define distort(tau)")

    def density(self, tau: Tensor) -> Tensor:
        """Weight w = g' of levels inside (0, 1), same shape. Raises ValueError for a measure without density."""
        with torch.enable_grad():
            leaf = tau.detach().requires_grad_()
            return torch.autograd.grad(self.distort(leaf).sum(), leaf)[0]

    def cvar_mixture(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Levels u < 1 [K] and masses [K], or [B, K], of a mixture of CVaR: rho = sum_k mass_k CVaR_u_k + rest * mean.

        The weight of each of 32 cells, narrow at level 0, is its mean. Only a falling weight has no negative mass.
        Paper: Kusuoka 2001, On Law Invariant Coherent Risk Measures.
        """
        edge = edges(CELLS, like) ** DENSE
        weight = closed(self.distort(inside(edge[1:-1]))).diff(dim=-1) / edge.diff()
        return edge[1:-1], -weight.diff(dim=-1) * edge[1:-1]

    def forward(self, value: Tensor, edges: Tensor) -> Tensor:
        inner = self.distort(inside(edges[..., 1:-1]))
        return (value * closed(inner).diff(dim=-1)).sum(-1)

    def of_cells(self, value: Tensor, edges: Tensor) -> Tensor:
        """As `RiskMeasure.of_cells`, and a tail smaller than the first or last cell lies beyond that cell's value.

        What a part of these two cells weighs above their lightest part is read from a line in normal scores, exact for
        a normal law. Its slope is the lesser of the last two, or the jump to a rare hazard would be read as a tail.
        """
        part, fine = parts(edges)
        flat = self.distort(inside(fine).flatten(-2))
        weight = flat.reshape(*flat.shape[:-1], 2, PARTS + 1).diff(dim=-1)
        part = part.diff()
        extra = weight - part * (weight / part).amin(-1, keepdim=True)  # [*b, 2, PARTS]
        beyond, slope = tails(value, edges, fine)
        return self(value, edges) + ((extra * beyond).sum(-1) * slope).sum(-1)

    def of_quantiles(self, quantile: Callable[[Tensor], Tensor], u: Tensor) -> Tensor:
        return quantile(self.level(u)).mean(-1)
