"""What a run writes while it is trained and when it ends."""

import json
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from tensordict import TensorDict

from ramac.agent import save
from ramac.counting import evaluations_per_update
from ramac.evaluate import Evaluation
from ramac.folder import EPISODE, environment, make_folder, table
from ramac.registry import actors, critics, risks, tasks
from ramac.statistics import tails
from ramac.tasks import Dataset, Task
from ramac.trainer import Trainer


def names_of(config: DictConfig) -> dict[str, str]:
    """Task, recipe and parts of a configuration by their short names."""
    names = {"task": tasks.label(config.task)} | ({"recipe": str(config.recipe)} if config.get("recipe") else {})
    names |= {"actor": actors.label(config.actor), "critic": critics.label(config.critic)}
    return names | {"risk": risks.label(config.risk)}


def name_of(config: DictConfig) -> str:
    """Short name of a run: `bandit-flow-iqn-cvar0.1-seed0`."""
    return "-".join([*names_of(config).values(), f"seed{config.seed}"])


class Record:
    """The folder of a run: made when it is entered, its tables open until it is left."""

    def __init__(self, config: DictConfig, trainer: Trainer, task: Task, evaluation: Evaluation, data: Dataset) -> None:
        self.config, self.trainer, self.task, self.evaluation, self.data = config, trainer, task, evaluation, data
        self.episodes: list[dict[str, Any]] = []
        self.tables = ExitStack()

    def __enter__(self) -> Self:
        self.folder = make_folder(self.config.run_dir, name_of(self.config))
        OmegaConf.save(self.config, self.folder / "config.yaml", resolve=True)
        (self.folder / "environment.txt").write_text(environment())
        self.write_metrics = self.tables.enter_context(table(self.folder / "metrics.csv", ["step", "name", "value"]))
        self.write_episodes = self.tables.enter_context(table(self.folder / "episodes.csv", ["step", *EPISODE]))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tables.close()

    def log(self, step: int, metrics: TensorDict) -> dict[str, float]:
        """Write the metrics [] of an update and return them. Raises FloatingPointError where one is nan or infinite."""
        values = {str(key): value.item() for key, value in metrics.items()}
        self.write_metrics({"step": step, "name": key, "value": value} for key, value in values.items())
        refuse_nan(values, step, self.folder)
        return values

    def evaluate(self, step: int) -> None:
        """Roll out the averaged policy, write its episodes, and save it."""
        target = self.trainer.target
        if self.task.has_environment:
            self.episodes = self.evaluation.run(target, self.task, self.config.seed)
            self.write_episodes({"step": step, **row} for row in self.episodes)
        if self.evaluation.keep:
            save(target, self.config, self.folder / "checkpoints" / str(step))
        save(target, self.config, self.folder / "checkpoint")

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
                from ramac.estimate import brief, checkpoints, judge  # which itself looks at finished runs

                agents, gamma = checkpoints(folder, trainer.steps), float(config.loss.td.gamma)
                own |= {"estimate": brief(judge(folder, agents, data, gamma, evaluation.alphas, seed))}
            cost = evaluations_per_update(trainer)
        summary = {
            **names, "data": data.origin, "loss": terms, "seed": seed, "steps": trainer.steps, "device": str(device),
            "checkpoint": {"step": trainer.steps, "rule": "last"},
            **(evaluation.summary(self.episodes) if self.episodes else {}), **own,
            "behaviour": {"episodes": len(data.returns), "return_mean": float(data.returns.mean()),
                          "return_cvar": tails(data.returns, evaluation.alphas)},
            "evaluations_per_update": cost, "threads": torch.get_num_threads(),
            **speed, "wall_seconds": time.perf_counter() - began,
        }  # fmt: skip
        # whole or not at all: a grid takes a run that has one for done
        (folder / "summary.json.part").write_text(json.dumps(summary, indent=2) + "\n")
        os.replace(folder / "summary.json.part", folder / "summary.json")
        return {**summary, "run_dir": str(folder)}


def refuse_nan(values: Mapping[str, float], step: int, folder: Path) -> None:
    """Stop a run whose numbers are gone, naming the first. Raises FloatingPointError."""
    for name, value in values.items():
        if value != value or value in (float("inf"), float("-inf")):
            raise FloatingPointError(f"{name} is {value} at update {step}; the run in {folder} stops here")
