"""A gradient step that is traced once and then runs without Python, TensorDict and autograd."""

import warnings
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from tensordict import TensorDict
from torch import Tensor
from torch.fx import GraphModule
from torch.testing import assert_close

from ramac.training.graph import CUDAGraph, Flat, Operators, compiled, trace

if TYPE_CHECKING:
    from ramac.training.trainer import Trainer

Mode = Literal["auto", "off", "flat", "inductor", "cudagraph"]
WAYS: dict[str, Callable[..., Operators]] = {"flat": Flat, "inductor": compiled, "cudagraph": CUDAGraph}
PAYS = 2000  # gradient steps from which a trace pays: docs/results/speed.md
CHECKS = 2  # the first two: what changes between steps, and is in no buffer, differs in the second


class CapturedUpdate:
    """`Trainer.device_step`, traced at its first use with the actor's step and at its first use without.

    `flat` replays the same operators one by one, `cudagraph` launches them as one; both give the same bits as eager
    steps. `inductor` compiles them, equal up to rounding. The first `delay` steps are eager. Python code runs at the
    trace and the checks only: state that changes from step to step must be in buffers, and be changed in place.
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
        self.checks = Counter[bool]()  # steps that were compared with eager ones

    def __getstate__(self) -> dict[str, Any]:
        """All but the captured operators: they act on these tensors, not on copies."""
        return {**vars(self), "operators": {}, "entries": {}, "checks": Counter()}

    def __call__(self, batch: TensorDict, actor_too: bool) -> dict[str, Tensor]:
        """The metrics [] of one step on a batch [B]."""
        trainer = self.trainer
        if self.mode == "off" or trainer.step_count < trainer.delay or len(batch) != trainer.batch_size:
            return trainer.device_step(batch, actor_too)
        if self.checks[actor_too] < CHECKS:
            return self.checked(batch, actor_too)
        return self.replay(batch, actor_too)

    def replay(self, batch: TensorDict, actor_too: bool) -> dict[str, Tensor]:
        """Do the step by the captured operators."""
        keys, names = self.entries[actor_too]
        return dict(zip(names, self.operators[actor_too](*map(batch.get, keys)), strict=True))

    def checked(self, batch: TensorDict, actor_too: bool) -> dict[str, Tensor]:
        """Do the step eagerly, go back, do it by the captured operators, and compare; the first time, trace it.

        What cannot be captured, or differs, is taken back: the step is the eager one, and so are all others.
        """
        trainer = self.trainer
        before, metrics = trainer.state(), trainer.metrics
        after, expected = before, dict[str, Tensor]()
        try:
            refuse_numbers(trainer)
            graph = None
            if actor_too in self.operators:
                expected = trainer.device_step(batch, actor_too)
            else:
                graph, expected = self.trace(batch, actor_too)
            after = trainer.state()
            if graph is not None:
                self.operators[actor_too] = WAYS[self.mode](graph, list(map(batch.get, self.entries[actor_too][0])))
            trainer.load_state(before, {}, trainer.step_count)
            found = self.replay(batch, actor_too)
            self.compare(found, expected, trainer.state(), after)
        except Exception as error:  # a plug-in's control flow that depends on values, no C++ compiler
            self.mode = "off"
            trainer.load_state(after, {}, trainer.step_count)
            found = expected or trainer.device_step(batch, actor_too)  # raises what has nothing to do with capturing
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            warnings.warn(f"the gradient step cannot be captured, it stays eager: {reason}", stacklevel=2)
        trainer.metrics = metrics
        self.checks[actor_too] += 1
        return found

    def trace(self, batch: TensorDict, actor_too: bool) -> tuple[GraphModule, dict[str, Tensor]]:
        """Do the step, and return its operators and metrics []."""
        trainer, keys, found = self.trainer, list(batch.keys(True, True)), dict[str, Tensor]()

        def step(*tensors: Tensor) -> list[Tensor]:
            entries = TensorDict(dict(zip(keys, tensors, strict=True)), batch.batch_size)
            found.update(trainer.device_step(entries, actor_too))
            return list(found.values())

        graph = trace(step, list(map(batch.get, keys)), plain=self.mode == "inductor")
        self.entries[actor_too] = keys, list(found)
        return graph, found

    def compare(
        self, found: dict[str, Tensor], eager: dict[str, Tensor], reached: dict[str, Tensor], after: dict[str, Tensor]
    ) -> None:
        """Raise AssertionError where metrics [] or the state after the step differ from those of the eager step.

        Where bits may differ, weights do not count: rounding turns Adam's step around where a gradient is nearly zero.
        """
        if self.mode == "flat":
            assert_close(found | reached, eager | after, rtol=0, atol=0, equal_nan=True)
            return
        assert_close(found, eager, rtol=1e-3, atol=1e-5, equal_nan=True)
        for name in after.keys() & {"random", "random.cuda"}:
            assert_close(reached[name], after[name])


def refuse_numbers(trainer: "Trainer") -> None:
    """Refuse learning rates that change and are no tensors: a trace would keep their first value. Raises ValueError."""
    for group in trainer.schedulers:
        if not isinstance(trainer.optimisers[group].param_groups[0]["lr"], Tensor):
            raise ValueError(f"the learning rate of the {group} is scheduled, and no tensor")
