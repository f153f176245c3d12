"""The limit that matrix products set: how many operations an update needs, and how many the machine can do."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

SQUARE = 2048
PRODUCTS = {"mm": 0, "bmm": 0, "addmm": 1, "baddbmm": 1}  # position of the first factor among the arguments
Shape = tuple[tuple[int, ...], tuple[int, ...]]


class Recorder(TorchDispatchMode):
    """Counts the shapes of all matrix products while it is entered, those of a backward pass included."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: Counter[Shape] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in PRODUCTS:
            first = PRODUCTS[name]
            self.shapes[tuple(args[first].shape), tuple(args[first + 1].shape)] += 1
        return func(*args, **(kwargs or {}))


def operations(work: Callable[[], Any]) -> float:
    """Floating point operations of the matrix products of one call, as torch counts them: 2 n m k each."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def products(work: Callable[[], Any]) -> Counter[Shape]:
    """Shapes of the factors of all matrix products of one call, and how often each is met."""
    with Recorder() as recorder:
        work()
    return recorder.shapes


def operations_of(shapes: Counter[Shape]) -> float:
    """2 n m k of each product [.., n, k] x [.., k, m]."""
    return float(sum(2 * torch.Size(left).numel() * right[-1] * count for (left, right), count in shapes.items()))


@cache
def buffer(shape: tuple[int, ...], device: torch.device, purpose: str) -> Tensor:
    """Random numbers of a shape, one tensor per purpose: a hundred cells have few shapes between them."""
    return torch.randn(shape, device=device)


def replay(shapes: Counter[Shape], device: torch.device) -> Callable[[], None]:
    """A call that makes the same products on random factors and nothing else."""
    work = []
    for (left, right), count in shapes.items():
        factors = buffer(left, device, "left"), buffer(right, device, "right")
        work.append((*factors, buffer((*left[:-1], right[-1]), device, "product"), count))

    def products() -> None:
        for left, right, product, count in work:
            for _ in range(count):
                torch.matmul(left, right, out=product)

    return products


def square(device: torch.device, size: int = SQUARE) -> tuple[Callable[[], Any], float]:
    """A large square product, where machines do best, and its operations."""
    left, right, result = torch.randn(3, size, size, device=device)
    return lambda: torch.mm(left, right, out=result), 2.0 * size**3
