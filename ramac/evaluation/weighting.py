"""Weights of logged episodes under another policy: products of ratios of action densities; bounds from them.

The weight of an episode is prod_t pi(a_t | s_t) / beta(a_t | h_t), h_t being the episode so far. The policy's density
pi is a kernel estimate from its own draws, so any actor has one; it is that of the policy with noise on its actions.
Paper: Kallus & Zhou 2018, Policy Evaluation and Optimization with Continuous Treatments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ramac.data import Act, Dataset, Log
from ramac.data.ood import Detector
from ramac.errors import InputError
from ramac.evaluation.calibration import cvar_name
from ramac.evaluation.tail_bounds import TOLERATED, doubt, intervals, mean_and_error
from ramac.statistics import ENOUGH, clipped_normal, effective_sample

DRAWS = 8  # of the policy per logged state; weights are unbiased with any number, as draws of states are independent
MOST = 2**18  # draws of the policy: some seconds of one core; of longer logs, episodes are drawn
CHUNK = 2**12  # states per call of a policy
NEIGHBOURS = 200  # logged steps whose actions stand for an unknown behaviour: as NARROW
# steps: with a mean squared ratio of 1.2 each, 10 000 episodes count as one (Liu et al. 2018, Breaking the Curse of
# Horizon, on the exponential growth)
LONGEST = 50
NARROW = 0.5  # of the noise, around similar states' actions: docs/results/offline.md#the-fitted-behaviour
TAIL = 4 * ENOUGH  # effective episodes in the smallest tail that less noise must leave
HALVINGS = 5  # of the noise at most
LARGEST = 300.0  # logarithm of a weight: its square is finite
SMALLEST = np.finfo(np.float64).tiny


@dataclass(frozen=True)
class Kernel:
    """Normal noise on actions, [A] each: clipped at the ends of the box where logged actions lie, else kept inside."""

    width: np.ndarray
    low: np.ndarray
    high: np.ndarray
    clips_low: np.ndarray
    clips_high: np.ndarray

    @classmethod
    def of(cls, log: Log, low: Sequence[float], high: Sequence[float]) -> "Kernel":
        """Scott's rule: deviation of the logged actions times n^(-1 / (A + 4)), n episodes (Scott 1992)."""
        action, ends = log.action.astype(np.float64), (np.array(low, np.float64), np.array(high, np.float64))
        clips = ((action <= ends[0]).sum(0) > 1, (action >= ends[1]).sum(0) > 1)  # one is the range of the data itself
        return cls(action.std(0) * len(log.start) ** (-1 / (action.shape[1] + 4)), *ends, *clips)

    def density(self, centres: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Mean density at actions [n, A] of the noise around centres [n, K, A]: [n]. Constant coordinates are left out.

        At an end where actions are clipped, it is the probability of the end.
        """
        from scipy.special import ndtr

        found, value = 1.0, action.astype(np.float64)[:, None]
        for i in np.flatnonzero(self.width):
            centre, width = centres[..., i].astype(np.float64), self.width[i]
            outside = ndtr((self.low[i] - centre) / width), ndtr((centre - self.high[i]) / width)
            kept = 1 - np.where(self.clips_low[i], 0, outside[0]) - np.where(self.clips_high[i], 0, outside[1])
            low = self.low[i] if self.clips_low[i] else -np.inf
            high = self.high[i] if self.clips_high[i] else np.inf
            found = found * clipped_normal(value[..., i], centre, width, low, high) / kept
        return np.broadcast_to(found, centres.shape[:2]).mean(1)


def obstacle(log: Log, gamma: float) -> str | None:
    """Why the episodes of a log cannot be weighted; None where they can."""
    length, cut = log.lengths, ~log.terminated[log.stop - 1]
    if (longest := int(length.max())) > LONGEST:
        return f"episodes have up to {longest} steps, and the weights of more than {LONGEST} leave nothing"
    if (beyond := float((gamma**length * (cut & (gamma > 0))).mean())) > TOLERATED:
        return f"{cut.sum()} of {len(cut)} episodes are cut, {beyond:.0%} of a steady reward lies beyond the cuts"
    return None


def some(log: Log, random: np.random.Generator) -> Log:
    """The log, or as many of its episodes, drawn without replacement, as `MOST` allows."""
    most = max(1, MOST // (DRAWS * int(log.lengths.max())))
    if (count := len(log.start)) <= most:
        return log
    chosen = np.zeros(count, bool)
    chosen[random.choice(count, most, replace=False)] = True
    return log.keep(chosen[log.episode])


def draws(act: Act, observation: np.ndarray) -> np.ndarray:
    """Actions of a policy in states [n, O], independent: [n, DRAWS, A]. Draws from torch's global generator."""
    repeated = observation.repeat(DRAWS, 0)
    found = [act(repeated[row : row + CHUNK]) for row in range(0, len(repeated), CHUNK)]
    return np.concatenate(found).reshape(len(observation), DRAWS, -1)


def neighbours(data: Dataset, log: Log) -> np.ndarray:
    """Actions [T, NEIGHBOURS, A] of the nearest training steps of other episodes. Raises InputError for too few."""
    near = Detector(data.log, data.spec.low, data.spec.high, neighbours=NEIGHBOURS, queries=1, alpha=0.5)
    own = log.episode if data.held_out is None else None
    return data.log.action[near.nearest(log.observation, own)]


def behaviour_of(data: Dataset, log: Log) -> tuple[str, np.ndarray]:
    """`known` and the densities of the logged actions [T], or `fitted` and actions of similar states [T, N, A].

    Raises InputError where there are too few steps for the second.
    """
    if log.propensity is not None:
        return "known", log.propensity
    return ("fitted", neighbours(data, log)) if log.behaviour is None else ("known", log.behaviour(log))


def cumulative(log: Log, ratio: np.ndarray) -> np.ndarray:
    """Logarithms of the weights of episodes by step, from those of steps [T]: [n, longest]; ended ones keep theirs."""
    episode = log.episode
    table = np.zeros((len(log.start), int(log.lengths.max())))
    table[episode, np.arange(len(episode)) - log.start[episode]] = ratio
    return table.cumsum(1)


def relative(logarithm: np.ndarray) -> np.ndarray:
    """exp(logarithm) [n] over its maximum; all 0 where no weight is above 0."""
    most = logarithm.max()
    return np.exp(logarithm - most) if np.isfinite(most) else np.zeros(len(logarithm))


def weighed(
    log: Log, kernel: Kernel, drawn: np.ndarray, behaviour: np.ndarray, least: float
) -> tuple[np.ndarray, Kernel]:
    """Logarithms of the weights by step [n, longest], with as little noise as leaves `least` effective episodes.

    The noise is halved while it does; returns play no part. `drawn` [T, K, A]: actions of the policy. `behaviour`: its
    densities [T], or actions [T, N, A] of similar states.
    """

    def steps(kernel: Kernel) -> np.ndarray:
        # smoothing lowers a density at its peaks, so that of the behaviour has half the noise
        narrow = replace(kernel, width=kernel.width * NARROW)
        density = behaviour if behaviour.ndim == 1 else narrow.density(behaviour, log.action)
        with np.errstate(divide="ignore"):  # an action that the policy never takes
            return cumulative(log, np.log(kernel.density(drawn, log.action)) - np.log(np.maximum(density, SMALLEST)))

    found = steps(kernel)
    for _ in range(HALVINGS):
        less = replace(kernel, width=kernel.width / 2)
        if effective_sample(relative((other := steps(less))[:, -1])) < least:
            break
        found, kernel = other, less
    return found, kernel


def of_policy(data: Dataset, act: Act, gamma: float, alphas: Sequence[float], seed: int) -> dict[str, Any]:
    """Mean and CVaR of a policy's discounted return by importance weighting, or a verdict that says why not.

    The episodes are the held-out ones, or all where none are. Draws from torch's global generator.
    """
    whole = data.log if data.held_out is None else data.held_out
    if reason := obstacle(whole, gamma):
        return {"verdict": f"no bounds by importance weighting: {reason}"}
    log = some(whole, np.random.default_rng(seed))
    try:
        source, behaviour = behaviour_of(data, log)
    except InputError as error:
        return {"verdict": f"no bounds by importance weighting: {error}"}
    kernel = Kernel.of(log, data.spec.low, data.spec.high)
    steps, kernel = weighed(log, kernel, draws(act, log.observation), behaviour, TAIL / min((1.0, *alphas)))
    weights = np.exp(np.minimum(steps[:, -1], LARGEST))
    mean, error = mean_and_error(weights)
    returns = log.logged_returns(gamma)[log.start]
    order = returns.argsort(kind="stable")
    found = {
        "episodes": len(weights), "held_out": data.held_out is not None, "propensities": source,
        "noise": kernel.width.tolist(), "effective": float(effective_sample(relative(steps[:, -1]))),
        "effective_by_step": [float(effective_sample(relative(step))) for step in steps.T],
        "mean_weight": mean, "mean_weight_error": error, "doubt": doubt(weights),
        "cvar": intervals(returns[order], weights[order], alphas),
    }  # fmt: skip
    return {**found, "verdict": verdict(found)}


def verdict(found: Mapping[str, Any]) -> str:
    """One sentence: is the effective sample large enough, and do the weights average 1, as true ones do?"""
    text = f"importance weighting: {found['episodes']} episodes count as {found['effective']:.1f}"
    mean = f"weights average {found['mean_weight']:.3g}, not 1"
    if found["doubt"] == 1:
        return f"{text}; {mean}: the propensities are wrong, so there is no bound"
    thin = [cvar_name(row["alpha"]) for row in found["cvar"] if row["effective"] < ENOUGH]
    if len(thin) == len(found["cvar"]):
        return f"{text}: the effective sample is too small for any bound"
    text += f", too few for a bound of {', '.join(thin)}" if thin else ""
    return text + (f"; {mean}: the log lacks part of what the policy does, only bounds hold" if found["doubt"] else "")
