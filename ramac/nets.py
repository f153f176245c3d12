"""Small networks shared by actors and critics."""

import math
from collections.abc import Callable, Iterable
from functools import partial
from itertools import repeat

import torch
from torch import Tensor, nn

from ramac.errors import at_least, at_most

WIDEST = 2**14  # units of a layer: the weights between two such layers take 1 GiB


def mlp(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Fully connected network with SiLU: smooth like the Mish of Diffusion-QL, and 3 to 6 times cheaper on a CPU.

    What ReLU would save, and why stored agents need SiLU: docs/results/critics.md.
    """
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
    steps of behaviour cloning, 7 % of the samples of `flow` are OOD with them and 46 % without; three seeds, and what
    they cost: docs/results/critics.md).
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


class EnsembleLinear(nn.Module):
    """`E` linear layers, initialised as `nn.Linear`."""

    def __init__(self, ensemble: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(ensemble, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(ensemble, 1, outputs).uniform_(-bound, bound))

    def members(self) -> list[Callable[[Tensor], Tensor]]:
        """Each layer as a function of rows [R, inputs] -> [R, outputs].

        Unbound together, the weights get their gradient as one stack; single ones would be padded with zeros and added.
        """
        return [partial(affine, *each) for each in zip(self.weight.unbind(), self.bias.unbind(), strict=True)]

    def batched(self, x: Tensor) -> Tensor:
        """All layers at once: [E, R, inputs] -> [E, R, outputs]."""
        return torch.baddbmm(self.bias[: len(x)], x, self.weight[: len(x)])


def affine(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """x W + b: [R, outputs]."""
    return torch.addmm(bias, x, weight)


class Ensemble(nn.Sequential):
    """`E` networks of one shape: [E, R, inputs] -> [E, R, outputs], or the first of them for rows of fewer.

    On a processor one member after the other instead of a batched matmul: a member's activations fit into its cache,
    and the bias is not written out first (a head on 8192 rows, forward and backward, 2 cores: 11 ms instead of 17). A
    GPU is faster with the batched one: docs/results/speed.md.
    """

    def members(self) -> list[Callable[[Tensor], Tensor]]:
        """The network of each member as a function of rows [R, inputs] -> [R, outputs]."""
        layers = [layer.members() if isinstance(layer, EnsembleLinear) else repeat(layer) for layer in self]
        return [partial(chain, each) for each in zip(*layers)]  # noqa: B905

    def forward(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            return self.batched(x)
        members = self.members()[: len(x)]
        return torch.stack([member(rows) for rows, member in zip(x.unbind(), members, strict=True)])

    def batched(self, x: Tensor) -> Tensor:
        """All members at once: [E, R, inputs] -> [E, R, outputs]."""
        for layer in self:
            x = layer.batched(x) if isinstance(layer, EnsembleLinear) else layer(x)
        return x


def chain(layers: Iterable[Callable[[Tensor], Tensor]], x: Tensor) -> Tensor:
    """x through the layers, one after the other."""
    for layer in layers:
        x = layer(x)
    return x


class EnsembleReLU(Ensemble):
    """`E` networks relu(x W + b) w + c of one hidden layer and one output, for very many rows.

    With the ReLU's derivative M = 1{x W + b > 0} they are linear: x (M (W w)^T) + M (b w) + c. It takes as many matrix
    products as the plain form, but the gradient of the hidden layer [R, hidden] is never stored.
    """

    def __init__(self, ensemble: int, inputs: int, hidden: int) -> None:
        first, last = EnsembleLinear(ensemble, inputs, hidden), EnsembleLinear(ensemble, hidden, 1)
        super().__init__(first, nn.ReLU(inplace=True), last)

    def members(self) -> list[Callable[[Tensor], Tensor]]:
        if not torch.is_grad_enabled():
            return super().members()
        first, last = (layer for layer in self if isinstance(layer, EnsembleLinear))
        weights = (tensor.unbind() for tensor in (first.weight, first.bias, last.weight, last.bias))
        return [partial(relu_layer, *each) for each in zip(*weights, strict=True)]


def relu_layer(weight: Tensor, bias: Tensor, readout: Tensor, last_bias: Tensor, x: Tensor) -> Tensor:
    """relu(x W + b) w + c by its derivative: [R, 1]."""
    with torch.no_grad():
        active = affine(weight, bias, x).relu_().sign_()  # M
    slope = active @ (weight * readout.T).T  # [R, inputs]: the gradient of the output
    return (x * slope).sum(-1, keepdim=True) + active @ (bias.T * readout) + last_bias


def ensemble_mlp(ensemble: int, inputs: int, hidden: tuple[int, ...], outputs: int) -> Ensemble:
    """`mlp` of `E` members, with layer normalisation: [E, R, inputs] -> [E, R, outputs].

    Layer normalisation bounds the extrapolation to OOD actions (Ball et al. 2023, RLPD; ReBRAC). What it
    costs, and where it does harm: docs/results/critics.md.
    """
    layers: list[nn.Module] = []
    for width in hidden:
        at_least(1, hidden=width)
        at_most(WIDEST, hidden=width)
        layers += [EnsembleLinear(ensemble, inputs, width), nn.LayerNorm(width, elementwise_affine=False), nn.SiLU()]
        inputs = width
    return Ensemble(*layers, EnsembleLinear(ensemble, inputs, outputs))
