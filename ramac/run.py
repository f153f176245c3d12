"""One run, start to end: everything is built and checked before the run folder is made."""

import csv
import ctypes
import itertools
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from tensordict import TensorDict
from tqdm import tqdm

from ramac.agent import Agent, save
from ramac.data import Log
from ramac.errors import InputError
from ramac.evaluate import tails
from ramac.registry import actors, critics, evaluations, losses, risks, tasks, trainers
from ramac.spec import Spec
from ramac.tasks import Dataset, configured
from ramac.trainer import Trainer

PACKAGES = ["ramac", "torch", "tensordict", "torchrl", "diffusers", "torchdyn", "hydra-core", "minari"]
PACKAGES += ["gymnasium", "mujoco", "numpy"]
EPISODE = ["episode", "return", "length", "risky_steps", "penalties"]
Row = Mapping[str, Any]


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


def refuse_taken(run_dir: str | None) -> None:
    """Refuse a `run_dir` that holds something. Raises InputError."""
    if run_dir is not None and (folder := Path(str(run_dir))).exists() and (folder.is_file() or any(folder.iterdir())):
        raise InputError(f"run_dir={folder} already holds something; name a new folder")


def make_folder(run_dir: str | None, label: str) -> Path:
    """Make the folder of a run: `run_dir`, or the first free `runs/<label>`. Raises InputError when that fails."""
    names = (label if count == 1 else f"{label}-{count}" for count in itertools.count(1))
    folder = Path(str(run_dir)) if run_dir is not None else Path("runs", next(names))
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=run_dir is not None)
            return folder
        except FileExistsError:  # another run's, perhaps made a moment ago
            folder = Path("runs", next(names))
        except OSError as error:
            raise InputError(f"run folder {folder} cannot be made: {error.strerror}") from error


def keep_memory() -> None:
    """Let glibc reuse large blocks instead of mapping them anew in each update (bandit, one core: 1.4 times faster)."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        m_trim_threshold, m_mmap_threshold = -1, -3
        libc.mallopt(m_mmap_threshold, 32 * 2**20)  # the largest that glibc takes
        libc.mallopt(m_trim_threshold, 2**30)


def environment() -> str:
    """What a bug report needs: versions, machine, command."""
    lines = [f"command: {' '.join([Path(sys.argv[0]).name, *sys.argv[1:]])}", f"python: {platform.python_version()}"]
    lines += [f"platform: {platform.platform()}", f"cores: {os.cpu_count()}, threads: {torch.get_num_threads()}"]
    for package in PACKAGES:
        try:
            lines.append(f"{package}: {version(package)}")
        except PackageNotFoundError:
            lines.append(f"{package}: not installed")
    return "\n".join(lines) + "\n"


def progress(updates: Iterable[TensorDict], total: int, label: str) -> "tqdm[TensorDict]":
    """The updates, with a bar on standard error: twice a second on a terminal, twice a minute in a log file."""
    pause = 0.5 if sys.stderr.isatty() else 30
    return tqdm(updates, total=total, unit="update", file=sys.stderr, desc=label, mininterval=pause)


@contextmanager
def table(path: Path, header: list[str]) -> Iterator[Callable[[Iterable[Row]], None]]:
    """A csv file that is written row by row and readable while the run goes on."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()

        def write(rows: Iterable[Row]) -> None:
            writer.writerows(rows)
            file.flush()

        yield write


def assemble(config: DictConfig, spec: Spec, transitions: TensorDict, device: torch.device) -> Trainer:
    """Agent, loss terms and trainer of a configuration. Raises InputError when parts do not go together."""
    # a setting such as loss.td.gamma stays in the configuration when its term is not asked for
    terms = {key: losses.build(node) for key, node in config.loss.items() if OmegaConf.is_dict(node) and "name" in node}
    if not any(term.group for term in terms.values()):
        raise InputError(f"loss=[{','.join(map(str, terms))}] trains nothing; choose from {', '.join(losses)}")
    torch.manual_seed(config.seed)
    agent = Agent.build(config, spec).to(device)
    return trainers.build(config.trainer, agent, terms, transitions.to(device), config.seed)


