"""One run, start to end: everything is built and checked before the run folder is made."""

import copy
import ctypes
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from tensordict import TensorDict
from tqdm import tqdm

from ramac.agent import Agent
from ramac.data import Log
from ramac.errors import InputError
from ramac.folder import refuse_taken
from ramac.record import Record, name_of
from ramac.registry import evaluations, losses, trainers
from ramac.spec import Spec
from ramac.stacked import Stacked
from ramac.tasks import Dataset, configured
from ramac.trainer import Trainer

SEEDS = 2**32 - 1  # the largest that NumPy takes


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


def whole_number(config: Mapping[Any, Any], key: str, least: int, most: int = SEEDS) -> int:
    """An integer setting. Raises InputError when it is something else or outside [least, most]."""
    value = config[key]
    if type(value) is not int or not least <= value <= most:
        raise InputError(f"{key} must be a whole number from {least} to {most}, got {value!r}")
    return value


def refuse_numbers(config: DictConfig) -> None:
    """Refuse numbers of a run that no run takes, whatever its entries. Raises InputError."""
    for key, least, most in (("seed", 0, SEEDS), ("log_every", 1, SEEDS), ("threads", 1, 4096), ("seeds", 1, 1024)):
        if config[key] is not None or key in ("seed", "log_every"):
            whole_number(config, key, least, most)
    if config.seeds is not None and config.seed + config.seeds - 1 > SEEDS:
        raise InputError(f"seed={config.seed} seeds={config.seeds}: the last seed would be above {SEEDS}")


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

    With `seeds`, that many seeds are trained as one, each with a folder of its own: their summaries are in `runs`.
    `log`: the task's data instead of its own; `quiet`: no bar, for several runs side by side.

    Raises InputError before anything is written when the configuration or the data cannot be used.
    """
    began = time.perf_counter()
    refuse_numbers(config)
    device = device_of(config.device)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    keep_memory()
    task, evaluation = configured(config, log), evaluations.build(config.evaluation)
    # tried without data first: a wrong argument must not wait for a dataset to be collected
    assemble(config, Spec.unit(1, 1), TensorDict(batch_size=[1]), torch.device("cpu"))
    refuse_taken(config.run_dir)
    data: Dataset = task.dataset()
    cells = [config] if config.seeds is None else [of_seed(config, config.seed + i) for i in range(config.seeds)]
    single, states = [], []
    for cell in cells:
        single.append(assemble(cell, data.spec, data.transitions, device))
        states.append((torch.cuda if device.type == "cuda" else torch).get_rng_state())
    together: Trainer | Stacked = single[0] if len(cells) == 1 else Stacked(single, states)
    with ExitStack() as stack:
        pairs = zip(cells, single, strict=True)
        records = [stack.enter_context(Record(*pair, task, evaluation, data)) for pair in pairs]
        if not quiet:
            folders = [f"run folder: {record.folder}" for record in records]
            print(f"data: {data.origin}", *folders, sep="\n", file=sys.stderr)
        label = name_of(config) + (f" to {cells[-1].seed}" if len(cells) > 1 else "")
        started, training = time.perf_counter(), 0.0
        bar = progress(together.run(), together.steps, label, quiet)
        for step, metrics in enumerate(bar, 1):
            last = step == together.steps
            if step % config.log_every == 0 or last:
                each = [metrics] if len(cells) == 1 else metrics.unbind(0)
                logged = [record.log(step, found) for record, found in zip(records, each, strict=True)]
                values = logged[0].items()
                bar.set_postfix_str(" ".join(f"{k}={v:.3g}" for k, v in values if "loss" in k), refresh=False)
            if last or (evaluation.every and step % evaluation.every == 0):
                training += time.perf_counter() - started
                for record in records:
                    record.evaluate(step)
                started = time.perf_counter()
    speed = {"updates_per_second": together.steps / training}
    speed |= {"seeds_together": len(cells)} if len(cells) > 1 else {}
    summaries = [record.finish(speed, began) for record in records]
    return summaries[0] if config.seeds is None else {**summaries[0], "runs": summaries}


def of_seed(config: DictConfig, seed: int) -> DictConfig:
    """The single run of one seed of `seeds`; below a given `run_dir` in a folder of its own."""
    below = None if config.run_dir is None else str(Path(str(config.run_dir), f"seed{seed}"))
    single = copy.deepcopy(config)
    single.update({"seed": seed, "seeds": None, "run_dir": below})
    return single
