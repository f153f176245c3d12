"""Small networks shared by actors and critics."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ramac.errors import at_least, at_most

WIDEST = 2**14  # units of a layer: the weights between two such layers take 1 GiB


def mlp(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Fully connected network with SiLU: smooth like the Mish of Diffusion-QL, and 3 to 6 times cheaper on a CPU."""
    layers: list[nn.Module] = []
    for width in hidden:
        at_least(1, hidden=width)
        at_most(WIDEST, hidden=width)
        layers += [nn.Linear(inputs, width), nn.SiLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class Fourier(nn.Module):
    """Sine and cosine at frequencies pi/2 times powers of two (Tancik et al. 2020): [*b, D] -> [*b, 2 D count]."""

    frequency: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("frequency", math.pi / 2 * 2.0 ** torch.arange(count))

    def forward(self, x: Tensor) -> Tensor:
        angle = (x.unsqueeze(-1) * self.frequency).flatten(-2)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class ConditionalNet(nn.Module):
    """Network of a generative actor: noisy action x [B, A], times t, observation [B, O] -> [B, A].

    `times` is the number of times in [0, 1] that it takes: t [B] or [1] for one, [B, times] or [1, times] otherwise.

    x enters with its Fourier features, because a plain network smooths thin supports away (on the bandit, after 4000
    steps of behaviour cloning, 7 % of the samples of `flow` are OOD with them and 42 % without).
    """

    def __init__(self, obs_dim: int, act_dim: int, hidden: tuple[int, ...], times: int = 1) -> None:
        super().__init__()
        self.times = times
        self.time = Fourier(8)  # 16 features: t_dim of Diffusion-QL and RADAC
        self.shape = Fourier(4)  # up to 4 pi: half a period is an eighth of the action box
        self.net = mlp(obs_dim + 9 * act_dim + 16 * times, hidden, act_dim)

    def forward(self, x: Tensor, t: Tensor, observation: Tensor) -> Tensor:
        time = self.time(t if t.dim() > 1 else t.unsqueeze(-1)).expand(x.shape[0], -1)
        return self.net(torch.cat([x, self.shape(x), time, observation], dim=-1))


def integrate(
    velocity: Callable[[Tensor, Tensor], Tensor], start: Tensor, steps: int, solver: str, end: float = 1
) -> Tensor:
    """Solution at time `end` of dx/dt = velocity(t [], x) with x(0) = start, by `steps` steps of a torchdyn solver.

    torchdyn's own loop, `odeint`, compares times on the device, which forces a host-device sync at every step.
    """
    x, size, method = start, end / steps, solver_of(solver)
    for step in range(steps):
        x = method.step(velocity, x, start.new_full((), step * size), size)[1]
    return x


@cache
def solver_of(name: str) -> Any:
    """torchdyn's `euler`, `midpoint` or `rk4`, whose coefficients are plain numbers: the same on every device."""
    from torchdyn.numerics.solvers.ode import Euler, Midpoint, RungeKutta4  # slow to import, the only use of torchdyn

    if name != "rk4":
        return {"euler": Euler, "midpoint": Midpoint}[name]()
    method: Any = RungeKutta4()
    # torchdyn 1.0.6 has the stages at 0, 1/2, 1/2 of a step instead of 1/2, 1/2, 1, which is only first order
    (_, *nodes), (half, *rows), weights, error = (
        part.tolist() if isinstance(part, Tensor) else [row.tolist() for row in part] for part in method.tableau
    )
    total = sum(weights)  # the weights are inexact in float32 (1/6)
    method.tableau = nodes, [half[0], *rows], [weight / total for weight in weights], error
    return method


class EnsembleLinear(nn.Module):
    """`E` linear layers, initialised as `nn.Linear`, evaluated one at a time: rows [R, inputs] -> [R, outputs]."""

    def __init__(self, ensemble: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(ensemble, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(ensemble, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor, member: int) -> Tensor:
        return torch.addmm(self.bias[member], x, self.weight[member])


class Ensemble(nn.Sequential):
    """`E` networks of one shape: [E, R, inputs] -> [E, R, outputs].

    One member after the other instead of a batched matmul: a member's activations fit into the processor's cache, and
    the bias is not written out first (a head on 8192 rows, forward and backward, 2 cores: 11 ms instead of 17).
    """

    def member(self, x: Tensor, member: int) -> Tensor:
        """Rows [R, inputs] through the networks of one member -> [R, outputs]."""
        for layer in self:
            x = layer(x, member) if isinstance(layer, EnsembleLinear) else layer(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.member(rows, member) for member, rows in enumerate(x.unbind())])


class EnsembleReLU(Ensemble):
    """`E` networks relu(x W + b) w + c of one hidden layer and one output, for very many rows.

    With the ReLU's derivative M = 1{x W + b > 0} they are linear: x (M (W w)^T) + M (b w) + c. It takes as many matrix
    products as the plain form, but the gradient of the hidden layer [R, hidden] is never stored.
    """

    def __init__(self, ensemble: int, inputs: int, hidden: int) -> None:
        first, last = EnsembleLinear(ensemble, inputs, hidden), EnsembleLinear(ensemble, hidden, 1)
        super().__init__(first, nn.ReLU(inplace=True), last)

    def member(self, x: Tensor, member: int) -> Tensor:
        if not torch.is_grad_enabled():
            return super().member(x, member)
        first, last = (layer for layer in self if isinstance(layer, EnsembleLinear))
        weight, bias, readout = first.weight[member], first.bias[member], last.weight[member]
        with torch.no_grad():
            active = first(x, member).relu_().sign_()  # M
        slope = active @ (weight * readout.T).T  # [R, inputs]: the gradient of the output
        return (x * slope).sum(-1, keepdim=True) + active @ (bias.T * readout) + last.bias[member]


def ensemble_mlp(ensemble: int, inputs: int, hidden: tuple[int, ...], outputs: int) -> Ensemble:
    """`mlp` of `E` members, with layer normalisation: [E, R, inputs] -> [E, R, outputs].

    Layer normalisation bounds the extrapolation to OOD actions (Ball et al. 2023, RLPD; ReBRAC).
    """
    layers: list[nn.Module] = []
    for width in hidden:
        at_least(1, hidden=width)
        at_most(WIDEST, hidden=width)
        layers += [EnsembleLinear(ensemble, inputs, width), nn.LayerNorm(width, elementwise_affine=False), nn.SiLU()]
        inputs = width
    return Ensemble(*layers, EnsembleLinear(ensemble, inputs, outputs))
