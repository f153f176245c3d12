"""Does an exported policy act as the agent does, and how long does each take?"""

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ramac.agent import ROWS
from ramac.deploy.formats import Runner
from ramac.deploy.program import Policy
from ramac.errors import InputError
from ramac.system.noise import GivenNoise
from ramac.system.runtime import seeded

BATCHES = (1, 7, 256)  # one observation, an odd number, a batch
LARGEST = 1e-4  # difference in half widths of the action box: 400 times what was measured (docs/results/deploy.md)
TIE = 1e-5  # difference of two risks in standard deviations of the return: rounding in float32
REPEATS = 31  # timings of each, of which the median counts


def examples(policy: Policy, batch: int) -> dict[str, np.ndarray]:
    """Inputs by name, the same in every process.

    Observations [B, O] as wide as the logged ones, and noise [B, N]; of what the risk measure reads, [B, 1], numbers
    with two ends are uniform between them.
    """
    random, scaling, context = np.random.default_rng(batch), policy.agent.actor.scaling, policy.agent.context
    mean, std = scaling.obs_mean.cpu().numpy(), scaling.obs_std.cpu().numpy()
    state = mean + std * random.standard_normal((batch, len(mean)), np.float32)
    found = {"observation": state[:, : policy.agent.obs_dim]}
    if policy.columns:
        found["noise"] = random.standard_normal((batch, policy.columns), np.float32)
    for name, column in zip(context.names, state.T[policy.agent.obs_dim :], strict=True):
        low, high = context.ends(name)
        drawn = random.uniform(low, high, batch).astype(np.float32) if math.isfinite(high) else column
        found[name] = drawn[:, None]
    return found


def acted(policy: Policy, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """`agent.act` [B, A] with these inputs, in parts that the agent computes at once."""
    rows, actions = max(1, ROWS // policy.candidates), []
    for first in range(0, len(inputs["observation"]), rows):
        part: dict[str, Any] = {name: value[first : first + rows] for name, value in inputs.items()}
        observation = part.pop("observation")
        with GivenNoise(torch.from_numpy(part.pop("noise", np.empty((len(observation), 0), np.float32)))):
            actions.append(policy.agent.act(observation, deterministic=policy.mode, **part))
    return np.concatenate(actions)


def difference(policy: Policy, run: Runner) -> dict[int, float]:
    """Largest difference between file and agent by batch size, in half widths of the box. Raises InputError if large.

    The program is held against `agent.act` itself, which samples by another way: TensorDicts and numpy arrays.
    """
    width, found = policy.agent.actor.scaling.half_width.cpu().numpy(), {}
    for batch in BATCHES:
        inputs = examples(policy, batch)
        expected, action = acted(policy, inputs), run(inputs)
        if action.shape != expected.shape or not np.isfinite(action).all():
            raise InputError(f"the exported policy gives actions {list(action.shape)} that are not all finite")
        apart = np.abs((action - expected) / width).max(-1)
        if policy.candidates > 1 and apart.max() > LARGEST:
            apart[tied(policy, inputs, action, expected)] = 0
        found[batch] = float(apart.max())
        if found[batch] > LARGEST:
            text = f"the exported policy differs from agent.act by {found[batch]:.2g} half widths of the action box"
            raise InputError(f"{text} at batch {batch}; at most {LARGEST:g} is allowed: nothing was written")
    return found


def tied(policy: Policy, inputs: Mapping[str, np.ndarray], *actions: np.ndarray) -> np.ndarray:
    """Rows [B] in which the agent's risk measure prefers neither of two actions [B, A]: a rounding may choose.

    The utility of whole returns is flat where no outcome falls below a threshold.
    """
    agent, given = policy.agent, {name: value for name, value in inputs.items() if name != "noise"}
    with seeded(0, agent.actor.scaling.centre.device):
        one, other = (agent.risk_of(action=action, **given) for action in actions)
    return np.abs(one - other) <= TIE * agent.actor.scaling.return_std.item()


def latency(policy: Policy, run: Runner, batch: int) -> dict[str, float]:
    """Median processor time in milliseconds of `agent.act` and of the file, in turn on the same observations."""
    inputs, deterministic = examples(policy, batch), policy.mode
    given: dict[str, Any] = {name: value for name, value in inputs.items() if name != "noise"}
    calls: dict[str, Any] = {
        "act": lambda: policy.agent.act(**given, deterministic=deterministic),
        "file": lambda: run(inputs),
    }
    times = {name: list[float]() for name in calls}
    for repeat in range(REPEATS + 3):
        for name in calls if repeat % 2 else reversed(calls):
            start = time.process_time()
            calls[name]()
            times[name].append(1000 * (time.process_time() - start))
    return {name: float(np.median(values[3:])) for name, values in times.items()}  # the first three warm up
