"""What a run writes while it is trained and when it ends."""

import math
import shutil
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor
from tqdm import tqdm

from ramac import checkpoint
from ramac.data import Dataset
from ramac.errors import RunStopped, described, optional, warn
from ramac.evaluation.checked import EnvironmentFault, NonFinite
from ramac.evaluation.rollout import Evaluation
from ramac.experiment import progress as states
from ramac.experiment.config import RunConfig
from ramac.experiment.fits import steps_of
from ramac.experiment.folder import RunFolder
from ramac.experiment.loggers import Loggers, numbers
from ramac.experiment.progress import Clock, Progress
from ramac.experiment.writers.tables import read_episodes
from ramac.statistics import tails
from ramac.system.files import PART, named, whole, write_json, write_traceback
from ramac.system.runtime import environment, host, seeded
from ramac.tasks import Task
from ramac.training.cost import evaluations_per_update
from ramac.training.trainer import Trainer


class Recorder:
    """Writes one seed's run into its folder, from the start or from where `progress` was saved."""

    def __init__(
        self, folder: RunFolder, config: RunConfig, trainer: Trainer, task: Task, evaluation: Evaluation, data: Dataset,
        progress: Progress | None,
    ) -> None:  # fmt: skip
        self.folder, self.config, self.trainer, self.task = folder, config, trainer, task
        self.evaluation, self.data = evaluation, data
        self.episodes: list[dict[str, Any]] = []  # of the last evaluation
        self.failures: dict[int, dict[str, Any]] = {}  # by gradient step: evaluations without a result
        self.best = {} if progress is None else dict(progress.best)  # `step` and `risk` of the best evaluation
        step, sizes = (0, {}) if progress is None else (progress.updates, progress.sizes)
        for part in folder.path.rglob(f".*{PART}"):  # left by a killed process
            if part.is_file():
                part.unlink()
        folder.traceback_file.unlink(missing_ok=True)  # left by the failed attempt that is resumed here
        shutil.rmtree(folder.path / "nan", ignore_errors=True)
        states.forget(folder, step)
        if progress is None:
            with whole(folder.config_file) as part:
                OmegaConf.save(OmegaConf.create(config.plain), part)
        path = folder.environment_file
        with named(path), path.open("w" if progress is None else "a", encoding="utf-8") as file:
            file.write((f"\nresumed after gradient step {step}\n" if progress else "") + environment())
        self.loggers = Loggers(folder, config, evaluation, sizes, progress is not None)

    def log(self, step: int, metrics: Mapping[str, Tensor]) -> dict[str, float]:
        """Write the metrics [] of a gradient step and return them."""
        values = {str(key): value.item() for key, value in metrics.items()}
        self.loggers.each("metrics", step, values)
        return values

    def save(self, state: Mapping[str, Tensor], progress: Progress) -> None:
        """Keep a training state together with the sizes of the tables at that moment. Raises OSError."""
        progress.sizes = self.loggers.sizes()
        progress.best = self.best
        states.save(self.folder, state, progress, self.config.save_last)

    def evaluate(self, step: int) -> None:
        """Roll out the averaged policy, write its episodes, and save it, also as the best so far.

        The best has the highest value of the run's own risk measure over its returns. A reward or an observation that
        is nan or infinite leaves the evaluation without a result. Raises RunStopped when the environment fails.
        """
        policy = self.trainer.target
        if self.task.has_environment:
            self.roll_out(step)
        best = self.is_best(step)
        if self.evaluation.keep or best:
            checkpoint.save(policy, self.config.plain, self.folder.checkpoints / str(step), step)
        checkpoint.save(policy, self.config.plain, self.folder.checkpoint, step)
        if best and not self.evaluation.keep:
            for path in self.folder.checkpoints.iterdir():
                if path.name != str(step):
                    shutil.rmtree(path)

    def roll_out(self, step: int) -> None:
        """Play the episodes of an evaluation and log them; keep why there are none. Raises RunStopped."""
        self.episodes = []
        try:
            self.episodes = self.evaluation.run(self.trainer.target, self.task, self.config.seed)
        except NonFinite as error:
            reason = f"evaluation after gradient step {step} has no result: {error}"
            self.failures[step] = {"reason": reason, "gradient_step": step, **error.where}
            if step < self.trainer.steps:
                with tqdm.external_write_mode(file=sys.stderr):  # not behind the progress bar, on its line
                    warn(f"{reason}; the training goes on")
            return
        except FloatingPointError:  # raised by the policy
            raise
        except Exception as error:
            write_traceback(self.folder.traceback_file)
            reason = str(error) if isinstance(error, EnvironmentFault) else described(error)
            text = f"evaluation after gradient step {step} failed: {reason}"
            raise RunStopped(f"{text}; {self.folder.traceback_file} says where") from error
        self.loggers.evaluated(step, self.episodes)

    def is_best(self, step: int) -> bool:
        """Whether the last evaluation is the best so far; False when there is only the final evaluation."""
        if not self.episodes or not self.evaluation.every:
            return False
        policy = self.trainer.target
        # the entropic measure counts per standard deviation; float32 would lose differences at a large mean
        mean, std = policy.critic.data_spec.return_mean, policy.critic.data_spec.return_std
        returns = torch.tensor([row["return"] for row in self.episodes], dtype=torch.float64)
        value = mean + std * policy.risk.whole.of_samples((returns - mean) / std).item()
        if self.best and not value > self.best["risk"]:
            return False
        self.best = {"step": step, "risk": value}
        return True

    def finish(self, speed: float, clock: Clock) -> dict[str, Any]:
        """Draw the task's figures and write summary.json, which marks the run as finished; returns the summary.

        `speed`: gradient steps per second. What fails here is left out with a warning.
        """
        config, trainer, data = self.config, self.trainer, self.data
        scored = self.scored()
        summary = {
            **config.names, "data": data.origin, "data_sha256": data.digest, "loss": list(config.loss),
            **({"environment": data.environment} if data.environment else {}), **trainer.target.context.played,
            "seed": config.seed, "steps": trainer.steps, "device": str(trainer.target.actor.scaling.centre.device),
            "checkpoint": source(trainer.steps, scored) | ({"best": self.best} if self.best else {}),
            **self.returned(scored),
            "behaviour": {"episodes": len(data.returns), "return_mean": float(data.returns.mean()),
                          "return_cvar": tails(data.returns, self.evaluation.alphas)},
            "threads": torch.get_num_threads(), "host": host(),
            "updates_per_second": speed, "wall_seconds": clock.seconds,
        }  # fmt: skip
        summary = plain(summary)
        write_json(self.folder.summary_file, summary)
        with optional("the summary of the loggers"):
            self.loggers.each("finish", numbers(summary))
        shutil.rmtree(self.folder.states, ignore_errors=True)
        return summary

    def returned(self, scored: Mapping[int, list[dict[str, Any]]]) -> dict[str, Any]:
        """Statistics of the episodes or why there are none, what task and estimate add, and the cost."""
        policy, task, found = self.trainer.target, self.task, dict[str, Any]()
        returns = np.array([row["return"] for rows in scored.values() for row in rows])
        if scored:
            with optional("the statistics of the returns"):
                found |= self.evaluation.summary(*scored.values())
        with seeded(self.config.seed, policy.actor.scaling.centre.device):
            if task.has_environment and not scored:
                found["failure"] = self.failure()
            else:
                keys = ", ".join(column.key for column in task.columns)
                what = f"figures of task={self.config.names['task']}"
                with optional(f"{what}, and {keys} of summary.json" if keys else what):
                    found |= plain(task.report(policy.act, self.data, returns, self.title(), self.folder.path))
            if not task.has_environment and steps_of(self.config.estimate, self.trainer.steps):
                with optional("estimate of summary.json"):
                    found["estimate"] = self.estimate()
            with optional("evaluations_per_update of summary.json"):
                found["evaluations_per_update"] = evaluations_per_update(self.trainer)
        return found

    def judged(self) -> list[int]:
        """Gradient steps of the checkpoints that the run is scored over."""
        every, steps = self.evaluation.every, self.trainer.steps
        return sorted({*range(every, steps, every or steps), steps} - {0})[-self.evaluation.average :]

    def scored(self) -> dict[int, list[dict[str, Any]]]:
        """Their episodes, by gradient step; empty without an environment or where one of them has no result."""
        if self.evaluation.average == 1 or not self.episodes:
            return {self.trainer.steps: self.episodes} if self.episodes else {}
        found = read_episodes(self.folder.episodes_file, self.folder.path)  # a resumed run has not seen them all
        return {step: found[step] for step in self.judged()} if {*self.judged()} <= {*found} else {}

    def failure(self) -> dict[str, Any]:
        """The last of these checkpoints' evaluations that has no result, and why."""
        there = read_episodes(self.folder.episodes_file, self.folder.path)
        step = max(step for step in self.judged() if step not in there)
        reason = f"evaluation after gradient step {step} has no result"  # an earlier process knew why
        return self.failures.get(step, {"reason": reason, "gradient_step": step})

    def title(self) -> str:
        """Title of the run's figures."""
        names, terms = self.config.names, "+".join(self.config.loss)
        recipe = f"{names['recipe']}: " if "recipe" in names else ""
        cell = "{actor} x {critic} x {risk}".format(**names)
        return f"{recipe}{cell}, {terms}, seed {self.config.seed}, {self.trainer.steps} steps"

    def estimate(self) -> dict[str, Any]:
        """The off-policy estimate of the policy of a task without an environment."""
        from ramac.experiment.estimate import (
            Fits,
            brief,
            checkpoints,
            judge,
        )  # matplotlib: only such tasks need it here

        agents, config = checkpoints(self.folder.path, self.trainer.steps), self.config
        fits = Fits(config.seed, steps_of(config.estimate, self.trainer.steps), config.estimate["fits"])
        return brief(judge(self.folder.path, agents, self.data, config.gamma, self.evaluation.alphas, fits))

    def close(self) -> None:
        """Close the loggers."""
        with optional("the end of a logger"):
            self.loggers.each("close")


def plain(value: Any) -> Any:
    """Plain data for JSON: arrays as lists, null for a number that is nan or infinite, other objects as text."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(part) for part in value]
    if isinstance(value, np.ndarray | np.generic | Tensor):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def source(step: int, scored: Mapping[int, list[dict[str, Any]]]) -> dict[str, Any]:
    """The checkpoint that a result is of; of several also their mean returns, by gradient step."""
    if len(scored) < 2:
        return {"step": step, "rule": "last"}
    means = {str(step): float(np.mean([row["return"] for row in rows])) for step, rows in scored.items()}
    return {"step": step, "rule": f"mean over the last {len(scored)} evaluated", "return_means": means}
