"""A gradient step as a graph of operators: traced once, then replayed without Python, TensorDict and autograd."""

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from tensordict import TensorDict
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

if TYPE_CHECKING:
    from ramac.training.trainer import Trainer

Mode = Literal["auto", "off", "flat", "inductor", "cudagraph"]
Operators = Callable[..., Sequence[Tensor]]  # the tensors of a batch -> metrics []
PAYS = 2000  # gradient steps from which a trace pays: docs/results/speed.md


class CapturedUpdate:
    """`Trainer.device_step`, traced at its first use with the actor's step and at its first use without.

    `flat` replays the same operators one by one, `cudagraph` launches them as one; both give the same bits as eager
    steps. `inductor` compiles them into fewer ones, which round differently. The first `delay` steps are eager.
    Python code runs at the trace only: state that changes from step to step must be in tensors.
    """

    def __init__(self, trainer: "Trainer", mode: Mode) -> None:
        self.trainer, self.mode = trainer, mode
        if mode == "auto" and trainer.steps < PAYS:
            self.mode = "off"
        elif mode == "auto":
            self.mode = "cudagraph" if trainer.step.device.type == "cuda" else "flat"
        elif mode == "cudagraph" and trainer.step.device.type != "cuda":
            raise ValueError("compile=cudagraph needs a GPU: device=cuda; choose auto, off, flat or inductor")
        self.graphs: dict[bool, Operators] = {}
        self.entries: dict[bool, tuple[list[Any], list[str]]] = {}  # keys of the batch, names of the metrics

    def __call__(self, batch: TensorDict, actor_too: bool) -> dict[str, Tensor]:
        """The metrics [] of one step on a batch [B]."""
        trainer = self.trainer
        if self.mode == "off" or trainer.step_count < trainer.delay:
            return trainer.device_step(batch, actor_too)
        if actor_too not in self.graphs:
            return self.capture(batch, actor_too)
        keys, names = self.entries[actor_too]
        with torch.no_grad():
            found = self.graphs[actor_too](*map(batch.get, keys))
        return dict(zip(names, found, strict=True))

    def capture(self, batch: TensorDict, actor_too: bool) -> dict[str, Tensor]:
        """Do the step while it is traced. What cannot be traced is taken back, and all steps are eager from now on."""
        trainer = self.trainer
        keys = list(batch.keys(True, True))
        before, metrics = trainer.state(), trainer.metrics
        try:
            graph, found = trace(trainer, batch, keys, actor_too, self.mode == "inductor")
            operators = self.compiled(graph, list(map(batch.get, keys)))
        except Exception as error:  # a plug-in's control flow that depends on values, or a compiler that is not there
            self.mode = "off"
            trainer.load_state(before, {}, trainer.step_count)
            trainer.metrics = metrics
            found = trainer.device_step(batch, actor_too)  # raises what has nothing to do with capturing
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            warnings.warn(f"the gradient step cannot be captured, it stays eager: {reason}", stacklevel=2)
            return found
        self.graphs[actor_too], self.entries[actor_too] = operators, (keys, list(found))
        return found

    def compiled(self, graph: GraphModule, inputs: list[Tensor]) -> Operators:
        """The operators as `mode` runs them."""
        if self.mode == "cudagraph":
            return CUDAGraph(graph, inputs)
        if self.mode == "inductor":
            # fallback_random: random numbers as eager operators draw them
            operators = torch.compile(graph, fullgraph=True, dynamic=False, options={"fallback_random": True})
            after, metrics = self.trainer.state(), self.trainer.metrics
            with torch.no_grad():
                operators(*inputs)  # compiles now, where a missing compiler is not the end of the run
            self.trainer.load_state(after, {}, self.trainer.step_count)
            self.trainer.metrics = metrics
            return operators
        return graph


def trace(
    trainer: "Trainer", batch: TensorDict, keys: list[Any], actor_too: bool, decompose: bool = False
) -> tuple[GraphModule, dict[str, Tensor]]:
    """The operators of a gradient step, whose inputs are the batch's `keys`, and the metrics [] of the step it did.

    `decompose`: Adam as plain operators.
    """
    found = dict[str, Tensor]()

    def step(*tensors: Tensor) -> list[Tensor]:
        metrics = trainer.device_step(TensorDict(dict(zip(keys, tensors, strict=True)), batch.batch_size), actor_too)
        found.update(metrics)
        return list(metrics.values())

    table: Any = {torch.ops.aten._fused_adam_.tensor_lr: adam} if decompose else {}
    graph = make_fx(step, decomposition_table=table)(*map(batch.get, keys))
    for node in reversed(graph.graph.nodes):
        if "profiler" in str(node.target):
            graph.graph.erase_node(node)
    for node in list(graph.graph.nodes):
        if node.target is torch.ops.aten.detach.default:  # a replay has no autograd
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()
    return graph, found


def adam(
    parameters: list[Tensor], gradients: list[Tensor], means: list[Tensor], squares: list[Tensor], _: list[Tensor],
    steps: list[Tensor], *, lr: Tensor, beta1: float, beta2: float, eps: float, **__: Any,
) -> None:  # fmt: skip
    """The step of torch's fused Adam in plain operators, which inductor can merge. Paper: Kingma and Ba 2015."""
    size, scale = lr / (1 - beta1 ** steps[0]), (1 - beta2 ** steps[0]).sqrt()
    for parameter, gradient, mean, square in zip(parameters, gradients, means, squares, strict=True):
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        parameter.sub_(size.to(parameter.dtype) * mean / (square.sqrt() / scale + eps))


class CUDAGraph:
    """Operators recorded on a GPU and launched as one."""

    def __init__(self, operators: Operators, inputs: list[Tensor]) -> None:
        self.inputs, self.recorded = [value.clone() for value in inputs], torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.graph(self.recorded):
            self.outputs = operators(*self.inputs)

    def __call__(self, *tensors: Tensor) -> list[Tensor]:
        torch._foreach_copy_(self.inputs, list(tensors))
        self.recorded.replay()
        return [value.clone() for value in self.outputs]  # the next replay overwrites them
