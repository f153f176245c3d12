"""Critics: the distribution of the discounted return Z(s, a), by an ensemble of `E` members evaluated as one."""

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from tensordict import TensorDictBase
from tensordict.nn import TensorDictModuleBase
from torch import Tensor

from ramac.errors import InputError, at_least, at_most
from ramac.nets import ensemble_mlp
from ramac.risk import RiskMeasure, edges, midpoints, mixture, stratified
from ramac.spec import Scaling, Spec


class Critic(TensorDictModuleBase):
    """Return distribution of a state-action pair. An entry writes `quantile`, `regression` and `measure` on features.

    The trunk is evaluated once per (s, a), for any number of levels: `features` [E, B, F] is the input of the heads.
    An entry works in standardised returns (zero mean, unit variance over the data), so learning rates, clipping and
    kappa mean the same on every task. So do the loss terms, by `standard_values` and `standard_risk`; `forward`,
    `regress` and `risk` convert to reward units. The unit does not matter to translation-invariant, positively
    homogeneous measures; `entropic` is not homogeneous: its beta counts per standard deviation.

    Args:
        hidden: Widths of the hidden layers of the trunk; default as in CODAC.
        ensemble: Critics trained side by side; default as in RADAC.
    """

    levels: int = 32  # drawn by `forward` when none are given: samples of a TD target
    risk_levels: int = 32  # drawn by a risk estimate that cannot be exact
    distributional: ClassVar[bool] = True  # False where only the mean is learned
    differentiable_quantile: ClassVar[bool] = True  # False where `quantile` picks atoms: no gradient to the action

    def __init__(self, spec: Spec, *, hidden: tuple[int, ...], outputs: int, ensemble: int) -> None:
        super().__init__()
        at_least(1, ensemble=ensemble)
        at_most(1000, ensemble=ensemble)
        self.in_keys, self.out_keys = ["observation", "action"], ["level", "value"]
        self.data_spec, self.ensemble = spec, ensemble
        self.scaling = Scaling(spec)
        self.trunk = ensemble_mlp(ensemble, spec.obs_dim + spec.act_dim, hidden, outputs)
        self.counted = ensemble  # members that `features` evaluates
        self.sharing = 1  # consecutive rows whose risk estimates share their random levels

    def default_level(self, features: Tensor) -> Tensor:
        """Default levels [B, N], equally likely: one draw in each of N equal cells of (0, 1)."""
        return stratified((features.shape[1],), self.levels, features)

    def quantile(self, features: Tensor, level: Tensor) -> Tensor:
        """features [E, B, F], level [B, N] -> standardised Z at these levels [E, B, N]."""
        raise NotImplementedError(f"{type(self).__name__} must define quantile(features, level)")

    def regression(self, features: Tensor, target: Tensor) -> Tensor:
        """features [E, B, F], equally likely standardised returns [B, M] -> loss [E, B], proper for the statistic.

        Returns [E, B, M] are each member's own.
        """
        raise NotImplementedError(f"{type(self).__name__} must define regression(features, target)")

    def measure(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        """features [E, B, F] -> rho of standardised Z per member [E, B], exact where the representation allows it."""
        raise NotImplementedError(f"{type(self).__name__} must define measure(features, risk)")

    def measure_lowest(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        """features [E, B, F] -> rho of the lowest member's standardised Z, level by level [B]."""
        return risk.of_quantiles(lambda level: self.quantile(features, level).amin(0), self.draws(features))

    def measure_mixture(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        """features [E, B, F] -> rho of the equal mixture of the members' standardised Z [B], exact where possible."""
        draws = self.draws(features)
        return mixture.of_quantiles(risk, lambda level: self.quantile(features, level), draws, len(features))

    def crossing(self, features: Tensor) -> Tensor:
        """Share of neighbouring levels, out of 100, whose unsorted values cross: [E, B]."""
        level = midpoints(edges(101, features)).expand(features.shape[1], -1)
        return crossed(self.quantile(features, level))

    def features(self, tensordict: TensorDictBase) -> Tensor:
        """`observation` [*b, O], `action` [*b, A] -> trunk output [E, B, F] with B = prod(*b).

        Of the first `counted` members; an entry's own may ignore that.
        """
        observation = self.scaling.observe(tensordict["observation"])
        pair = torch.cat([observation, self.scaling.to_unit(tensordict["action"])], dim=-1)
        rows = pair.reshape(math.prod(pair.shape[:-1]), pair.shape[-1])
        return self.trunk(rows.expand(self.counted, *rows.shape))

    def draws(self, features: Tensor) -> Tensor:
        """Stratified draws [B, K] for a risk estimate that cannot be exact.

        The actions of one state share them: of estimates at levels of their own the highest would be the luckiest.
        """
        rows = features.shape[1] // self.sharing
        return stratified((rows,), self.risk_levels, features).repeat_interleave(self.sharing, 0)

    def standard_values(self, tensordict: TensorDictBase, level: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Levels [B, N] (default: the critic's own) and standardised Z at them [E, B, N], B = prod(*b)."""
        features = self.features(tensordict)
        level = self.default_level(features) if level is None else level.reshape(-1, level.shape[-1])
        return level, self.quantile(features, level)

    def forward(self, tensordict: TensorDictBase, level: Tensor | None = None) -> TensorDictBase:
        """Set `level` [*b, N] (default: the critic's own) and `value` [*b, E, N] = Z at each level."""
        shape = tensordict["action"].shape[:-1]
        level, standard = self.standard_values(tensordict, level)
        value = self.scaling.to_return(standard).movedim(0, 1)
        tensordict.set("level", level.reshape(*shape, level.shape[-1]))
        return tensordict.set("value", value.reshape(*shape, *value.shape[1:]))

    def regress(self, tensordict: TensorDictBase, target: Tensor) -> Tensor:
        """Loss [*b] of Z(`observation`, `action`) against equally likely returns target [*b, M]; sum over members.

        A target [E, *b, M] is each member's own.
        """
        return self.standard_regress(tensordict, self.scaling.to_standard(target))

    def standard_regress(self, tensordict: TensorDictBase, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """`regress` for standardised returns; `weight` [*b, E] of each member's loss, default 1."""
        features, shape = self.features(tensordict), tensordict["action"].shape[:-1]
        own = target.shape[: target.dim() - len(shape) - 1]  # (E,) where each member has its own
        loss = self.regression(features, target.reshape(*own, features.shape[1], target.shape[-1]))
        loss = loss if weight is None else loss * weight.reshape(-1, len(loss)).T
        return loss.sum(0).reshape(shape)

    def risk(self, tensordict: TensorDictBase, risk: RiskMeasure) -> Tensor:
        """rho(Z(`observation`, `action`)) of each member: [*b, E]."""
        return self.scaling.to_return(self.standard_risk(tensordict, risk))

    def standard_risk(self, tensordict: TensorDictBase, risk: RiskMeasure, members: int | None = None) -> Tensor:
        """rho of standardised Z(`observation`, `action`) of each member: [*b, E], of the first `members` (null: all).

        In a TensorDict [B, C] the C actions of one state are compared at the same random levels.
        """
        risk = self.of_rows(risk, tensordict)
        self.sharing = math.prod(tensordict["action"].shape[1:-1])
        self.counted = members or self.ensemble
        try:
            features = self.features(tensordict)[:members]
        finally:
            self.counted = self.ensemble
        value = self.measure(features, risk).movedim(0, 1)
        return value.reshape(*tensordict["action"].shape[:-1], value.shape[-1])

    def standard_risk_of_lowest(self, tensordict: TensorDictBase, risk: RiskMeasure) -> Tensor:
        """rho of the lowest member's standardised Z, level by level: [*b]. Not above the lowest member's rho."""
        risk = self.of_rows(risk, tensordict)
        self.sharing = math.prod(tensordict["action"].shape[1:-1])
        standard = self.measure_lowest(self.features(tensordict), risk)
        return standard.reshape(tensordict["action"].shape[:-1])

    def standard_risk_of_mixture(self, tensordict: TensorDictBase, risk: RiskMeasure) -> Tensor:
        """rho of standardised Z of a member drawn at random: [*b]. So what the members disagree about is risk too.

        Paper: Rigter et al. 2022, One Risk to Rule Them All.
        """
        risk = self.of_rows(risk, tensordict)
        self.sharing = math.prod(tensordict["action"].shape[1:-1])
        features = self.features(tensordict)
        mean = risk.is_mean  # that of a mixture is the mean of the means
        standard = self.measure(features, risk).mean(0) if mean else self.measure_mixture(features, risk)
        return standard.reshape(tensordict["action"].shape[:-1])

    def of_rows(self, risk: RiskMeasure, tensordict: TensorDictBase) -> RiskMeasure:
        """The measure of each of the B rows, where it reads numbers at the end of `observation` [*b, O]."""
        if not (count := len(risk.context)):
            return risk
        context = tensordict["observation"][..., -count:].reshape(-1, count)
        return risk.at(context.to(self.scaling.return_std.dtype), self.scaling)

    def warning(self) -> str | None:
        """One sentence that the user should know after training; None where there is nothing to say."""
        return None


def crossed(value: Tensor) -> Tensor:
    """Share of neighbours in values [*b, N] that decrease by over 0.01 standard deviations of the return: [*b]."""
    return (value.diff(dim=-1) < -0.01).float().mean(-1)


def quantile_huber(value: Tensor, level: Tensor, target: Tensor, kappa: float) -> Tensor:
    """Quantile Huber loss |tau_i - 1{y_j < z_i}| L_kappa(y_j - z_i) / kappa, mean over i and j (Dabney et al. 2018).

    value [*b, N] (current, index i), level [*b, N] of the *current* values, target [*b, M] (index j) -> [*b].
    kappa 0 is the pinball loss, the only one whose minimiser is the quantile itself.
    """
    if kappa == 0:  # tau e + relu(-e): the mean over j of the first summand needs no [*b, N, M]
        above = (value.unsqueeze(-1) - target.unsqueeze(-2)).relu().mean(-1)
        return (level * (target.mean(-1, keepdim=True) - value) + above).mean(-1)
    error = target.unsqueeze(-2) - value.unsqueeze(-1)  # [*b, N, M]
    weight = (level.unsqueeze(-1) - (error.detach() < 0).to(value.dtype)).abs()
    size = error.abs()
    huber = torch.where(size < kappa, error.square() / (2 * kappa), size - kappa / 2)
    return (weight * huber).mean((-2, -1))


def levels_of(levels: int | Sequence[float] | np.ndarray, most: int) -> Tensor:
    """The levels themselves, or the midpoints of so many equal cells: [N] float64, N <= `most`. Raises InputError."""
    if isinstance(levels, int | np.integer):
        if not 1 <= levels <= most:
            raise InputError(f"levels must be a number from 1 to {most}, or levels in [0, 1], got {levels}")
        return midpoints(edges(int(levels), torch.empty(0, dtype=torch.float64)))
    try:
        found = np.asarray(levels, np.float64)
    except (ValueError, TypeError) as error:
        raise InputError(f"levels must be numbers in [0, 1]: {error}") from error
    if found.ndim != 1 or not 1 <= len(found) <= most:
        raise InputError(f"levels must have shape [N], N from 1 to {most}, got {list(found.shape)}")
    if not ((found >= 0) & (found <= 1)).all():
        raise InputError(f"levels must be in [0, 1], got {found[~((found >= 0) & (found <= 1))][0]}")
    return torch.as_tensor(found)
