"""One run from its configuration to its summary: build, claim the folder, resume, loop, finish."""

import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict

from ramac.agent import Agent
from ramac.data import Dataset, Log
from ramac.errors import InputError, RunStopped, optional, warn
from ramac.evaluation.rollout import Evaluation, try_out
from ramac.experiment import progress as states
from ramac.experiment.config import RunConfig
from ramac.experiment.folder import RunFolder, claim
from ramac.experiment.problem import problem_of
from ramac.experiment.progress import Clock, Progress
from ramac.experiment.recorder import Recorder
from ramac.experiment.resume import finished, refuse_taken
from ramac.experiment.writers import refuse_missing
from ramac.losses import build_terms
from ramac.registry import evaluations, losses, trainers
from ramac.spec import Spec
from ramac.system.runtime import device_of, numerics, process_settings, progress_bar
from ramac.system.signals import Signals
from ramac.system.untrusted import YAML_BYTES
from ramac.tasks import Task, configured
from ramac.text import say
from ramac.training.gradients import refuse_idle
from ramac.training.nan_guard import NanGuard
from ramac.training.renewal import renew_utility
from ramac.training.trainer import Trainer


def build_trainer(config: RunConfig, spec: Spec, transitions: TensorDict, device: torch.device) -> Trainer:
    """Agent, loss terms and trainer of one seed. Raises InputError when parts do not go together.

    Weights and noise on one side, the order of batches on the other have streams of their own.
    """
    weights, batches = (int(part.generate_state(1)[0]) for part in np.random.SeedSequence(config.seed).spawn(2))
    torch.manual_seed(weights)
    agent = Agent.build(config.plain, spec).to(device)
    terms = build_terms(config.loss, agent.actor.data_spec)  # with dials: networks of terms read them too
    if not any(term.group for term in terms.values()):
        raise InputError(f"loss=[{','.join(terms)}] trains nothing; choose from {', '.join(losses)}")
    if agent.acting.candidates > 1 and "td" not in terms:
        raise InputError(f"candidates={agent.acting.candidates} are judged by the critic, which only td trains")
    return trainers.build(config.trainer, agent, terms, transitions.to(device), batches)


def refuse_long(config: RunConfig) -> None:
    """Refuse a configuration that could not be read again. Raises InputError."""
    size = len(OmegaConf.to_yaml(OmegaConf.create(config.plain)).encode())
    if size > YAML_BYTES:
        text = f"the configuration has {size / 1024:.0f} KiB; at most {YAML_BYTES // 1024} can be read again"
        raise InputError(f"{text}; columns named obs_0, obs_1, ... need no data.columns")


def dry_build(config: RunConfig, log: Log | None = None) -> None:
    """Build every part without data: a wrong argument is refused before a dataset is collected. Raises InputError."""
    refuse_long(config)
    device_of(config.device)
    refuse_missing(config.logger)
    task = configured(config.plain, log)
    evaluation: Evaluation = evaluations.build(config.evaluation)
    trainer = build_trainer(config, Spec.unit(1, 1), TensorDict(batch_size=[1]), torch.device("cpu"))
    evaluation.refuse_average(trainer.steps)
    if evaluation.average > 1 and not task.has_environment:
        raise InputError(f"evaluation.average={evaluation.average} is over episodes; this task has no environment")


@dataclass
class Build:
    """The parts of a run, made and checked; nothing is written yet."""

    task: Task
    evaluation: Evaluation
    data: Dataset
    trainer: Trainer

    @classmethod
    def of(cls, config: RunConfig, problem: tuple[Task, Dataset] | None = None) -> "Build":
        """Build everything, on the run's device. Raises InputError."""
        task, data = problem or problem_of(config)
        trainer = build_trainer(config, data.spec, data.transitions, device_of(config.device))
        renew_utility(trainer, data.log, config.gamma)
        refuse_idle(trainer)
        return cls(task, evaluations.build(config.evaluation), data, trainer)


