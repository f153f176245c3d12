"""A gradient step that is traced once and then runs without Python, TensorDict and autograd."""

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from tensordict import TensorDict
from torch import Tensor
from torch.testing import assert_close

from ramac.training.graph import CUDAGraph, Flat, Operators, compiled, trace

if TYPE_CHECKING:
    from ramac.training.trainer import Trainer

Mode = Literal["auto", "off", "flat", "inductor", "cudagraph"]
WAYS: dict[str, Callable[..., Operators]] = {"flat": Flat, "inductor": compiled, "cudagraph": CUDAGraph}
PAYS = 2000  # gradient steps from which a trace pays: docs/results/speed.md


class CapturedUpdate:
    """`Trainer.device_step`, traced at its first use with the actor's step and at its first use without.

    `flat` replays the same operators one by one, `cudagraph` launches them as one; both give the same bits as eager
    steps. `inductor` compiles them, equal up to rounding. The first `delay` steps are eager. Python code runs at the
    trace only: state that changes from step to step must be in tensors.
    """

    def __init__(self, trainer: "Trainer", mode: Mode) -> None:
        self.trainer, self.mode = trainer, mode
        if mode == "auto" and trainer.steps < PAYS:
            self.mode = "off"
        elif mode == "auto":
            self.mode = "cudagraph" if trainer.step.device.type == "cuda" else "flat"
        elif mode == "cudagraph" and trainer.step.device.type != "cuda":
            raise ValueError("compile=cudagraph needs a GPU: device=cuda; choose auto, off, flat or inductor")
        self.operators: dict[bool, Operators] = {}
        self.entries: dict[bool, tuple[list[Any], list[str]]] = {}  # keys of the batch, names of the metrics

    def __call__(self, batch: TensorDict, actor_too: bool) -> dict[str, Tensor]:
        """The metrics [] of one step on a batch [B]."""
        trainer = self.trainer
        if self.mode == "off" or trainer.step_count < trainer.delay:
            return trainer.device_step(batch, actor_too)
        if actor_too not in self.operators:
            return self.capture(batch, actor_too)
        keys, names = self.entries[actor_too]
        return dict(zip(names, self.operators[actor_too](*map(batch.get, keys)), strict=True))

    def capture(self, batch: TensorDict, actor_too: bool) -> dict[str, Tensor]:
        """Capture the step and do it. What cannot be captured is taken back, and all steps are eager from now on."""
        trainer = self.trainer
        before, metrics = trainer.state(), trainer.metrics
        try:
            refuse_numbers(trainer)
            return self.traced(batch, actor_too, before)
        except Exception as error:  # a plug-in's control flow that depends on values, no C++ compiler
            self.mode = "off"
            trainer.load_state(before, {}, trainer.step_count)
            trainer.metrics = metrics
            found = trainer.device_step(batch, actor_too)  # raises what has nothing to do with capturing
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            warnings.warn(f"the gradient step cannot be captured, it stays eager: {reason}", stacklevel=2)
            return found

    def traced(self, batch: TensorDict, actor_too: bool, before: dict[str, Tensor]) -> dict[str, Tensor]:
        """Trace the step, go back to the state `before`, and do it by the captured operators.

        Raises AssertionError where these differ from the eager step.
        """
        trainer, keys, expected = self.trainer, list(batch.keys(True, True)), dict[str, Tensor]()

        def step(*tensors: Tensor) -> list[Tensor]:
            entries = TensorDict(dict(zip(keys, tensors, strict=True)), batch.batch_size)
            expected.update(trainer.device_step(entries, actor_too))
            return list(expected.values())

        inputs = list(map(batch.get, keys))
        graph = trace(step, inputs, plain=self.mode == "inductor")
        after, metrics = trainer.state(), trainer.metrics
        operators = WAYS[self.mode](graph, inputs)
        trainer.load_state(before, {}, trainer.step_count)
        trainer.metrics = metrics
        found = dict(zip(expected, operators(*inputs), strict=True))
        if self.mode == "inductor":
            assert_close(found, expected, rtol=1e-3, atol=1e-5, equal_nan=True)
            assert_close(trainer.state()["random"], after["random"])
        elif self.mode == "flat":
            assert_close(found | trainer.state(), expected | after, rtol=0, atol=0, equal_nan=True)
        self.operators[actor_too], self.entries[actor_too] = operators, (keys, list(expected))
        return found


def refuse_numbers(trainer: "Trainer") -> None:
    """Refuse learning rates that change and are no tensors: a trace would keep their first value. Raises ValueError."""
    for group in trainer.schedulers:
        if not isinstance(trainer.optimisers[group].param_groups[0]["lr"], Tensor):
            raise ValueError(f"the learning rate of the {group} is scheduled, and no tensor")
