"""One run, start to end: everything is built and checked before the run folder is made."""

import copy
import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from tensordict import TensorDict

from ramac.agent import Agent
from ramac.data import Dataset, Log
from ramac.errors import InputError, RunStopped
from ramac.experiment.claims import refuse_others
from ramac.experiment.recorder import Record, name_of
from ramac.experiment.session import Session
from ramac.losses import build_terms
from ramac.registry import evaluations, losses, trainers
from ramac.spec import Spec
from ramac.system.runtime import device_of, keep_memory, progress
from ramac.system.signals import Interruption
from ramac.tasks import configured
from ramac.training.stacked import Stacked
from ramac.training.trainer import Trainer

SEEDS = 2**32 - 1  # the largest that NumPy takes
LIMITS = [("seed", 0, SEEDS), ("log_every", 1, SEEDS), ("save_every", 0, SEEDS), ("save_last", 1, 1000)]
LIMITS += [("threads", 1, 4096), ("seeds", 1, 1024)]


def whole_number(config: Mapping[Any, Any], key: str, least: int, most: int = SEEDS) -> int:
    """An integer setting. Raises InputError when it is something else or outside [least, most]."""
    value = config[key]
    if type(value) is not int or not least <= value <= most:
        raise InputError(f"{key} must be a whole number from {least} to {most}, got {value!r}")
    return value


def refuse_numbers(config: DictConfig) -> None:
    """Refuse numbers of a run that no run takes, whatever its entries. Raises InputError."""
    for key, least, most in LIMITS:
        if config[key] is not None or key not in ("threads", "seeds"):
            whole_number(config, key, least, most)
    if type(config.deterministic) is not bool:
        raise InputError(f"deterministic must be true or false, got {config.deterministic!r}")
    if config.seeds is not None and config.seed + config.seeds - 1 > SEEDS:
        raise InputError(f"seed={config.seed} seeds={config.seeds}: the last seed would be above {SEEDS}")


def assemble(config: DictConfig, spec: Spec, transitions: TensorDict, device: torch.device) -> Trainer:
    """Agent, loss terms and trainer of a configuration. Raises InputError when parts do not go together."""
    torch.manual_seed(config.seed)
    agent = Agent.build(config, spec).to(device)
    # a setting such as loss.td.gamma stays in the configuration when its term is not asked for
    nodes = {str(key): node for key, node in config.loss.items() if OmegaConf.is_dict(node) and "name" in node}
    terms = build_terms(nodes, spec)
    if not any(term.group for term in terms.values()):
        raise InputError(f"loss=[{','.join(terms)}] trains nothing; choose from {', '.join(losses)}")
    if agent.acting.candidates > 1 and "td" not in terms:
        raise InputError(f"candidates={agent.acting.candidates} are judged by the critic, which only td trains")
    return trainers.build(config.trainer, agent, terms, transitions.to(device), config.seed)


def set_up(config: DictConfig) -> None:
    """Settings of the process: threads, memory, and whether operations that have no deterministic form are refused."""
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    if config.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which cuBLAS needs for it
        torch.use_deterministic_algorithms(True)
    keep_memory()


def train(config: DictConfig, log: Log | None = None, quiet: bool = False) -> dict[str, Any]:
    """Train, evaluate and write the run folder; returns the content of summary.json plus `run_dir`.

    An interrupted run of the same configuration goes on in its folder, bit for bit. With `seeds`, that many seeds are
    trained as one, each with a folder of its own: their summaries are in `runs`.
    `log`: the task's data instead of its own; `quiet`: no bar, for several runs side by side.

    Raises InputError before anything is written when the configuration or the data cannot be used; RunStopped when the
    environment fails or a file cannot be written, FloatingPointError for a number that is gone, Interrupted by signals.
    """
    began = time.perf_counter()
    refuse_numbers(config)
    device = device_of(config.device)
    set_up(config)
    task, evaluation = configured(config, log), evaluations.build(config.evaluation)
    # tried without data first: a wrong argument must not wait for a dataset to be collected
    assemble(config, Spec.unit(1, 1), TensorDict(batch_size=[1]), torch.device("cpu"))
    cells = [config] if config.seeds is None else [of_seed(config, config.seed + i) for i in range(config.seeds)]
    refuse_others(config, cells)
    with ExitStack() as stack:
        interruption = stack.enter_context(Interruption())
        data: Dataset = task.dataset()
        single, streams = [], []
        for cell in cells:
            single.append(assemble(cell, data.spec, data.transitions, device))
            streams.append((torch.cuda if device.type == "cuda" else torch).get_rng_state())
        together: Trainer | Stacked = single[0] if len(cells) == 1 else Stacked(single, streams)
        pairs = zip(cells, single, strict=True)
        records = [stack.enter_context(Record(*pair, task, evaluation, data)) for pair in pairs]
        session = Session(together, records, began)
        try:
            session.begin()
            if not quiet:
                print(f"data: {data.origin}", *session.whereabouts(), sep="\n", file=sys.stderr)
            interruption.way_on = session.way_on
            updates(session, interruption, quiet)
            speed = session.speed()  # before figures take their time
            summaries = [record.finish(speed, session.began) for record in records]
        except RunStopped as error:
            raise RunStopped(f"{error}; {session.way_on()}") from error
        except OSError as error:
            reason = error.strerror or str(error)
            raise RunStopped(f"{records[0].folder} cannot be written: {reason}; {session.way_on()}") from error
    return summaries[0] if config.seeds is None else {**summaries[0], "runs": summaries}


def updates(session: Session, interruption: Interruption, quiet: bool) -> None:
    """The updates that are left. After each: numbers logged, state saved, policy evaluated, where it is their turn.

    The state is saved before an evaluation, which cannot change it, but may take long or fail.
    """
    trainer, evaluation, config = session.trainer, session.records[0].evaluation, session.records[0].config
    steps, before, last = trainer.steps, trainer.step_count, session.records[-1].config

    def turn(every: int, step: int) -> bool:
        return bool(every) and step % every == 0

    if before and (before == steps or turn(evaluation.every, before)):
        session.evaluate(before)
    label = name_of(config) + (f" to {last.seed}" if last.seed != config.seed else "")
    bar = progress(trainer.run(), steps, label, quiet, before)
    with interruption.hold():
        for step, metrics in enumerate(bar, before + 1):
            evaluated = step == steps or turn(evaluation.every, step)
            session.watch.see(step, metrics)
            if turn(config.log_every, step) or step == steps:
                values = session.log(step, metrics).items()
                bar.set_postfix_str(" ".join(f"{k}={v:.3g}" for k, v in values if "loss" in k), refresh=False)
            if evaluated or turn(config.save_every, step) or interruption.signal:
                session.save(step, metrics)
            interruption.end()
            if evaluated:
                with interruption.hold(False):
                    session.evaluate(step)


def of_seed(config: DictConfig, seed: int) -> DictConfig:
    """The single run of one seed of `seeds`; below a given `run_dir` in a folder of its own."""
    below = None if config.run_dir is None else str(Path(str(config.run_dir), f"seed{seed}"))
    single = copy.deepcopy(config)
    single.update({"seed": seed, "seeds": None, "run_dir": below})
    return single