class Run:
    """A run while its process lasts: trainer, recorder, clock, and the last saved state."""

    def __init__(self, config: RunConfig, build: Build, folder: RunFolder, resumes: bool, began: float) -> None:
        """If the folder holds an interrupted run, resume after its newest undamaged state. Raises InputError."""
        self.config, self.trainer, self.data, self.evaluation = config, build.trainer, build.data, build.evaluation
        self.folder = folder
        progress = self.resume() if resumes else None
        self.saved = 0 if progress is None else progress.updates  # gradient step of the last saved state
        self.clock = Clock(began, progress)
        self.recorder = Recorder(folder, config, build.trainer, build.task, build.evaluation, build.data, progress)
        self.guard = NanGuard(build.trainer, folder.path)

    def resume(self) -> Progress | None:
        """Put the newest undamaged state into the trainer; None where there is none. Raises InputError."""
        states.refuse_other_version(self.folder)
        if (found := states.newest(self.folder, self.trainer.state())) is None:
            return None
        state, progress = found
        if progress.data != self.data.digest:
            text = f"run_dir={self.folder}: gradient step {progress.updates} was reached with other data"
            raise InputError(f"{text} than there are now ({self.data.origin}); name a new folder")
        self.compare_circumstances(progress)
        try:
            self.trainer.load_state(state, progress.metrics, progress.updates)
        except RuntimeError as error:
            raise InputError(f"the training state in {self.folder} cannot be used: {error}") from error
        return progress

    def compare_circumstances(self, progress: Progress) -> None:
        """Warn of what can make a resumed run round differently."""
        before, now = progress.circumstances, numerics(self.trainer.step.device)
        changed = [f"{key} {before.get(key)}, now {value}" for key, value in now.items() if before.get(key) != value]
        if progress.together != 1:
            changed.append(f"{progress.together} seeds as one, now alone")
        if changed:
            warnings.warn(f"{self.folder} began with {'; '.join(changed)}: numbers may round differently", stacklevel=2)

    def loop(self, signals: Signals, quiet: bool) -> None:
        """The gradient steps that are left; after each, log, save and evaluate when their turn has come.

        The state is saved before an evaluation, which may take long or fail but cannot change the training.
        """
        trainer, config, steps, before = self.trainer, self.config, self.trainer.steps, self.trainer.step_count

        def turn(every: int, step: int) -> bool:
            return bool(every) and step % every == 0

        if before and (before == steps or turn(self.evaluation.every, before)):
            self.evaluate(before)
        bar = progress_bar(trainer.run(), steps, config.name, quiet, before)
        with signals.delayed():
            for step, metrics in enumerate(bar, before + 1):
                evaluated = step == steps or turn(self.evaluation.every, step)
                self.guard.see(step, metrics)
                if turn(config.log_every, step) or step == steps:
                    self.guard.check()
                    values = self.recorder.log(step, metrics).items()
                    bar.set_postfix_str(" ".join(f"{k}={v:.3g}" for k, v in values if "loss" in k), refresh=False)
                if evaluated or turn(config.save_every, step) or signals.received:
                    self.save(step, metrics)
                signals.raise_received()
                if evaluated:
                    with signals.delayed(False), bar.paused("evaluation"):
                        self.evaluate(step)

    def save(self, step: int, metrics: TensorDict) -> None:
        """Save the training state. Raises OSError, FloatingPointError for non-finite values."""
        self.guard.check()
        progress = Progress(
            step, self.data.digest, {str(key): value.item() for key, value in metrics.items()},
            training_seconds=self.clock.training_seconds, seconds=self.clock.seconds,
            circumstances=numerics(self.trainer.step.device),
        )  # fmt: skip
        self.recorder.save(self.trainer.state(), progress)
        self.saved = step

    def evaluate(self, step: int) -> None:
        """Evaluate the policy. Raises RunStopped."""
        self.guard.check()
        with self.clock.paused():
            self.recorder.evaluate(step)

    def finish(self) -> dict[str, Any]:
        """Write the summary; returns it with `run_dir`. Warns of what the trained parts have to say."""
        with optional("the warnings of the trained parts"):
            for text in self.trainer.warnings():
                warn(text)
        speed = self.trainer.steps / self.clock.training_seconds
        return {**self.recorder.finish(speed, self.clock), "run_dir": str(self.folder)}

    def resume_hint(self) -> str:
        """How to continue, for the end of a message."""
        if not self.saved:
            return "the same command starts it again"
        return f"the same command or ramac resume {self.folder} resumes after gradient step {self.saved}"


def train(config: RunConfig, log: Log | None = None, quiet: bool = False) -> list[dict[str, Any]]:
    """Train, evaluate and write the run folder of each seed, one after the other; returns their summaries.

    If a folder holds an interrupted run of this configuration, it is resumed; the result is bit-identical to an
    uninterrupted run. Of several seeds those that are finished are not trained again. `log`: data instead of the task's
    own; `quiet`: print nothing. A summary has `failure` in place of returns where a reward became nan or infinite.

    Raises InputError before anything is written when the configuration or the data cannot be used; RunStopped when the
    environment fails or a file cannot be written, FloatingPointError for NaN or inf, Interrupted for signals.
    """
    process_settings(config.threads, config.deterministic)
    dry_build(config, log)
    refuse_taken(config)
    problem = cache(lambda: problem_of(config, log))  # the seeds share their data
    if config.seeds is None:
        return [train_seed(config, problem, quiet)]
    with Signals() as signals:
        signals.hint = lambda: "the same command trains the seeds that are missing"
        return [finished(one, lambda: problem()[1].digest) or train_seed(one, problem, quiet) for one in config.singles]


def train_seed(config: RunConfig, problem: Callable[[], tuple[Task, Dataset]], quiet: bool) -> dict[str, Any]:
    """`train` for one seed."""
    began = time.perf_counter()
    with Signals() as signals, ExitStack() as stack:
        build = Build.of(config, problem())
        stack.callback(build.trainer.release)
        if build.task.has_environment:
            try_out(build.trainer.agent, build.task, build.evaluation, config.seed)
        folder, resumes = stack.enter_context(claim(config))
        try:
            run = Run(config, build, folder, resumes, began)
        except OSError as error:
            raise unwritable(folder, error, "the same command starts it again") from error
        stack.callback(run.recorder.close)
        signals.hint = run.resume_hint
        if not quiet:
            resumed = [f"resumed after gradient step {run.saved}; run_dir=NEW starts anew"] if run.saved else []
            judge = ["environment: {id} ({rule})".format(**judge)] if (judge := build.data.environment) else []
            say(f"data: {build.data.origin}", *judge, f"run folder: {folder}", *resumed, error=True)
        try:
            run.loop(signals, quiet)
            return run.finish()
        except RunStopped as error:
            raise RunStopped(f"{error}; {run.resume_hint()}") from error
        except OSError as error:
            raise unwritable(folder, error, run.resume_hint()) from error


def unwritable(folder: RunFolder, error: OSError, hint: str) -> RunStopped:
    """The exception for a file of a run that cannot be written."""
    return RunStopped(f"{folder} cannot be written: {error.strerror or error}; {hint}")
