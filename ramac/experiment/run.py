"""One run from its configuration to its summary: build, claim the folder, resume, loop, finish."""

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDict

from ramac.agent import Agent
from ramac.data import Dataset, Log
from ramac.errors import InputError, RunStopped
from ramac.evaluation.rollout import Evaluation
from ramac.experiment import progress as states
from ramac.experiment.config import RunConfig
from ramac.experiment.folder import RunFolder, claim, refuse_taken
from ramac.experiment.progress import Progress
from ramac.experiment.recorder import Recorder
from ramac.losses import build_terms
from ramac.registry import evaluations, losses, trainers
from ramac.spec import Spec
from ramac.system.runtime import device_of, numerics, process_settings, progress_bar
from ramac.system.signals import Signals
from ramac.tasks import Task, configured
from ramac.training.nan_guard import NanGuard
from ramac.training.stacked import Stacked
from ramac.training.trainer import Trainer


def build_trainer(config: RunConfig, spec: Spec, transitions: TensorDict, device: torch.device) -> Trainer:
    """Agent, loss terms and trainer of one seed. Raises InputError when parts do not go together."""
    torch.manual_seed(config.seed)
    agent = Agent.build(config.plain, spec).to(device)
    terms = build_terms(config.loss, spec)
    if not any(term.group for term in terms.values()):
        raise InputError(f"loss=[{','.join(terms)}] trains nothing; choose from {', '.join(losses)}")
    if agent.acting.candidates > 1 and "td" not in terms:
        raise InputError(f"candidates={agent.acting.candidates} are judged by the critic, which only td trains")
    return trainers.build(config.trainer, agent, terms, transitions.to(device), config.seed)


def dry_build(config: RunConfig) -> tuple[Task, Evaluation]:
    """Task and evaluation, once every part has been built without data.

    A wrong argument is refused here, before a dataset is collected. Raises InputError.
    """
    task, evaluation = configured(config.plain), evaluations.build(config.evaluation)
    build_trainer(config, Spec.unit(1, 1), TensorDict(batch_size=[1]), torch.device("cpu"))
    return task, evaluation


@dataclass
class Build:
    """The parts of a run, made and checked; nothing is written yet."""

    task: Task
    evaluation: Evaluation
    data: Dataset
    trainer: Trainer | Stacked

    @classmethod
    def of(cls, config: RunConfig, log: Log | None) -> "Build":
        """Build everything, first without data. Raises InputError."""
        device = device_of(config.device)
        task, evaluation = dry_build(config)
        task = task if log is None else configured(config.plain, log)
        refuse_taken(config)
        data = task.dataset()
        seeds, streams = [], []
        for single in config.singles:
            seeds.append(build_trainer(single, data.spec, data.transitions, device))
            streams.append((torch.cuda if device.type == "cuda" else torch).get_rng_state())
        return cls(task, evaluation, data, seeds[0] if config.seeds is None else Stacked(seeds, streams))