def train(config: DictConfig, log: Log | None = None) -> dict[str, Any]:
    """Train, evaluate and write the run folder; returns the content of summary.json plus `run_dir`.

    `log`: the task's data instead of its own.

    Raises InputError before anything is written when the configuration or the data cannot be used.
    """
    began = time.perf_counter()
    seed, log_every = whole_number(config, "seed", 0), whole_number(config, "log_every", 1)
    device = device_of(config.device)
    keep_memory()
    task, evaluation = configured(config, log), evaluations.build(config.evaluation)
    # tried without data first: a wrong argument must not wait for a dataset to be collected
    assemble(config, Spec.unit(1, 1), TensorDict(batch_size=[1]), torch.device("cpu"))
    names = {"task": tasks.label(config.task)} | ({"recipe": str(config.recipe)} if config.get("recipe") else {})
    names |= {"actor": actors.label(config.actor), "critic": critics.label(config.critic)}
    names |= {"risk": risks.label(config.risk)}
    label = "-".join([*names.values(), f"seed{seed}"])
    refuse_taken(config.run_dir)
    data: Dataset = task.dataset()
    trainer = assemble(config, data.spec, data.transitions, device)
    terms = list(trainer.loss.terms)
    folder = make_folder(config.run_dir, label)
    OmegaConf.save(config, folder / "config.yaml", resolve=True)
    (folder / "environment.txt").write_text(environment())
    print(f"data: {data.origin}\nrun folder: {folder}", file=sys.stderr)

    with (
        table(folder / "metrics.csv", ["step", "name", "value"]) as write_metrics,
        table(folder / "episodes.csv", ["step", *EPISODE]) as write_episodes,
    ):
        started = time.perf_counter()
        training = 0.0
        bar = progress(trainer.run(), trainer.steps, label)
        for step, metrics in enumerate(bar, 1):
            if step % log_every == 0 or step == trainer.steps:
                values = {str(key): value.item() for key, value in metrics.items()}
                write_metrics({"step": step, "name": key, "value": value} for key, value in values.items())
                refuse_nan(values, step, folder)
                bar.set_postfix_str(" ".join(f"{k}={v:.3g}" for k, v in values.items() if "loss" in k), refresh=False)
            if step == trainer.steps or (evaluation.every and step % evaluation.every == 0):
                training += time.perf_counter() - started
                episodes = evaluation.run(trainer.target, task, seed)
                write_episodes({"step": step, **row} for row in episodes)
                save(trainer.target, config, folder / "checkpoint")
                started = time.perf_counter()
    title = f"{config.recipe}: " if "recipe" in names else ""
    title += "{actor} x {critic} x {risk}, ".format(**names)
    title += f"{'+'.join(terms)}, seed {seed}, {trainer.steps} updates"
    returns = np.array([row["return"] for row in episodes])
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        own = task.report(trainer.target.act, data, returns, title, folder)
    summary = {
        **names, "data": data.origin, "loss": terms, "seed": seed, "steps": trainer.steps, "device": str(device),
        **evaluation.summary(episodes), **own,
        "behaviour": {"episodes": len(data.returns), "return_mean": float(data.returns.mean()),
                      "return_cvar": tails(data.returns, evaluation.alphas)},
        "updates_per_second": trainer.steps / training, "wall_seconds": time.perf_counter() - began,
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return {**summary, "run_dir": str(folder)}


def refuse_nan(values: Mapping[str, float], step: int, folder: Path) -> None:
    """Stop a run whose numbers are gone, naming the first. Raises FloatingPointError."""
    for name, value in values.items():
        if value != value or value in (float("inf"), float("-inf")):
            raise FloatingPointError(f"{name} is {value} at update {step}; the run in {folder} stops here")
