"""One run, start to end: everything is built and checked before the run folder is made."""

import ctypes
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from tensordict import TensorDict
from tqdm import tqdm

from ramac.agent import Agent, save
from ramac.counting import evaluations_per_update
from ramac.data import Log
from ramac.errors import InputError
from ramac.folder import EPISODE, environment, make_folder, refuse_taken, table
from ramac.registry import actors, critics, evaluations, losses, risks, tasks, trainers
from ramac.spec import Spec
from ramac.statistics import tails
from ramac.tasks import Dataset, configured
from ramac.trainer import Trainer


def device_of(name: str) -> torch.device:
    """`auto` is the GPU where there is one. Raises InputError for a device that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.type not in ("cpu", "cuda"):  # evaluation keeps the generators of these apart
            raise RuntimeError(device.type)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise InputError(f"device={name} cannot be used here; choose auto, cpu or cuda") from error
    return device


def whole_number(config: Mapping[Any, Any], key: str, least: int, most: int = 2**32 - 1) -> int:
    """An integer setting. Raises InputError when it is something else or outside [least, most]."""
    value = config[key]
    if type(value) is not int or not least <= value <= most:
        raise InputError(f"{key} must be a whole number from {least} to {most}, got {value!r}")
    return value


def keep_memory() -> None:
    """Let glibc reuse large blocks instead of mapping them anew in each update (bandit, one core: 1.4 times faster)."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 32 * 2**20)  # the largest that glibc takes
        libc.mallopt(m_trim_threshold, 2**30)


def progress(updates: Iterable[TensorDict], total: int, label: str, quiet: bool = False) -> "tqdm[TensorDict]":
    """The updates, with a bar on standard error: twice a second on a terminal, twice a minute in a log file."""
    pause = 0.5 if sys.stderr.isatty() else 30
    return tqdm(updates, total=total, unit="update", file=sys.stderr, desc=label, mininterval=pause, disable=quiet)


def names_of(config: DictConfig) -> dict[str, str]:
    """Task, recipe and parts of a configuration by their short names."""
    names = {"task": tasks.label(config.task)} | ({"recipe": str(config.recipe)} if config.get("recipe") else {})
    names |= {"actor": actors.label(config.actor), "critic": critics.label(config.critic)}
    return names | {"risk": risks.label(config.risk)}


def name_of(config: DictConfig) -> str:
    """Short name of a run: `bandit-flow-iqn-cvar0.1-seed0`."""
    return "-".join([*names_of(config).values(), f"seed{config.seed}"])


def assemble(config: DictConfig, spec: Spec, transitions: TensorDict, device: torch.device) -> Trainer:
    """Agent, loss terms and trainer of a configuration. Raises InputError when parts do not go together."""
    # a setting such as loss.td.gamma stays in the configuration when its term is not asked for
    terms = {key: losses.build(node) for key, node in config.loss.items() if OmegaConf.is_dict(node) and "name" in node}
    if not any(term.group for term in terms.values()):
        raise InputError(f"loss=[{','.join(map(str, terms))}] trains nothing; choose from {', '.join(losses)}")
    torch.manual_seed(config.seed)
    agent = Agent.build(config, spec).to(device)
    if agent.acting.candidates > 1 and "td" not in terms:
        raise InputError(f"candidates={agent.acting.candidates} are judged by the critic, which only td trains")
    return trainers.build(config.trainer, agent, terms, transitions.to(device), config.seed)


def train(config: DictConfig, log: Log | None = None, quiet: bool = False) -> dict[str, Any]:
    """Train, evaluate and write the run folder; returns the content of summary.json plus `run_dir`.

    `log`: the task's data instead of its own; `quiet`: no bar, for several runs side by side.

    Raises InputError before anything is written when the configuration or the data cannot be used.
    """
    began = time.perf_counter()
    seed, log_every = whole_number(config, "seed", 0), whole_number(config, "log_every", 1)
    device = device_of(config.device)
    if config.get("threads") is not None:
        torch.set_num_threads(whole_number(config, "threads", 1, 4096))
    keep_memory()
    task, evaluation = configured(config, log), evaluations.build(config.evaluation)
    # tried without data first: a wrong argument must not wait for a dataset to be collected
    assemble(config, Spec.unit(1, 1), TensorDict(batch_size=[1]), torch.device("cpu"))
    names, label = names_of(config), name_of(config)
    refuse_taken(config.run_dir)
    data: Dataset = task.dataset()
    trainer = assemble(config, data.spec, data.transitions, device)
    folder = make_folder(config.run_dir, label)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    (folder / "environment.txt").write_text(environment())
    if not quiet:
        print(f"data: {data.origin}\nrun folder: {folder}", file=sys.stderr)

    episodes: list[dict[str, Any]] = []
    with (
        table(folder / "metrics.csv", ["step", "name", "value"]) as write_metrics,
        table(folder / "episodes.csv", ["step", *EPISODE]) as write_episodes,
    ):
        started = time.perf_counter()
        training = 0.0
        bar = progress(trainer.run(), trainer.steps, label, quiet)
        for step, metrics in enumerate(bar, 1):
            if step % log_every == 0 or step == trainer.steps:
                values = {str(key): value.item() for key, value in metrics.items()}
                write_metrics({"step": step, "name": key, "value": value} for key, value in values.items())
                refuse_nan(values, step, folder)
                bar.set_postfix_str(" ".join(f"{k}={v:.3g}" for k, v in values.items() if "loss" in k), refresh=False)
            if step == trainer.steps or (evaluation.every and step % evaluation.every == 0):
                training += time.perf_counter() - started
                if task.has_environment:
                    episodes = evaluation.run(trainer.target, task, seed)
                    write_episodes({"step": step, **row} for row in episodes)
                if evaluation.keep:
                    save(trainer.target, config, folder / "checkpoints" / str(step))
                save(trainer.target, config, folder / "checkpoint")
                started = time.perf_counter()
    terms = list(trainer.loss.terms)
    title = f"{config.recipe}: " if "recipe" in names else ""
    title += "{actor} x {critic} x {risk}, ".format(**names)
    title += f"{'+'.join(terms)}, seed {seed}, {trainer.steps} updates"
    returns = np.array([row["return"] for row in episodes])
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        own = task.report(trainer.target.act, data, returns, title, folder)
        if not task.has_environment:
            from ramac.estimate import brief, checkpoints, judge  # which itself looks at finished runs

            agents, gamma = checkpoints(folder, trainer.steps), float(config.loss.td.gamma)
            own |= {"estimate": brief(judge(folder, agents, data, gamma, evaluation.alphas, seed))}
        cost = evaluations_per_update(trainer)
    summary = {
        **names, "data": data.origin, "loss": terms, "seed": seed, "steps": trainer.steps, "device": str(device),
        "checkpoint": {"step": trainer.steps, "rule": "last"},
        **(evaluation.summary(episodes) if episodes else {}), **own,
        "behaviour": {"episodes": len(data.returns), "return_mean": float(data.returns.mean()),
                      "return_cvar": tails(data.returns, evaluation.alphas)},
        "evaluations_per_update": cost, "threads": torch.get_num_threads(),
        "updates_per_second": trainer.steps / training, "wall_seconds": time.perf_counter() - began,
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
