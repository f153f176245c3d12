"""Flow critic: an ordinary differential equation in one dimension carries normal scores to returns."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ramac.critics import Critic
from ramac.errors import at_least, at_most
from ramac.nets import Ensemble, EnsembleLinear, Fourier
from ramac.registry import critics
from ramac.risk import RiskMeasure, normal_score
from ramac.solvers import TOLERANCE, check_solver, integrate
from ramac.spec import Spec

LATE = 0.98  # where integration stops: v = (E[Z | x_t] - x_t) / (1 - t) has no value at 1


@critics.register("flow", suffix="steps")
class Flow(Critic):
    """Z(s, a; tau) = psi(Phi^-1(tau)), psi the flow of a velocity v(z, t; s, a) fitted by flow matching.

    In one dimension a flow keeps the order of its points, so normal scores of levels become quantiles: an implicit
    quantile network that cannot cross, except for solver errors. Euler steps miss rare tails.
    Paper: Lipman et al. 2023, Flow Matching for Generative Modeling; as a critic Dong et al. 2025, Value Flows.

    Args:
        steps: Integration steps per quantile; 4 with midpoint cost 8 evaluations, and one at the end.
        solver: ODE solver; rk4 overshoots in few steps near the stiff end; dopri5 and tsit5 need `ramac[torchdyn]`.
        tolerance: Absolute and relative error per step of dopri5 and tsit5; default of torchdyn. The others take none.
        quantiles: Samples of a TD target; default as iqn.
        risk_quantiles: Levels of a risk estimate; default as iqn.
        embedding: Width of the layer that embeds time and value; default as iqn.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        steps: int = 4,
        solver: Literal["midpoint", "rk4", "dopri5", "tsit5"] = "midpoint",
        tolerance: float = TOLERANCE,
        quantiles: int = 8,
        risk_quantiles: int = 8,
        hidden: tuple[int, ...] = (256, 256),
        embedding: int = 64,
        ensemble: int = 2,
    ) -> None:
        check_solver(solver, steps, 4, tolerance)
        at_least(1, quantiles=quantiles, risk_quantiles=risk_quantiles, embedding=embedding)
        at_most(1000, quantiles=quantiles, risk_quantiles=risk_quantiles)
        super().__init__(spec, hidden=hidden, outputs=2 + embedding, ensemble=ensemble)
        self.steps, self.solver, self.tolerance = steps, solver, tolerance
        self.levels, self.risk_levels = quantiles, risk_quantiles
        self.time, self.place = Fourier(4), Fourier(4)
        self.enter_time = Ensemble(EnsembleLinear(ensemble, 8, embedding))
        self.enter_place = Ensemble(EnsembleLinear(ensemble, 1 + 8, embedding))
        # half as wide as iqn's: it is evaluated nine times and only corrects a normal distribution
        layers = EnsembleLinear(ensemble, embedding, 128), nn.SiLU(), EnsembleLinear(ensemble, 128, 1)
        self.head = Ensemble(nn.SiLU(), *layers)

    def end(self, features: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """E[Z | x_t = x] at places x [E, B, N] and times t [E, B, N] or [1, 1, 1], standardised -> [E, B, N].

        Closed form of a normal distribution, whose mean and deviation depend on (s, a), plus a network's correction.
        """
        normal, shared = features.split([2, features.shape[-1] - 2], -1)
        mean, std = normal[..., :1], softplus(normal[..., 1:] + 0.54)  # 1 at the start
        gain = t * std.square() / ((1 - t).square() + (t * std).square())
        members = len(features)
        place = torch.cat([x.unsqueeze(-1), self.place(x.unsqueeze(-1) / 4)], -1).flatten(1, 2)
        time = self.time(t.unsqueeze(-1)).expand(members, -1, -1, -1).flatten(1, 2)
        entered = self.enter_place(place).unflatten(1, x.shape[1:]) + self.enter_time(time).unflatten(1, t.shape[1:])
        added = self.head((shared.unsqueeze(-2) + entered).flatten(1, 2)).reshape(x.shape)
        return mean + gain * (x - t * mean) + added

    def quantile(self, features: Tensor, level: Tensor) -> Tensor:
        def velocity(t: Tensor, x: Tensor) -> Tensor:
            return (self.end(features, x, t.reshape(1, 1, 1)) - x) / (1 - t)

        start = normal_score(level).expand(features.shape[0], -1, -1)
        late = integrate(velocity, start, self.steps, self.solver, LATE, self.tolerance)
        return self.end(features, late, late.new_full((1, 1, 1), LATE))

    def regression(self, features: Tensor, target: Tensor) -> Tensor:
        if target.shape[-1] == 1:
            target = target.expand(*target.shape[:-1], self.levels)  # one outcome, with several starts
        start, t = torch.randn_like(target), torch.rand_like(target)
        x = torch.lerp(start, target, t)
        read = self.end(features, *(part.expand(features.shape[0], -1, -1) for part in (x, t)))
        return (read - target).square().mean(-1)

    def measure(self, features: Tensor, risk: RiskMeasure) -> Tensor:
        u = self.draws(features)
        if risk.is_mean:  # the mean needs no integration: E[Z | x_0]
            x = normal_score(u).expand(features.shape[0], -1, -1)
            return self.end(features, x, x.new_zeros(1, 1, 1)).mean(-1)
        return risk.of_quantiles(lambda level: self.quantile(features, level), u)
