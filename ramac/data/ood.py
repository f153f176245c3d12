"""Out-of-distribution (OOD) actions: those far from the logged actions of the most similar states."""

from typing import Any

import numpy as np

from ramac.data import Act, Log
from ramac.errors import InputError

MOST = 1_000  # neighbours to search before a tree without the step's own episode is built


class Detector:
    """State-conditioned nearest neighbours: an action is out of distribution when d > kappa x median of d on the data.

    d(s, a) = min |a - a_j| over the `neighbours` logged steps whose standardised observations are nearest to s. On the
    data itself the step's whole episode is left out: neighbouring steps of one episode have nearly the same action.
    Paper: Fukazawa et al. 2026, RAMAC (kappa = 3; the number of neighbours and the median are ours, its code is not
    public). Raises InputError when a step has fewer neighbours outside its episode.
    """

    def __init__(
        self, log: Log, *, neighbours: int = 10, kappa: float = 3.0, queries: int = 5_000, seed: int = 0
    ) -> None:
        if (others := len(log.reward) - int(log.lengths.max())) < neighbours:
            raise InputError(f"{neighbours} logged steps of other episodes are needed, there are {others}")
        from scipy.spatial import KDTree  # heavy: a tenth of a second

        random, steps = np.random.default_rng(seed), len(log.reward)
        self.log, self.neighbours, self.queries = log, neighbours, queries
        self.mean, self.std, self.episode = log.observation.mean(0), log.observation.std(0) + 1e-3, log.episode
        self.tree = KDTree(self.scale(log.observation))
        self.steps = np.sort(random.choice(steps, min(queries, steps), replace=False))  # where policies are evaluated
        self.own = self.nearest(log.observation[self.steps], self.episode[self.steps])
        distance = self.distance(self.own, log.action[self.steps])
        self.threshold = kappa * float(np.median(distance))
        self.flagged = distance > self.threshold
        self.nominal = float(self.flagged.mean())
        self.random = random

    def scale(self, observation: np.ndarray) -> np.ndarray:
        """Observations [n, O] with zero mean and unit variance."""
        return (observation - self.mean) / self.std

    def nearest(self, observation: np.ndarray, episode: np.ndarray | None = None) -> np.ndarray:
        """Logged steps nearest to observations [n, O], outside the step's own `episode` [n]: [n, neighbours]."""
        wanted, found = self.neighbours, np.empty((len(observation), self.neighbours), int)
        left, count = np.arange(len(observation)), wanted if episode is None else 4 * wanted
        while len(left) and count <= MOST:
            count = min(count, len(self.episode))
            ranks: Any = range(1, count + 1)  # also one neighbour has an axis then
            near = np.asarray(self.tree.query(self.scale(observation[left]), ranks, workers=-1)[1])
            other = np.ones(near.shape, bool) if episode is None else self.episode[near] != episode[left, None]
            enough = (other.sum(1) >= wanted) | (count == len(self.episode))
            order = np.argsort(~other[enough], axis=1, kind="stable")[:, :wanted]  # others first, nearest first
            found[left[enough]] = np.take_along_axis(near[enough], order, 1)
            left, count = left[~enough], 4 * count
        owner = self.episode if episode is None else episode
        for own in np.unique(owner[left]):  # surrounded by their own episode
            others, rows = np.flatnonzero(self.episode != own), left[owner[left] == own]
            tree = type(self.tree)(self.tree.data[others])
            ranks = range(1, wanted + 1)
            found[rows] = others[tree.query(self.scale(observation[rows]), ranks)[1]]
        return found

    def distance(self, near: np.ndarray, action: np.ndarray) -> np.ndarray:
        """d [n] of actions [n, A] given indices of logged steps [n, neighbours]."""
        return np.linalg.norm(self.log.action[near] - action[:, None], axis=-1).min(1)

    def flags(self, observation: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Whether each action [n, A] in its state [n, O] is out of distribution: [n]."""
        return self.distance(self.nearest(observation), action) > self.threshold

    def report(self, act: Act, held_out: Log | None = None, seed: int = 0) -> dict[str, Any]:
        """Shares of OOD actions: `rate` of a policy with its standard error, `data` of the log, `uniform` of random.

        The states are the detector's own, or `queries` states of `held_out` drawn from `seed`. Uniform actions lie
        within the range of the data's actions.
        """
        log, rows, near, episode, random = self.log, self.steps, self.own, self.episode, self.random
        if held_out is not None:
            log, random, steps = held_out, np.random.default_rng(seed), len(held_out.reward)
            rows = np.sort(random.choice(steps, min(self.queries, steps), replace=False))
            near, episode = self.nearest(log.observation[rows]), log.episode
        low, high = self.log.action.min(0), self.log.action.max(0)
        actions = {
            "rate": act(log.observation[rows]),
            "data": log.action[rows],
            "uniform": random.uniform(low, high, (len(rows), len(low))),
        }
        flags = {key: self.distance(near, action) > self.threshold for key, action in actions.items()}
        # states of one episode are alike, so episodes are what varies independently
        deviation = np.bincount(episode[rows], flags["rate"] - flags["rate"].mean())
        error = float(np.sqrt(np.square(deviation).sum())) / len(rows)
        shares = {key: float(flag.mean()) for key, flag in flags.items()}
        return {**shares, "standard_error": error, "states": len(rows)}
