"""Out-of-distribution (OOD) actions: those far from the logged actions of the most similar states."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ramac.data import Act, Log
from ramac.data.columns import moments
from ramac.errors import InputError

MOST = 1_000  # neighbours to search before a tree without the step's own episode is built
RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5)  # nominal rates of the curve in a report
MOST_NUMBERS = 2**27  # in the observations among which neighbours are searched: 1 GiB; of more, steps are drawn
ROUNDING = 1e-6  # some float32 spacings of an action in [-1, 1]: a smaller distance is none


class Detector:
    """State-conditioned nearest neighbours: an action is out of distribution when d is above a threshold.

    d(s, a) = min |a - a_j| over the `neighbours` logged steps whose standardised observations are nearest to s, with
    the action box `low`, `high` ([A] each; by default the range of the logged actions) as [-1, 1]. On the data itself
    the step's whole episode is left out: neighbouring steps of one episode have nearly the same action. Of data with
    more than 2^27 numbers in their observations, neighbours are searched among steps drawn by `seed`.
    `threshold` is conformal: new steps of the behaviour are above it at the nominal rate `alpha`, as far as steps are
    exchangeable (Angelopoulos & Bates 2021, A Gentle Introduction to Conformal Prediction). 0.05 is the usual rate of
    OOD detection (Liang et al. 2018, ODIN: 95 % of the data accepted). `paper_threshold` is kappa x median of d
    (Fukazawa et al. 2026, RAMAC: kappa = 3; the number of neighbours and the median are ours, its code is not public).
    Raises InputError when a step has fewer neighbours outside its episode, or there are fewer than 1 / alpha - 1 steps.
    """

    def __init__(
        self, log: Log, low: ArrayLike | None = None, high: ArrayLike | None = None, *,
        alpha: float = 0.05, neighbours: int = 10, kappa: float = 3.0, queries: int = 5_000, seed: int = 0,
    ) -> None:  # fmt: skip
        steps = len(log.reward)
        count = min(queries, steps)
        if not 0 < alpha < 1:
            raise InputError(f"alpha must be inside (0, 1), got {alpha}")
        from scipy.spatial import KDTree  # heavy: a tenth of a second

        self.log, self.alpha, self.neighbours, self.kappa, self.queries = log, alpha, neighbours, kappa, queries
        bounds = (log.action.min(0) if low is None else low, log.action.max(0) if high is None else high)
        self.low, self.high = (np.asarray(bound, np.float64) for bound in bounds)
        self.mean, self.std = moments(log.observation)
        random = np.random.default_rng(seed)
        self.steps = np.sort(random.choice(steps, count, replace=False))  # where policies are evaluated
        self.action, self.episode, observation = self.to_unit(log.action), log.episode, log.observation
        owner = self.episode[self.steps]
        if observation.size > MOST_NUMBERS:
            known = np.sort(random.choice(steps, MOST_NUMBERS // observation.shape[1], replace=False))
            self.action, self.episode, observation = self.action[known], self.episode[known], observation[known]
        if (others := len(self.episode) - int(np.bincount(self.episode).max())) < neighbours:
            raise InputError(f"{neighbours} logged steps of other episodes are needed, there are {others}")
        if count < (least := math.ceil(1 / alpha - 1)):
            raise InputError(f"a nominal rate of {alpha:g} needs {least} logged steps, there are {count}")
        self.tree = KDTree(self.scale(observation))
        self.own = self.nearest(log.observation[self.steps], owner)
        self.distances = np.sort(self.distance(self.own, log.action[self.steps]))
        self.threshold, self.paper_threshold = self.quantile(alpha), kappa * float(np.median(self.distances))

    def quantile(self, alpha: float) -> float:
        """Conformal threshold at a nominal rate: the ceil((1 - alpha) (n + 1))-th smallest of n distances."""
        count = len(self.distances)
        above = max(1, math.floor(alpha * (count + 1)))  # of n + 1, the new one among them
        return max(float(self.distances[count - above]), ROUNDING)

    def to_unit(self, action: np.ndarray) -> np.ndarray:
        """Actions [n, A] with the box as [-1, 1]; a coordinate without width keeps its unit."""
        half = np.where(self.high > self.low, (self.high - self.low) / 2, 1)
        return (action - (self.low + self.high) / 2) / half

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
        """d [n] of actions [n, A] given indices of logged steps [n, neighbours], in float64."""
        return np.linalg.norm(self.action[near] - self.to_unit(action)[:, None], axis=-1).min(1)

    def flags(self, observation: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Whether each action [n, A] in its state [n, O] is out of distribution: [n]."""
        return beyond(self.distance(self.nearest(observation), action), self.threshold)

    def report(self, act: Act, held_out: Log | None = None, seed: int = 0) -> dict[str, Any]:
        """Shares of OOD actions: `rate` of a policy with its standard error, `data` of the log, `uniform` of random.

        They are by the threshold of the nominal rate, under `paper` by the paper's rule, and under `curve` at each of
        several nominal rates. The states are the detector's own, or `queries` states of `held_out` drawn from `seed`.
        Uniform actions lie within the box.
        """
        log, rows, near, random = self.log, self.steps, self.own, np.random.default_rng(seed)
        if held_out is not None:
            log, steps = held_out, len(held_out.reward)
            rows = np.sort(random.choice(steps, min(self.queries, steps), replace=False))
            near = self.nearest(log.observation[rows])
        actions = {
            "rate": act(log.observation[rows]),
            "data": log.action[rows],
            "uniform": random.uniform(self.low, self.high, (len(rows), len(self.low))),
        }
        distances = {key: self.distance(near, action) for key, action in actions.items()}

        def shares(threshold: float) -> dict[str, float]:
            found = {key: float(beyond(distance, threshold).mean()) for key, distance in distances.items()}
            return {"threshold": threshold, **found}

        # states of one episode are alike, so episodes are what varies independently
        flags = beyond(distances["rate"], self.threshold)
        deviation = np.bincount(log.episode[rows], flags - flags.mean())
        error = float(np.sqrt(np.square(deviation).sum())) / len(rows)
        rates = [rate for rate in RATES if rate * (len(self.distances) + 1) >= 1]
        return {
            "nominal": self.alpha, **shares(self.threshold), "standard_error": error, "states": len(rows),
            "paper": {"kappa": self.kappa, **shares(self.paper_threshold)},
            "curve": [{"nominal": rate, **shares(self.quantile(rate))} for rate in rates],
        }  # fmt: skip


def beyond(distance: np.ndarray, threshold: float) -> np.ndarray:
    """Whether each distance [n] is above the threshold; nan is."""
    return ~(distance <= threshold)
