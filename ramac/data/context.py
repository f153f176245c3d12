"""Where an episode stands, at the end of each observation: the discounted reward so far and the discount."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from ramac.data import Dataset, Log
from ramac.data.columns import moments, varies

NAMES = ("reward_so_far", "discount")


def with_reward_so_far(log: Log, gamma: float) -> Log:
    """The log with sum_{i<t} gamma^i r_i and gamma^t as two more numbers of each observation: [T, O + 2]."""
    step = np.arange(len(log.reward)) - np.repeat(log.start, log.lengths)
    discount = np.float64(gamma) ** step
    earned = np.concatenate([[0.0], np.cumsum(discount * log.reward)])
    before = np.repeat(earned[log.start], log.lengths)  # of earlier episodes
    now, then = np.stack([earned[:-1] - before, discount], -1), np.stack([earned[1:] - before, discount * gamma], -1)
    kind = np.promote_types(log.observation.dtype, np.float32)
    found = {
        "observation": np.concatenate([log.observation, now.astype(kind)], 1),
        "next_observation": np.concatenate([log.next_observation, then.astype(kind)], 1),
        "names": None if log.names is None else (*log.names, *NAMES),
        "behaviour": None if log.behaviour is None else partial(propensities, log.behaviour),
    }
    return replace(log, **found)


def propensities(behaviour: Callable[[Log], np.ndarray], log: Log) -> np.ndarray:
    """Propensities [T] by a behaviour that does not know the two numbers at the end of the observations of `log`."""
    seen, after = (part[:, : -len(NAMES)] for part in (log.observation, log.next_observation))
    names = None if log.names is None else log.names[: -len(NAMES)]
    return behaviour(replace(log, observation=seen, next_observation=after, names=names))


def widest_shift(log: Log, gamma: float) -> float:
    """How far rewards so far are moved in training: two deviations of the discounted returns of whole episodes."""
    returns = log.logged_returns(gamma)[log.start]
    return 2 * float(returns.std()) if varies(returns) else 0.0


def of_episodes(data: Dataset, gamma: float) -> Dataset:
    """The data with `with_reward_so_far`; the spec knows rewards so far as training shifts them."""
    log = with_reward_so_far(data.log, gamma)
    mean, std = (part[-2:].astype(np.float64).tolist() for part in moments(log.observation))
    so_far = np.std(log.observation[:, -2], dtype=np.float64)
    std[0] = float(np.hypot(so_far, widest_shift(data.log, gamma) / 3**0.5)) or 1.0  # of a uniform shift
    held_out = None if data.held_out is None else with_reward_so_far(data.held_out, gamma)
    return replace(data, log=log, spec=data.spec.extended(mean, std), held_out=held_out)