class Clock:
    """Seconds of a run, added up over all its processes; work lost after the last saved state is not counted."""

    def __init__(self, began: float, progress: Progress | None) -> None:
        """`began`: start of this process's share, as `time.perf_counter` gives it."""
        before = (0.0, 0.0) if progress is None else (progress.seconds, progress.training_seconds)
        self.began, self.training_began = began - before[0], time.perf_counter() - before[1]

    def seconds(self) -> dict[str, float]:
        """`seconds` of everything and `training_seconds`, evaluations left out."""
        now = time.perf_counter()
        return {"seconds": now - self.began, "training_seconds": now - self.training_began}

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A block that is not training."""
        before = time.perf_counter()
        yield
        self.training_began += time.perf_counter() - before


class Run:
    """A run while its process lasts: the trainer, a recorder per seed, the clock, and the last saved state."""

    def __init__(self, config: RunConfig, build: Build, claims: list[tuple[RunFolder, bool]], began: float) -> None:
        """Resume from the newest undamaged state where a folder holds an interrupted run. Raises InputError."""
        self.config, self.trainer, self.data, self.evaluation = config, build.trainer, build.data, build.evaluation
        self.folders = [folder for folder, _ in claims]
        found = self.resume() if any(resumes for _, resumes in claims) else []
        points = [progress for _, progress in found] or [None] * len(claims)
        self.saved = 0 if points[0] is None else points[0].updates  # gradient step of the last saved state
        self.clock = Clock(began, points[0])
        parts = zip(self.folders, config.singles, build.trainer.members, points, strict=True)
        self.recorders = [
            Recorder(folder, single, member, build.task, build.evaluation, build.data, progress)
            for folder, single, member, progress in parts
        ]
        self.guard = NanGuard(build.trainer, [folder.path for folder in self.folders])

    def resume(self) -> list[tuple[dict[str, torch.Tensor], Progress]]:
        """Put the newest states into the trainer; [] where there is none. Raises InputError for another run's."""
        self.refuse_other_seeds()
        found = states.newest(self.folders, self.trainer.state())
        for folder, (_, progress) in zip(self.folders, found, strict=False):
            if progress.data != self.data.digest:
                text = f"run_dir={folder}: gradient step {progress.updates} was reached with other data"
                raise InputError(f"{text} than there are now ({self.data.origin}); name a new folder")
        if found:
            self.warn_rounding(found[0][1])
            try:
                metrics = [progress.metrics for _, progress in found]
                self.trainer.load_state([state for state, _ in found], metrics, found[0][1].updates)
            except RuntimeError as error:
                raise InputError(f"the training state in {self.folders[0]} cannot be used: {error}") from error
        return found

    def refuse_other_seeds(self) -> None:
        """Refuse states of seeds that were trained alone where several are trained as one. Raises InputError."""
        count = len(self.folders)
        for folder in self.folders if count > 1 else ():
            for step in states.kept(folder):
                try:
                    together = states.progress_of(folder, step).together
                except InputError:  # a damaged state says nothing; `states.newest` warns of it
                    continue
                if together != count:
                    raise InputError(f"run_dir={folder} already holds another run, not with seeds={count}")

    def warn_rounding(self, progress: Progress) -> None:
        """Warn of what can make a resumed run round differently."""
        before, now = progress.circumstances, numerics(self.trainer.step.device)
        changed = [f"{key} {before.get(key)}, now {value}" for key, value in now.items() if before.get(key) != value]
        if progress.together != len(self.folders):
            changed.append(f"{progress.together} seeds as one, now alone")
        if changed:
            text = f"{self.folders[0]} began with {'; '.join(changed)}: numbers may round differently"
            warnings.warn(text, stacklevel=2)

    def loop(self, signals: Signals, quiet: bool) -> None:
        """The gradient steps that are left; after each, log, save and evaluate when their turn has come.

        The state is saved before an evaluation, which may take long or fail but cannot change the training.
        """
        trainer, config, steps, before = self.trainer, self.config, self.trainer.steps, self.trainer.step_count

        def turn(every: int, step: int) -> bool:
            return bool(every) and step % every == 0

        if before and (before == steps or turn(self.evaluation.every, before)):
            self.evaluate(before)
        label = config.name + (f" to {config.singles[-1].seed}" if config.seeds else "")
        bar = progress_bar(trainer.run(), steps, label, quiet, before)
        with signals.delayed():
            for step, metrics in enumerate(bar, before + 1):
                evaluated = step == steps or turn(self.evaluation.every, step)
                self.guard.see(step, metrics)
                if turn(config.log_every, step) or step == steps:
                    values = self.log(step, metrics).items()
                    bar.set_postfix_str(" ".join(f"{k}={v:.3g}" for k, v in values if "loss" in k), refresh=False)
                if evaluated or turn(config.save_every, step) or signals.received:
                    self.save(step, metrics)
                signals.raise_received()
                if evaluated:
                    with signals.delayed(False):
                        self.evaluate(step)

    def log(self, step: int, metrics: TensorDict) -> dict[str, float]:
        """Write metrics; returns the first seed's. Raises FloatingPointError for non-finite values."""
        self.guard.check()
        parts = zip(self.recorders, self.trainer.split(metrics), strict=True)
        values = [recorder.log(step, found) for recorder, found in parts]  # type: ignore[arg-type]
        return values[0]

    def save(self, step: int, metrics: TensorDict) -> None:
        """Save the training state. Raises OSError, FloatingPointError for non-finite values."""
        self.guard.check()
        shared: dict[str, Any] = {**self.clock.seconds(), "together": len(self.recorders)}
        shared["circumstances"] = numerics(self.trainer.step.device)
        parts = zip(self.recorders, self.trainer.state(), self.trainer.split(metrics), strict=True)
        for recorder, state, found in parts:
            last = {str(key): float(value) for key, value in found.items()}  # type: ignore[arg-type]
            recorder.save(state, Progress(step, self.data.digest, last, **shared))
        self.saved = step

    def evaluate(self, step: int) -> None:
        """Evaluate each seed's policy. Raises RunStopped."""
        self.guard.check()
        with self.clock.paused():
            for recorder in self.recorders:
                recorder.evaluate(step)

    def finish(self) -> list[dict[str, Any]]:
        """Write the summaries; returns them with `run_dir`."""
        timing = {"updates_per_second": self.trainer.steps / self.clock.seconds()["training_seconds"]}
        timing |= {"seeds_together": len(self.recorders)} if len(self.recorders) > 1 else {}
        found = []
        for recorder in self.recorders:
            recorder.close()
            summary = recorder.finish(timing | {"wall_seconds": self.clock.seconds()["seconds"]})
            found.append({**summary, "run_dir": str(recorder.folder)})
        return found

    def resume_hint(self) -> str:
        """How to continue, for the end of a message."""
        if not self.saved:
            return "the same command starts it again"
        alone = f" or ramac resume {self.folders[0]}" if len(self.folders) == 1 else ""
        return f"the same command{alone} resumes after gradient step {self.saved}"


def train(config: RunConfig, log: Log | None = None, quiet: bool = False) -> list[dict[str, Any]]:
    """Train, evaluate and write the run folder of each seed; returns their summaries with `run_dir`.

    If the folder holds an interrupted run of this configuration, it is resumed; the result is bit-identical to an
    uninterrupted run. `log`: data instead of the task's own; `quiet`: print nothing.

    Raises InputError before anything is written when the configuration or the data cannot be used; RunStopped when the
    environment fails or a file cannot be written, FloatingPointError for NaN or inf, Interrupted for signals.
    """
    began = time.perf_counter()
    process_settings(config.threads, config.deterministic)
    with Signals() as signals, ExitStack() as stack:
        build = Build.of(config, log)
        claims = [stack.enter_context(claim(single)) for single in config.singles]
        folder, hint = claims[0][0], "the same command starts it again"
        try:
            run = Run(config, build, claims, began)
            for recorder in run.recorders:
                stack.callback(recorder.close)
            signals.hint = run.resume_hint
            if not quiet:
                resumed = [f"resumed after gradient step {run.saved}; run_dir=NEW starts anew"] if run.saved else []
                folders = [f"run folder: {folder}" for folder in run.folders]
                print(f"data: {build.data.origin}", *folders, *resumed, sep="\n", file=sys.stderr)
            hint = ""
            run.loop(signals, quiet)
            return run.finish()
        except RunStopped as error:
            raise RunStopped(f"{error}; {hint or run.resume_hint()}") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise RunStopped(f"{folder} cannot be written: {reason}; {hint or run.resume_hint()}") from error
