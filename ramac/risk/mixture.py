"""Risk measures of the equal mixture of E laws, the members of an ensemble, however these are represented.

Paper: Rigter et al. 2022, One Risk to Rule Them All: what the members disagree about is risk as chance is.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ramac.risk import Distortion, RiskMeasure, cumulative, ends, parts, tails


def of_atoms(risk: RiskMeasure, value: Tensor, edges: Tensor) -> Tensor:
    """Exact rho of weighted atoms: value [E, *b, N], edges of each law's own probabilities as in `forward` -> [*b]."""
    return risk(*pooled(value, edges.diff(dim=-1)))


def of_cells(risk: RiskMeasure, value: Tensor, edges: Tensor) -> Tensor:
    """rho of quantiles in the middle of cells: sorted value [E, *b, N >= 2], edges as in `of_atoms` -> [*b].

    For a distortion the parts of each law's first and last cell are atoms on the line of `Distortion.of_cells`. So of
    equal laws it differs from that only by the slope of the line where that takes the cell as flat.
    """
    chance = edges.diff(dim=-1).expand_as(value)
    if isinstance(risk, Distortion):
        fine = parts(edges)[1]
        beyond, slope = tails(value, edges, fine)
        place = ends(value).unsqueeze(-1) + slope.unsqueeze(-1) * beyond  # [E, *b, 2, PARTS]
        chance = torch.cat([chance[..., 1:-1], fine.diff(dim=-1).expand_as(place).flatten(-2)], -1)
        value = torch.cat([value[..., 1:-1], place.flatten(-2)], -1)
    return risk(*pooled(value, chance))


def of_quantiles(risk: RiskMeasure, quantile: Callable[[Tensor], Tensor], u: Tensor, members: int) -> Tensor:
    """rho of E = `members` quantile functions (levels [B, K] -> values [E, B, K]) at stratified draws u [B, K] -> [B].

    It is not linear in them. So all read one level in each dense cell of the levels that weigh in some mixture: a
    distortion does not see a member's level above E beta(1). Of normal laws by 8 levels, CVaR is too high by at most
    0.04 standard deviations (docs/results/ensembles.md).
    """
    one = u.new_ones(1)
    reach = (members * risk.level(one)).clamp(max=1) if isinstance(risk, Distortion) else one
    level, probability = risk.dense(u, reach)
    return risk(*pooled(quantile(level), probability))


def pooled(value: Tensor, probability: Tensor) -> tuple[Tensor, Tensor]:
    """Sorted atoms [*b, E N] of the mixture, and their edges; what is missing to 1 is the highest atom's.

    value [E, *b, N] in any order; probability of a law's atoms, which may broadcast.
    """
    chance = (probability / len(value)).expand_as(value)
    value, order = value.movedim(0, -2).flatten(-2).sort(-1)
    return value, cumulative(chance.movedim(0, -2).flatten(-2).gather(-1, order))
