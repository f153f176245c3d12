"""What a run writes while it is trained and when it ends."""

import shutil
import traceback
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor

from ramac import checkpoint
from ramac.data import Dataset
from ramac.errors import RunStopped
from ramac.evaluation.rollout import Evaluation
from ramac.experiment import progress as states
from ramac.experiment.config import RunConfig
from ramac.experiment.folder import RunFolder
from ramac.experiment.loggers import Loggers, numbers
from ramac.experiment.progress import Clock, Progress
from ramac.experiment.writers.tables import read_episodes
from ramac.statistics import tails
from ramac.system.files import PART, whole, write_json
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
        with folder.environment_file.open("w" if progress is None else "a") as file:
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

        The best has the highest value of the run's own risk measure over its returns. Raises RunStopped when the
        environment fails.
        """
        policy = self.trainer.target
        if self.task.has_environment:
            try:
                self.episodes = self.evaluation.run(policy, self.task, self.config.seed)
            except FloatingPointError:  # raised by the policy
                raise
            except Exception as error:
                self.folder.traceback_file.write_text(traceback.format_exc())
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                text = f"evaluation after gradient step {step} failed: {reason}"
                raise RunStopped(f"{text}; {self.folder.traceback_file} says where") from error
            self.loggers.evaluated(step, self.episodes)
        best = self.is_best(step)
        if self.evaluation.keep or best:
            checkpoint.save(policy, self.config.plain, self.folder.checkpoints / str(step), step)
        checkpoint.save(policy, self.config.plain, self.folder.checkpoint, step)
        if best and not self.evaluation.keep:
            for path in self.folder.checkpoints.iterdir():
                if path.name != str(step):
                    shutil.rmtree(path)

    def is_best(self, step: int) -> bool:
        """Whether the last evaluation is the best so far; False when there is only the final evaluation."""
        if not self.episodes or not self.evaluation.every:
            return False
        policy = self.trainer.target
        # the entropic measure counts per standard deviation; float32 would lose differences at a large mean
        mean, std = policy.critic.data_spec.return_mean, policy.critic.data_spec.return_std
        returns = torch.tensor([row["return"] for row in self.episodes], dtype=torch.float64)
        value = mean + std * policy.risk.of_samples((returns - mean) / std).item()
        if self.best and not value > self.best["risk"]:
            return False
        self.best = {"step": step, "risk": value}
        return True

    def finish(self, speed: float, clock: Clock) -> dict[str, Any]:
        """Draw the task's figures and write summary.json, which marks the run as finished; returns the summary.

        `speed`: gradient steps per second.
        """
        config, trainer, data = self.config, self.trainer, self.data
        terms, policy, device = list(config.loss), trainer.target, trainer.target.actor.scaling.centre.device
        scored = self.scored()
        with seeded(config.seed, device):
            returns = np.array([row["return"] for rows in scored.values() for row in rows])
            own = self.task.report(policy.act, data, returns, self.title(), self.folder.path)
            if not self.task.has_environment:
                own |= {"estimate": self.estimate()}
            cost = evaluations_per_update(trainer)
        summary = {
            **config.names, "data": data.origin, "data_sha256": data.digest, "loss": terms,
            "seed": config.seed, "steps": trainer.steps, "device": str(device),
            "checkpoint": source(trainer.steps, scored) | ({"best": self.best} if self.best else {}),
            **(self.evaluation.summary(*scored.values()) if scored else {}), **own,
            "behaviour": {"episodes": len(data.returns), "return_mean": float(data.returns.mean()),
                          "return_cvar": tails(data.returns, self.evaluation.alphas)},
            "evaluations_per_update": cost, "threads": torch.get_num_threads(), "host": host(),
            "updates_per_second": speed, "wall_seconds": clock.seconds,
        }  # fmt: skip
        write_json(self.folder.summary_file, summary)
        self.loggers.each("finish", numbers(summary))
        shutil.rmtree(self.folder.states, ignore_errors=True)
        return summary

    def scored(self) -> dict[int, list[dict[str, Any]]]:
        """Episodes of the checkpoints that the run is scored over, by gradient step; empty without an environment."""
        average = self.evaluation.average
        if average == 1 or not self.episodes:
            return {self.trainer.steps: self.episodes} if self.episodes else {}
        found = read_episodes(self.folder.episodes_file, self.folder.path)  # a resumed run has not seen them all
        return {step: found[step] for step in sorted(found)[-average:]}

    def title(self) -> str:
        """Title of the run's figures."""
        names, terms = self.config.names, "+".join(self.config.loss)
        recipe = f"{names['recipe']}: " if "recipe" in names else ""
        cell = "{actor} x {critic} x {risk}".format(**names)
        return f"{recipe}{cell}, {terms}, seed {self.config.seed}, {self.trainer.steps} steps"

    def estimate(self) -> dict[str, Any]:
        """The off-policy estimate of the policy of a task without an environment."""
        from ramac.experiment.estimate import brief, checkpoints, judge  # matplotlib: only such tasks need it here

        agents, config = checkpoints(self.folder.path, self.trainer.steps), self.config
        alphas = self.evaluation.alphas
        return brief(judge(self.folder.path, agents, self.data, config.gamma, alphas, config.seed))

    def close(self) -> None:
        """Close the loggers."""
        self.loggers.each("close")


def source(step: int, scored: Mapping[int, list[dict[str, Any]]]) -> dict[str, Any]:
    """The checkpoint that a result is of; of several also their mean returns, by gradient step."""
    if len(scored) < 2:
        return {"step": step, "rule": "last"}
    means = {str(step): float(np.mean([row["return"] for row in rows])) for step, rows in scored.items()}
    return {"step": step, "rule": f"mean over the last {len(scored)} evaluated", "return_means": means}
