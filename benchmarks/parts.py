"""Where the time of an update goes: by its parts, and by torch's operators."""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.cells import named
from benchmarks.contenders import Row
from benchmarks.options import Settings
from benchmarks.timing import synchronise
from benchmarks.updates import data, ramac_trainer
from ramac.training.trainer import Trainer

REST, UPDATES, MOST = "rest", 100, 16


class Clock:
    """Time per part, each moment counts for the innermost running part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.open = [REST]
        self.group = "critic"  # group of the last loss, whose backward pass follows
        self.since = time.perf_counter()

    def turn(self) -> None:
        """Book the time since the last turn."""
        synchronise()
        now = time.perf_counter()
        self.seconds[self.open[-1]] += now - self.since
        self.since = now

    def enter(self, part: str) -> None:
        """Begin a part inside the running one; `{}` in its name stands for the group whose loss came last."""
        self.turn()
        self.open.append(part.format(self.group))

    def leave(self) -> None:
        """End the innermost part."""
        self.turn()
        self.open.pop()

    def timed(self, part: str, function: Callable[..., Any], group: str | None = None) -> Callable[..., Any]:
        """The function as a part."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.group = group or self.group
            self.enter(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.leave()

        return wrapped


def watch(trainer: Trainer, clock: Clock) -> None:
    """Replace the methods that make up the parts by timed ones; missing methods count as the rest."""
    agent, target = trainer.agent, trainer.target
    trainer.captured.mode = "off"  # a captured step calls no methods
    places: list[tuple[Any, str, str, str | None]] = [
        (target.actor, "forward", "target: actor's chain", None),
        (target.critic, "standard_values", "target: critic", None),
        (agent.critic, "standard_regress", "critic forward", "critic"),
        (agent.actor, "forward", "actor's chain", "actor"),
        (agent.actor, "sample_with_log_prob", "actor's chain", "actor"),
        (agent.actor, "sample_with_teacher", "actor's chain", "actor"),
        (trainer, "update_target", "averages", None),
        (trainer, "batch", "batch", None),
    ]
    for name, term in trainer.loss.terms.items():
        kind = getattr(term, "group", None)
        places.append((term, "forward", "target: rest" if name == "td" else name, kind))
    for optimiser in trainer.optimisers.values():  # hooks, because a scheduler checks `step`
        optimiser.register_step_pre_hook(lambda *_: clock.enter("optimisers"))
        optimiser.register_step_post_hook(lambda *_: clock.leave())
    for owner, method, part, group in places:
        if hasattr(owner, method):
            setattr(owner, method, clock.timed(part, getattr(owner, method), group))


def by_part(trainer: Trainer, updates: int = UPDATES) -> list[Row]:
    """Milliseconds of an update and percent by part, largest first; the trainer keeps its timed methods."""
    clock = Clock()
    watch(trainer, clock)
    backward = clock.timed("{} backward", torch.autograd.backward)
    clip = clock.timed("clipping", torch.nn.utils.clip_grad_norm_)
    with patch("torch.autograd.backward", backward), patch("torch.nn.utils.clip_grad_norm_", clip):
        for _ in range(5):
            trainer.update(trainer.batch())
        clock.turn()
        clock.seconds.clear()
        for _ in range(updates):
            trainer.update(trainer.batch())
        clock.turn()
    total = sum(clock.seconds.values())
    found = sorted(clock.seconds.items(), key=lambda item: -item[1])
    return [{"part": part, "milliseconds": 1000 * s / updates, "percent": 100 * s / total} for part, s in found]


def by_operator(trainer: Trainer, updates: int = 10) -> list[Row]:
    """Milliseconds of an update spent in each operator itself, as torch's profiler sees it, largest first."""
    cuda = torch.cuda.is_available()
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda
    with profile(activities=activities) as recording:
        for _ in range(updates):
            trainer.update(trainer.batch())
        synchronise()
    event_time = "self_device_time_total" if cuda else "self_cpu_time_total"
    times = [(event.key, getattr(event, event_time), event.count) for event in recording.key_averages()]
    total = sum(spent for _, spent, _ in times)
    rows = []
    for key, spent, calls in sorted(times, key=lambda entry: -entry[1])[:MOST]:
        share = {"milliseconds": spent / 1000 / updates, "percent": 100 * spent / total}
        rows.append({"operator": key, "calls": calls / updates, **share})
    return rows


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Tables `parts` and `operators` of both recipes."""
    tables: dict[str, list[Row]] = {"parts": [], "operators": []}
    for cell in ("radac", "rafmac"):
        for name, rows in tables_of(cell, settings).items():
            tables[name] += [{"cell": cell, **row} for row in rows]
    return tables


def tables_of(cell: str, settings: Settings) -> dict[str, list[Row]]:
    """Both tables of a cell. Raises InputError for one that does not exist."""
    overrides, updates = named(cell), 10 if settings.short else UPDATES
    logged = data(device=settings.device)
    operators = by_operator(ramac_trainer(overrides, logged))
    return {"parts": by_part(ramac_trainer(overrides, logged), updates), "operators": operators}
