"""Random draws from elsewhere: from a generator of its own for each episode of a batch, or from an array."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import gumbel_softmax, one_hot
from torch.overrides import TorchFunctionMode

AHEAD = 256  # numbers that a generator draws at once: one call for each episode and draw would double the time to act


class Stream:
    """Numbers of one distribution from E generators, drawn ahead. How far ahead does not change them."""

    def __init__(self, draws: Sequence[Callable[[int], np.ndarray]]) -> None:
        self.draws, self.left = draws, np.empty((len(draws), 0), np.float32)

    def take(self, count: int) -> np.ndarray:
        """The next `count` numbers of each generator: [E, count]."""
        if (lacking := count - self.left.shape[1]) > 0:
            fresh = np.stack([draw(max(lacking, AHEAD)) for draw in self.draws])
            self.left = np.concatenate([self.left, fresh], 1)
        taken, self.left = self.left[:, :count], self.left[:, count:]
        return taken


class OtherNoise(TorchFunctionMode):
    """Inside the block, torch's random draws are made of the numbers of `normal` and `uniform`.

    It holds for the functions of DRAWS and what is made of them (torch.distributions, schedulers), for results that
    `covers` takes. Every other draw comes from torch's own generator.
    """

    def covers(self, result: Tensor) -> bool:
        """Whether a draw of this shape is replaced."""
        raise NotImplementedError

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers of the shape of `like`."""
        raise NotImplementedError

    def uniform(self, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of the shape of `like`."""
        raise NotImplementedError

    def exponential(self, like: Tensor) -> Tensor:
        """Exponential numbers with mean 1, above 0, of the shape of `like`."""
        return -torch.log1p(-self.uniform(like)).clamp(max=-(2.0**-25))  # half the step of a uniform number

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if (fill := DRAWS.get(func)) is None or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        in_place = func in IN_PLACE
        if in_place and not self.covers(args[0]):
            return func(*args, **kwargs)
        result = args[0] if in_place else func(*args, **kwargs)
        if not self.covers(result):
            return result
        value = fill(self, result, *args, **kwargs)
        return result.copy_(value) if in_place else value.to(result.dtype)


class EpisodeNoise(OtherNoise):
    """Inside the block, block i of the leading dimension of torch's random draws comes from the generator of seed i.

    So what one of E episodes draws does not depend on the others. It holds for draws with a leading dimension of E rows
    or a multiple, as many in a row for each episode. The numbers are the same on each device.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        super().__init__()
        kinds = [[np.random.default_rng([seed, kind]) for seed in seeds] for kind in range(2)]
        self.episodes = len(seeds)
        self.normals = Stream([lambda n, random=random: random.standard_normal(n, np.float32) for random in kinds[0]])
        self.uniforms = Stream([lambda n, random=random: random.random(n, np.float32) for random in kinds[1]])

    def covers(self, result: Tensor) -> bool:
        return bool(result.dim() and len(result) and len(result) % self.episodes == 0)

    def normal(self, like: Tensor) -> Tensor:
        return self.shaped(self.normals, like)

    def uniform(self, like: Tensor) -> Tensor:
        return self.shaped(self.uniforms, like)

    def shaped(self, stream: Stream, like: Tensor) -> Tensor:
        """The next numbers of a stream, in the shape of `like` and on its device."""
        taken = np.ascontiguousarray(stream.take(like.numel() // self.episodes))
        return torch.from_numpy(taken).view(like.shape).to(like.device)


class GivenNoise(OtherNoise):
    """Inside the block, torch's random draws are read from `noise` [B, N], standard normal, column by column.

    Row i is for block i of the B equal blocks of a draw's leading dimension. Uniform numbers are Phi(noise). `widths`:
    the columns of each draw, where B is symbolic. A draw beyond the last column is torch's error of shapes.
    """

    def __init__(self, noise: Tensor, widths: Sequence[int] = ()) -> None:
        super().__init__()
        self.noise, self.widths, self.used = noise, iter(widths), 0

    def covers(self, result: Tensor) -> bool:
        return result.dim() > 0

    def normal(self, like: Tensor) -> Tensor:
        width = next(self.widths, None) or like.numel() // self.noise.shape[0]
        first, self.used = self.used, self.used + width
        return self.noise[:, first : self.used].reshape(-1, *like.shape[1:]).to(like.device)

    def uniform(self, like: Tensor) -> Tensor:
        share = 0.5 + 0.5 * torch.erf(math.sqrt(0.5) * self.normal(like))
        return share.clamp(max=1 - 2.0**-24)  # the largest number below 1, as of torch.rand


class CountedNoise(OtherNoise):
    """Inside the block, torch's random draws are zeros (uniform: 1/2); `counts` has the numbers of each draw."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def covers(self, result: Tensor) -> bool:
        return result.dim() > 0

    def normal(self, like: Tensor) -> Tensor:
        self.counts.append(like.numel())
        return torch.zeros_like(like, dtype=torch.float32)

    def uniform(self, like: Tensor) -> Tensor:
        return self.normal(like) + 0.5


def bounds(*args: Any, low: int = 0, high: int | None = None, **_: Any) -> tuple[int, int]:
    """The two ends of torch.randint, whose first may be left out."""
    ends = [value for value in args[:2] if isinstance(value, int)]
    if high is None:
        return (low, ends[0]) if len(ends) == 1 else (ends[0], ends[1])
    return (ends[0] if ends else low), high


def whole(noise: OtherNoise, result: Tensor, low: int, high: int) -> Tensor:
    """Whole numbers from `low` to `high` - 1."""
    return (noise.uniform(result) * (high - low)).floor().clamp(max=high - low - 1) + low


def chosen(
    noise: OtherNoise, result: Tensor, input: Tensor, num_samples: int, replacement: bool = False, **_: Any
) -> Tensor:
    """`num_samples` categories [B, n] by weights [B, C]: the first exponential clocks to ring."""
    if replacement or num_samples == 1:
        weight = input.unsqueeze(-2).expand(*input.shape[:-1], num_samples, -1)
        return (weight / noise.exponential(weight)).argmax(-1)
    return (input / noise.exponential(input)).topk(num_samples).indices


def between(noise: OtherNoise, result: Tensor, _: Tensor, *ends: float, **named: Any) -> Tensor:
    """As `Tensor.uniform_(from=0, to=1)`; `from` is no name in Python."""
    low = ends[0] if ends else named.get("from", 0.0)
    high = ends[1] if len(ends) > 1 else named.get("to", 1.0)
    return low + (high - low) * noise.uniform(result)


def gumbel(
    noise: OtherNoise, result: Tensor, logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10,
    dim: int = -1,
) -> Tensor:  # fmt: skip
    """As torch.nn.functional.gumbel_softmax, whose own draw cannot be seen from outside."""
    soft = ((logits - noise.exponential(logits).log()) / tau).softmax(dim)
    if not hard:
        return soft
    return one_hot(soft.argmax(dim), soft.shape[dim]).movedim(-1, dim).to(soft) - soft.detach() + soft


# what each function draws, in the shape of its result, with the arguments of the function
DRAWS: dict[Any, Callable[..., Tensor]] = {
    torch.randn: lambda noise, result, *_, **__: noise.normal(result),
    torch.randn_like: lambda noise, result, *_, **__: noise.normal(result),
    torch.rand: lambda noise, result, *_, **__: noise.uniform(result),
    torch.rand_like: lambda noise, result, *_, **__: noise.uniform(result),
    torch.normal: lambda noise, result, mean=0.0, std=1.0, *_, **__: mean + std * noise.normal(result),
    torch.bernoulli: lambda noise, result, input, *_, **__: noise.uniform(result) < input,
    torch.randint: lambda noise, result, *args, **kwargs: whole(noise, result, *bounds(*args, **kwargs)),
    torch.multinomial: chosen,
    torch.Tensor.multinomial: chosen,
    gumbel_softmax: gumbel,
    torch.Tensor.bernoulli_: lambda noise, result, _, p=0.5, **__: noise.uniform(result) < p,
    torch.Tensor.normal_: lambda noise, result, _, mean=0.0, std=1.0, **__: mean + std * noise.normal(result),
    torch.Tensor.uniform_: between,
    torch.Tensor.exponential_: lambda noise, result, _, lambd=1.0, **__: noise.exponential(result) / lambd,
}
IN_PLACE = {torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.exponential_, torch.Tensor.bernoulli_}
