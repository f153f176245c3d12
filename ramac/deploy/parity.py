"""Does an exported policy act as the agent does, and how long does each take?"""

import time
from typing import Any

import numpy as np
import torch

from ramac.agent import ROWS
from ramac.deploy.formats import Runner
from ramac.deploy.program import Policy
from ramac.errors import InputError
from ramac.system.noise import GivenNoise

BATCHES = (1, 7, 256)  # one observation, an odd number, a batch
LARGEST = 1e-4  # difference in half widths of the action box: 400 times what was measured (docs/results/deploy.md)
REPEATS = 31  # timings of each, of which the median counts


def examples(policy: Policy, batch: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Observations [B, O] as wide as the logged ones, and noise [B, N]; the same in every process."""
    random, scaling = np.random.default_rng(batch), policy.agent.actor.scaling
    mean, std = scaling.obs_mean.cpu().numpy(), scaling.obs_std.cpu().numpy()
    observation = mean + std * random.standard_normal((batch, len(mean)), np.float32)
    return observation, random.standard_normal((batch, policy.columns), np.float32) if policy.columns else None


def acted(policy: Policy, observation: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
    """`agent.act` [B, A] with this noise, in parts that the agent computes at once."""
    rows, actions = max(1, ROWS // policy.candidates), []
    for first in range(0, len(observation), rows):
        part = slice(first, first + rows)
        given = torch.empty(len(observation[part]), 0) if noise is None else torch.from_numpy(noise[part])
        with GivenNoise(given):
            actions.append(policy.agent.act(observation[part], deterministic=policy.mode))
    return np.concatenate(actions)


def difference(policy: Policy, run: Runner) -> dict[int, float]:
    """Largest difference between file and agent by batch size, in half widths of the box. Raises InputError if large.

    The program is held against `agent.act` itself, which samples by another way: TensorDicts and numpy arrays.
    """
    width, found = policy.agent.actor.scaling.half_width.cpu().numpy(), {}
    for batch in BATCHES:
        observation, noise = examples(policy, batch)
        expected, action = acted(policy, observation, noise), run(observation, noise)
        if action.shape != expected.shape or not np.isfinite(action).all():
            raise InputError(f"the exported policy gives actions {list(action.shape)} that are not all finite")
        found[batch] = float(np.abs((action - expected) / width).max())
        if found[batch] > LARGEST:
            text = f"the exported policy differs from agent.act by {found[batch]:.2g} half widths of the action box"
            raise InputError(f"{text} at batch {batch}; at most {LARGEST:g} is allowed: nothing was written")
    return found


def latency(policy: Policy, run: Runner, batch: int) -> dict[str, float]:
    """Median processor time in milliseconds of `agent.act` and of the file, in turn on the same observations."""
    observation, noise = examples(policy, batch)
    deterministic = policy.mode
    calls: dict[str, Any] = {
        "act": lambda: policy.agent.act(observation, deterministic=deterministic),
        "file": lambda: run(observation, noise),
    }
    times = {name: list[float]() for name in calls}
    for repeat in range(REPEATS + 3):
        for name in calls if repeat % 2 else reversed(calls):
            start = time.process_time()
            calls[name]()
            times[name].append(1000 * (time.process_time() - start))
    return {name: float(np.median(values[3:])) for name, values in times.items()}  # the first three warm up
