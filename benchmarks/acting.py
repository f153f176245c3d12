"""How long a decision takes: `Agent.act` of every actor, for one observation and for 256, on one thread and on two."""

import time

import numpy as np
import torch

from benchmarks.cells import overrides_of
from benchmarks.contenders import Row
from benchmarks.options import Settings
from benchmarks.timing import synchronise
from benchmarks.updates import OBS_DIM, data, ramac_trainer
from ramac.agent import Agent
from ramac.registry import actors

CALLS, TURNS = 25, 12


def latencies(agent: Agent, observation: np.ndarray, calls: int) -> list[float]:
    """Milliseconds of each of so many calls in a row, after two that are not counted."""
    found = []
    for _ in range(calls + 2):
        started = time.perf_counter()
        agent.act(observation)
        synchronise()
        found.append(1000 * (time.perf_counter() - started))
    return found[2:]


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Table `acting`: a row per actor, batch and number of threads."""
    logged = data(1000, settings.device)
    agents = {actor: ramac_trainer(overrides_of(actor, "iqn"), logged).target.eval() for actor in actors}
    observations = {
        batch: np.random.default_rng(0).normal(size=(batch, OBS_DIM)).astype(np.float32) for batch in (1, 256)
    }
    found: dict[tuple[str, int, int], list[float]] = {}
    for _ in range(2 if settings.short else TURNS):
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for actor, agent in agents.items():
                for batch, observation in observations.items():
                    found.setdefault((actor, batch, threads), []).extend(latencies(agent, observation, CALLS))
    torch.set_num_threads(settings.threads)
    rows = []
    for (actor, batch, threads), values in found.items():
        row = {"actor": actor, "batch": batch, "acting_threads": threads}
        rows.append(row | {"milliseconds": float(np.median(values)), "p90": float(np.quantile(values, 0.9))})
    return {"acting": rows}
