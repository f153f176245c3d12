"""The two ways of drawing levels that are compared."""

from collections.abc import Callable

import torch
from torch import Tensor

from ramac.risk import stratified

KINDS: dict[str, Callable[[int, int, Tensor], Tensor]] = {  # levels [rows, count] of the type and device of a tensor
    "independent": lambda rows, count, like: torch.rand(rows, count, device=like.device, dtype=like.dtype),
    "stratified": lambda rows, count, like: stratified((rows,), count, like),  # as ramac's critics draw
}
