"""A gradient step as a graph of operators: traced once, then replayed without Python, TensorDict and autograd."""

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from tensordict import TensorDict
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from ramac.training.simplify import simplified

if TYPE_CHECKING:
    from ramac.training.trainer import Trainer

Mode = Literal["auto", "off", "flat", "cudagraph"]
Operators = Callable[..., Sequence[Tensor]]  # the tensors of a batch -> metrics []
PAYS = 2000  # gradient steps from which a trace pays: docs/results/speed.md


class CapturedUpdate:
    """`Trainer.device_step`, traced at its first use with the actor's step and at its first use without.

    `flat` replays the same operators one by one, `cudagraph` launches them as one; both give the same bits as eager
    steps. The first `delay` steps are eager. Python code runs at the trace only: state that changes from step to step
    must be in tensors.
    """

    def __init__(self, trainer: "Trainer", mode: Mode) -> None:
        self.trainer, self.mode = trainer, mode
        if mode == "auto" and trainer.steps < PAYS:
            self.mode = "off"
        elif mode == "auto":
            self.mode = "cudagraph" if trainer.step.device.type == "cuda" else "flat"
        elif mode == "cudagraph" and trainer.step.device.type != "cuda":
            raise ValueError("compile=cudagraph needs a GPU: device=cuda; choose auto, off or flat")
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
        with torch.inference_mode():  # a tenth of the calls' cost less than without gradients only
            found = self.graphs[actor_too](*map(batch.get, keys))
        # plain tensors outside that mode, which the next replay does not overwrite
        return {name: value.clone() for name, value in zip(names, found, strict=True)}

    def capture(self, batch: TensorDict, actor_too: bool) -> dict[str, Tensor]:
        """Do the step while it is traced. What cannot be traced is taken back, and all steps are eager from now on."""
        trainer = self.trainer
        keys = list(batch.keys(True, True))
        before, metrics = trainer.state(), trainer.metrics
        try:
            refuse_numbers(trainer)
            graph, found = trace(trainer, batch, keys, actor_too)
            operators = CUDAGraph(graph, list(map(batch.get, keys))) if self.mode == "cudagraph" else graph
        except Exception as error:  # a plug-in's control flow that depends on values
            self.mode = "off"
            trainer.load_state(before, {}, trainer.step_count)
            trainer.metrics = metrics
            found = trainer.device_step(batch, actor_too)  # raises what has nothing to do with capturing
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            warnings.warn(f"the gradient step cannot be captured, it stays eager: {reason}", stacklevel=2)
            return found
        self.graphs[actor_too], self.entries[actor_too] = operators, (keys, list(found))
        return found


def refuse_numbers(trainer: "Trainer") -> None:
    """Refuse learning rates that change and are no tensors: a trace would keep their first value. Raises ValueError."""
    for group in trainer.schedulers:
        if not isinstance(trainer.optimisers[group].param_groups[0]["lr"], Tensor):
            raise ValueError(f"the learning rate of the {group} is scheduled, and no tensor")


def trace(
    trainer: "Trainer", batch: TensorDict, keys: list[Any], actor_too: bool
) -> tuple[GraphModule, dict[str, Tensor]]:
    """The operators of a gradient step, whose inputs are the batch's `keys`, and the metrics [] of the step it did."""
    found = dict[str, Tensor]()

    def step(*tensors: Tensor) -> list[Tensor]:
        metrics = trainer.device_step(TensorDict(dict(zip(keys, tensors, strict=True)), batch.batch_size), actor_too)
        found.update(metrics)
        return list(metrics.values())

    graph = make_fx(step)(*map(batch.get, keys))
    return simplified(graph), found


class CUDAGraph:
    """Operators recorded on a GPU and launched as one."""

    def __init__(self, operators: Operators, inputs: list[Tensor]) -> None:
        self.inputs, self.recorded = [value.clone() for value in inputs], torch.cuda.CUDAGraph()
        with torch.no_grad(), torch.cuda.graph(self.recorded):
            self.outputs = operators(*self.inputs)

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        for static, value in zip(self.inputs, tensors, strict=True):
            static.copy_(value)
        self.recorded.replay()
        return self.outputs
