"""What a run writes while it is trained and when it ends."""

import shutil
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from ramac.checkpoint import save
from ramac.data import Dataset
from ramac.errors import RunStopped
from ramac.evaluation.rollout import Evaluation
from ramac.experiment import states
from ramac.experiment.claims import claim
from ramac.experiment.folder import EPISODE, Table
from ramac.experiment.states import Progress
from ramac.registry import actors, critics, risks, tasks
from ramac.statistics import tails
from ramac.system.files import PART, whole, write_json
from ramac.system.runtime import environment
from ramac.tasks import Task
from ramac.training.cost import evaluations_per_update
from ramac.training.state import State
from ramac.training.trainer import Trainer


def names_of(config: DictConfig) -> dict[str, str]:
    """Task, recipe and parts of a configuration by their short names."""
    names = {"task": tasks.label(config.task)} | ({"recipe": str(config.recipe)} if config.get("recipe") else {})
    names |= {"actor": actors.label(config.actor), "critic": critics.label(config.critic)}
    return names | {"risk": risks.label(config.risk)}


def name_of(config: DictConfig) -> str:
    """Short name of a run: `bandit-flow-iqn-cvar0.1-seed0`."""
    return "-".join([*names_of(config).values(), f"seed{config.seed}"])


class Record:
    """The folder of a run, which no other process writes into between `with` and its end.

    `begin` opens its tables: anew, or as they were when `progress` was saved.
    """

    def __init__(self, config: DictConfig, trainer: Trainer, task: Task, evaluation: Evaluation, data: Dataset) -> None:
        self.config, self.trainer, self.task, self.evaluation, self.data = config, trainer, task, evaluation, data
        self.episodes: list[dict[str, Any]] = []
        self.best: dict[str, float] = {}  # `step` and `risk` of the best evaluation
        self.resources = ExitStack()

    def __enter__(self) -> Self:
        self.folder, self.goes_on = self.resources.enter_context(claim(self.config, name_of(self.config)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.resources.close()

    def begin(self, progress: Progress | None) -> None:
        """Make the folder ready for the first update, or for the one after those of `progress`."""
        for part in self.folder.rglob(f".*{PART}"):  # that a killed process left
            if part.is_file():
                part.unlink()
        (self.folder / "traceback.txt").unlink(missing_ok=True)  # of an end that is overcome
        shutil.rmtree(self.folder / "nan", ignore_errors=True)
        updates, sizes = (0, {}) if progress is None else (progress.updates, progress.sizes)
        states.forget(self.folder, updates)
        if progress is None:
            with whole(self.folder / "config.yaml") as part:
                OmegaConf.save(self.config, part, resolve=True)
        else:
            self.best = dict(progress.best)
        with (self.folder / "environment.txt").open("w" if progress is None else "a") as file:
            file.write((f"\ngoes on from update {updates}\n" if progress else "") + environment())
        headers = {"metrics.csv": ["step", "name", "value"], "episodes.csv": ["step", *EPISODE]}
        self.tables = {name: Table(self.folder / name, row, sizes.get(name)) for name, row in headers.items()}
        for table in self.tables.values():
            self.resources.enter_context(table.file)

    def log(self, step: int, metrics: Mapping[str, Tensor]) -> dict[str, float]:
        """Write the metrics [] of an update and return them."""
        values = {str(key): value.item() for key, value in metrics.items()}
        self.tables["metrics.csv"].write({"step": step, "name": key, "value": value} for key, value in values.items())
        return values

    def save(self, state: State, progress: Progress) -> None:
        """Keep a training state, which the tables on the disk belong to. Raises OSError."""
        progress.sizes = {name: table.size() for name, table in self.tables.items()}
        progress.best = self.best
        states.save(self.folder, state, progress, self.config.save_last)

    def evaluate(self, step: int) -> None:
        """Roll out the averaged policy, write its episodes, and save it, also as the best so far.

        The best one is that of the highest risk measure of the run's own over its returns. Raises RunStopped when the
        environment fails.
        """
        target = self.trainer.target
        if self.task.has_environment:
            try:
                self.episodes = self.evaluation.run(target, self.task, self.config.seed)
            except FloatingPointError:  # of the policy
                raise
            except Exception as error:
                (self.folder / "traceback.txt").write_text(traceback.format_exc())
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                text = f"evaluation after update {step} failed: {reason}; {self.folder}/traceback.txt says where"
                raise RunStopped(text) from error
            self.tables["episodes.csv"].write({"step": step, **row} for row in self.episodes)
        best = self.is_best(step)
        if self.evaluation.keep or best:
            save(target, self.config, self.folder / "checkpoints" / str(step))
        save(target, self.config, self.folder / "checkpoint")
        if best and not self.evaluation.keep:
            for path in (self.folder / "checkpoints").iterdir():
                if path.name != str(step):
                    shutil.rmtree(path)

    def is_best(self, step: int) -> bool:
        """Whether the last evaluation is the best so far; it is not asked where there is only one."""
        if not self.episodes or not self.evaluation.every:
            return False
        target = self.trainer.target
        returns = torch.tensor([row["return"] for row in self.episodes], device=self.trainer.step.device)
        scaling = target.critic.scaling  # an entropic measure is meant per standard deviation
        value = float(scaling.to_return(target.risk.of_samples(scaling.to_standard(returns))))
        if self.best and not value > self.best["risk"]:
            return False
        self.best = {"step": step, "risk": value}
        return True

    def finish(self, speed: Mapping[str, float], began: float) -> dict[str, Any]:
        """Write what the task has to show and summary.json; returns its content plus `run_dir`."""
        config, trainer, data, folder, names = self.config, self.trainer, self.data, self.folder, names_of(self.config)
        seed, device, evaluation = config.seed, trainer.loss.step.device, self.evaluation
        terms = list(trainer.loss.terms)
        title = f"{config.recipe}: " if "recipe" in names else ""
        title += "{actor} x {critic} x {risk}, ".format(**names)
        title += f"{'+'.join(terms)}, seed {seed}, {trainer.steps} updates"
        returns = np.array([row["return"] for row in self.episodes])
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            own = self.task.report(trainer.target.act, data, returns, title, folder)
            if not self.task.has_environment:
                from ramac.experiment.estimate import brief, checkpoints, judge  # which itself looks at finished runs

                agents, gamma = checkpoints(folder, trainer.steps), float(config.loss.td.gamma)
                own |= {"estimate": brief(judge(folder, agents, data, gamma, evaluation.alphas, seed))}
            cost = evaluations_per_update(trainer)
        summary = {
            **names, "data": data.origin, "loss": terms, "seed": seed, "steps": trainer.steps, "device": str(device),
            "checkpoint": {"step": trainer.steps, "rule": "last"} | ({"best": self.best} if self.best else {}),
            **(evaluation.summary(self.episodes) if self.episodes else {}), **own,
            "behaviour": {"episodes": len(data.returns), "return_mean": float(data.returns.mean()),
                          "return_cvar": tails(data.returns, evaluation.alphas)},
            "evaluations_per_update": cost, "threads": torch.get_num_threads(),
            **speed, "wall_seconds": time.perf_counter() - began,
        }  # fmt: skip
        write_json(folder / "summary.json", summary)  # a run that has one is done
        shutil.rmtree(folder / "states", ignore_errors=True)
        return {**summary, "run_dir": str(folder)}
