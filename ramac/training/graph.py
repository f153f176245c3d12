"""The operators of a gradient step as a graph of torch.fx, and the ways to run them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from ramac.training.simplify import keep_views, simplify

Operators = Callable[..., Sequence[Tensor]]  # the tensors of a batch -> metrics []
BINDINGS = [getattr(torch._C, name) for name in ("_VariableFunctions", "_nn", "TensorBase")]  # as torch.add has them

DRAWS = ("rand", "randn", "rand_like", "randn_like", "randint")  # of a size that is known


def trace(step: Operators, inputs: Sequence[Tensor], *, plain: bool) -> GraphModule:
    """Do `step(*inputs)`, and return its operators. `plain`: Adam as elementary ones, which a compiler can fuse."""
    table = {torch.ops.aten._fused_adam_.tensor_lr: plain_adam} if plain else {}
    graph = make_fx(step, decomposition_table=table)(*inputs)
    simplify(graph)
    return graph


def plain_adam(
    parameters: list[Tensor],
    gradients: list[Tensor],
    averages: list[Tensor],
    squares: list[Tensor],
    maxima: list[Tensor],
    steps: list[Tensor],
    *,
    lr: Tensor,
    beta1: float,
    beta2: float,
    eps: float,
    **others: Any,
) -> None:
    """Adam (Kingma and Ba 2015, algorithm 1) in place; raises NotImplementedError for its variants."""
    if any(others.values()):
        raise NotImplementedError(f"Adam with {', '.join(name for name, value in others.items() if value)}")
    for parameter, gradient, average, square, step in zip(parameters, gradients, averages, squares, steps, strict=True):
        average.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        size = (lr / (1 - beta1 ** step.double())).to(parameter.dtype)
        root = (1 - beta2 ** step.double()).sqrt().to(parameter.dtype)
        parameter.sub_(size * average / (square.sqrt() / root + eps))


class Flat:
    """Operators run one by one, through torch's Python bindings: `torch.ops` takes twice as long to reach one."""

    def __init__(self, graph: GraphModule, inputs: Sequence[Tensor]) -> None:
        keep_views(graph)
        # plain attributes are found at once, those of a module's registers by a search in Python
        for name, tensor in [*graph.named_parameters(recurse=False), *graph.named_buffers(recurse=False)]:
            delattr(graph, name)
            vars(graph)[name] = tensor
        for node in graph.graph.nodes:
            if isinstance(node.target, OpOverload) and node.target.namespace == "aten":
                name = node.target.overloadpacket.__name__
                node.target = next((getattr(place, name) for place in BINDINGS if hasattr(place, name)), node.target)
        graph.recompile()
        self.operators = graph

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        with torch.inference_mode():  # no version counters
            found = self.operators(*tensors)
        return [value.clone() for value in found]  # as ordinary tensors


class Compiled:
    """Operators fused and compiled by torch's inductor; equal up to rounding. Its cache is on disk.

    Raises ValueError for random draws that depend on values.
    """

    def __init__(self, graph: GraphModule) -> None:
        self.draws = take_draws(graph)
        self.operators = torch.compile(graph, fullgraph=True, dynamic=False)

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        with torch.no_grad():
            return self.operators(*tensors, *(draw() for draw in self.draws))


def take_draws(graph: GraphModule) -> list[Callable[[], Tensor]]:
    """Make inputs of a graph's random draws, because inductor changes their order: returns what draws them."""
    draws = []
    last = [node for node in graph.graph.nodes if node.op == "placeholder"][-1]
    for node in list(graph.graph.nodes):
        kind = node.target
        if not isinstance(kind, OpOverload) or torch.Tag.nondeterministic_seeded not in kind.tags:
            continue
        if kind.overloadpacket.__name__ not in DRAWS:
            raise ValueError(f"{kind} draws numbers that depend on values")
        example = torch.fx.map_arg(node.args, lambda each: like(each.meta["val"]))
        draws.append(partial(kind, *example, **node.kwargs))
        with graph.graph.inserting_after(last):
            last = graph.graph.placeholder(f"draw_{len(draws)}")
        node.replace_all_uses_with(last)
        graph.graph.erase_node(node)
    graph.recompile()
    return draws


def compiled(graph: GraphModule, inputs: Sequence[Tensor]) -> Operators:
    """`Compiled`; on a GPU it does a step, and is recorded: launching its kernels one by one takes longer than they."""
    operators = Compiled(graph)
    if not inputs[0].is_cuda:
        return operators
    operators(*inputs)
    return CUDAGraph(operators, inputs)


def like(value: Tensor) -> Tensor:
    """A tensor like one that a trace describes."""
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device)


class CUDAGraph:
    """Operators recorded on a GPU and launched as one."""

    def __init__(self, operators: Operators, inputs: Sequence[Tensor]) -> None:
        self.operators = operators  # keeps the constants that the recording reads
        self.inputs, self.recorded = [value.clone() for value in inputs], torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.graph(self.recorded):
            self.outputs = operators(*self.inputs)

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        for static, value in zip(self.inputs, tensors, strict=True):
            static.copy_(value)
        self.recorded.replay()
        return [value.clone() for value in self.outputs]  # the next replay overwrites them
