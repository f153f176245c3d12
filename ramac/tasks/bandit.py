"""The 2-D risky bandit: a safe centre and a ring that pays more on average but now and then costs 50."""

from pathlib import Path
from statistics import NormalDist
from textwrap import fill
from typing import Any

import gymnasium
import numpy as np

from ramac.data import Act, Dataset, Log
from ramac.errors import InputError, at_least, at_most, optional
from ramac.optimum import Process
from ramac.registry import tasks
from ramac.spec import Spec
from ramac.statistics import clipped_normal
from ramac.tasks import Column, Task
from ramac.text import for_label

SAFE, PAID, STRUCK, DEVIATION = 5.0, 9.0, -50.0, 0.5  # mean rewards of centre, ring, hazard; of all their deviation
HAZARD = 0.05  # probability on the ring
CENTRE, RING = 0.3, (0.75, 1.1)  # |a| up to CENTRE is the centre, |a| within RING the ring
RARE, RARE_RADIUS, RARE_HAZARD = (0.85, 0.85), 0.1, 0.1  # the rare arm, a disc beyond the ring
SHARE, MIDDLE = 0.25, 0.095  # of logged decisions at the centre, and the deviation of their coordinates
RADIUS, WIDTH = 0.92, 0.045  # of the logged ring: mean and deviation
THRESHOLDS = np.arange(-15.0, 55.0, 0.02)  # minus the returns that occur
COLUMNS = (
    Column("mass_centre", "centre", "bandit: share of sampled actions on the safe centre, mean over runs"),
    Column("mass_ring", "ring", "bandit: share of sampled actions on the risky ring, mean over runs"),
    Column("mass_off_support", "outside the data", "bandit: share of sampled actions without data, mean over runs"),
    Column("mass_rare", "rare arm", "bandit: share of sampled actions on the rarely seen arm, mean over runs"),
)


def region(action: np.ndarray, rare: bool = False) -> np.ndarray:
    """action [B, 2] -> 0 centre, 1 ring, 2 outside the data, with `rare` 3 for the rare arm: [B]."""
    radius = np.linalg.norm(action, axis=-1)
    place = np.where(radius <= CENTRE, 0, np.where((radius >= RING[0]) & (radius <= RING[1]), 1, 2))
    return np.where(rare & (np.linalg.norm(action - np.array(RARE), axis=-1) <= RARE_RADIUS), 3, place)


def shares(action: np.ndarray, rare: bool = False) -> dict[str, float]:
    """Share of actions [B, 2] in each region, in the rare arm only with `rare`."""
    count = np.bincount(region(action, rare), minlength=3 + rare) / len(action)
    return dict(zip((column.key for column in COLUMNS), count.tolist(), strict=False))


def reward(
    place: np.ndarray, random: np.random.Generator, context: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw rewards for regions [B]: centre N(5, 0.5), ring and rare arm N(9, 0.5) or a hazard N(-50, 0.5), else 0.

    A hazard strikes with 5 % (1 + context) on the ring, context [B], and with 10 % on the rare arm. Returns the rewards
    [B] and whether each was a hazard [B].
    """
    chance = np.where(place == 1, HAZARD * (1 + np.asarray(context, np.float64)), RARE_HAZARD * (place == 3))
    hazard = random.random(len(place)) < chance
    mean = np.where(place == 0, SAFE, np.where(hazard, STRUCK, PAID))
    return np.where(place == 2, 0.0, mean + DEVIATION * random.standard_normal(len(place))), hazard


def unclipped(action: np.ndarray) -> np.ndarray:
    """Density of the behaviour's draws [*b, 2] before they are clipped to the box: [*b]."""
    normal = clipped_normal(action, 0, MIDDLE, -np.inf, np.inf)
    radius = np.linalg.norm(action, axis=-1)
    ring = clipped_normal(radius, RADIUS, WIDTH, -np.inf, np.inf) / (2 * np.pi * np.maximum(radius, MIDDLE))
    return SHARE * normal.prod(-1) + (1 - SHARE) * ring


def density(log: Log) -> np.ndarray:
    """Density of the logged actions [T]; on an edge of the box, that of the draws which were clipped to it."""
    action = log.action.astype(np.float64)
    found, edge = unclipped(action), np.abs(action) >= 1
    rows, beyond = edge.any(1), np.linspace(0, 8 * WIDTH, 321)
    points = action[rows, None] + (np.sign(action) * edge)[rows, None] * beyond[:, None]
    found[rows] = np.trapezoid(unclipped(points), beyond)
    return found


class BanditEnv(gymnasium.Env):
    """One decision; the observation is 0, or a context; the rewards of `reward`."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, context: bool = False, rare: bool = False) -> None:
        self.has_context, self.rare = context, rare

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        context = self.np_random.uniform(-1, 1) if self.has_context else 0.0
        self.context = np.array([context], np.float32)
        return self.context, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        place = region(np.asarray(action)[None], self.rare)
        value, hazard = reward(place, self.np_random, self.context)
        info = {"risky": bool(place[0] in (1, 3)), "penalty": bool(hazard[0])}
        return self.context, float(value[0]), True, False, info


@tasks.register("bandit")
class Bandit(Task):
    """2-D risky bandit: safe centre (mean 5), risky ring (mean 6.05, CVaR_0.1 about -21.0), made in memory.

    Paper: Fukazawa et al. 2026, RAMAC, figure of eight panels; its code is not public, the numbers are read off it.

    Args:
        transitions: Logged decisions.
        data_seed: Seed of the logged data.
        context: The observation is uniform in [-1, 1] instead of 0, and the ring's hazard strikes with 5 % (1 +
            context).
        rare: Times that a small arm in the corner is logged besides; it pays 9 too, but its hazard strikes with 10 %.
        gamma: Discount of a run; 0: one decision.
    """

    columns = COLUMNS

    def __init__(
        self, *, transitions: int = 10_000, data_seed: int = 0, context: bool = False, rare: int = 0,
        steps: int = 3_000, gamma: float = 0.0,
    ) -> None:  # fmt: skip
        at_least(1, transitions=transitions)
        at_most(10**7, transitions=transitions)
        at_least(0, data_seed=data_seed, rare=rare)
        at_most(10**7, rare=rare)
        self.transitions, self.data_seed, self.context, self.rare = transitions, data_seed, context, rare

    def dataset(self) -> Dataset:
        random, count = np.random.default_rng(self.data_seed), self.transitions
        angle, radius = random.uniform(0, 2 * np.pi, count), random.normal(RADIUS, WIDTH, count)
        ring = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        centre = random.normal(0, MIDDLE, (count, 2))
        place = (random.random(count) >= SHARE).astype(int)  # the mode that was drawn decides the reward
        action = np.where(place[:, None] == 0, centre, ring).clip(-1, 1).astype(np.float32)
        # from a generator of its own, so that actions are the same with and without
        later = np.random.default_rng([self.data_seed, 1])
        context = later.uniform(-1, 1, (count, 1)) if self.context else np.zeros((count, 1))
        seen = context.astype(np.float32)
        value, _ = reward(place, random, seen[:, 0])
        both = zip(self.rare_draws(), (seen, action, value), strict=True)
        seen, action, value = (np.concatenate(pair) for pair in both)
        ended, each = np.ones(len(value), bool), np.arange(len(value))
        known = None if self.rare else density  # the rare arm is counted, not drawn
        log = Log(seen, action, value.astype(np.float32), seen, ended, each, behaviour=known)
        also = f", and {self.rare} of its rare arm" if self.rare else ""
        text = f"{count} draws of the 2-D risky bandit{also}, made in memory"
        return Dataset(log, Spec.unit(1, 2).of_returns(value), value, text)

    def rare_draws(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Observations [n, 1], actions [n, 2] and rewards [n] of the rare arm, from a generator of its own.

        Rewards are drawn first: of data_seed 0 no hazard is among the first five (a chance of 0.59).
        """
        random, count = np.random.default_rng([self.data_seed, 3]), self.rare
        value, _ = reward(np.full(count, 3), random)
        angle, radius = random.uniform(0, 2 * np.pi, count), RARE_RADIUS * np.sqrt(random.random(count))
        action = np.array(RARE) + 0.99 * radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        seen = random.uniform(-1, 1, (count, 1)) if self.context else np.zeros((count, 1))
        return seen.astype(np.float32), action.astype(np.float32), value

    def environment(self, render_mode: str | None = None) -> gymnasium.Env:
        if render_mode is not None:
            raise InputError("task=bandit has nothing to film; bandit.png in the run folder shows the policy")
        return gymnasium.wrappers.TimeLimit(BanditEnv(self.context, self.rare > 0), 1)

    def process(self, fineness: int) -> Process:
        """One decision among the regions; contexts and normal rewards stand for equally likely cells."""
        cells, regions = 100 * fineness, 4 if self.rare else 3
        level = (np.arange(cells) + 0.5) / cells
        contexts = 2 * level - 1 if self.context else np.zeros(1)
        normal = DEVIATION * np.array([NormalDist().inv_cdf(u) for u in level])
        count, struck = len(contexts), HAZARD * (1 + contexts)
        rewards = np.concatenate([SAFE + normal, PAID + normal, STRUCK + normal, [0.0]])
        law = np.zeros((count, 4, 4))  # of each context and region the probabilities of the four kinds of reward
        law[:, 0, 0], law[:, 1, 1], law[:, 1, 2], law[:, 2, 3] = 1, 1 - struck, struck, 1
        law[:, 3, 1:3] = 1 - RARE_HAZARD, RARE_HAZARD
        law = law[:, :regions]
        chance = np.repeat(law.reshape(-1, 4), [cells, cells, cells, 1], 1) / np.repeat([cells, 1], [3 * cells, 1])
        padding = np.zeros((regions * count, count))  # no reward leads back to a context
        after = np.arange(regions * count).reshape(-1, regions)
        after = np.concatenate([after, np.zeros((len(rewards), regions), int)])
        start = np.repeat([1 / count, 0], [count, len(rewards)])
        terminal = np.concatenate([np.zeros(count), rewards])
        chance = np.concatenate([padding, chance], 1)
        return Process(1, start, after, np.zeros(after.shape), lambda v: chance @ v, terminal, THRESHOLDS)

    def quantiles(self, observation: np.ndarray, action: np.ndarray, level: np.ndarray) -> np.ndarray:
        """True quantiles of the reward at observations [B, 1] and actions [B, 2], at levels [N] in (0, 1): [B, N].

        A hazard's rewards lie below all others, so the mixture's quantile is that of one of its two normals.
        """
        from scipy.special import ndtri  # a tenth of a second, which no run needs

        place = region(action, self.rare > 0)[:, None]
        struck = np.where(place == 1, HAZARD * (1 + observation), RARE_HAZARD * (place == 3))
        below = level < struck
        within = np.where(below, level / np.maximum(struck, 1e-12), (level - struck) / np.maximum(1 - struck, 1e-12))
        mean = np.where(place == 0, SAFE, np.where(below, STRUCK, PAID))
        return np.where(place == 2, 0.0, mean + DEVIATION * ndtri(within.clip(1e-12, 1 - 1e-12)))

    def report(self, act: Act, data: Dataset, returns: np.ndarray, title: str, folder: Path) -> dict[str, Any]:
        seen = np.linspace(-1, 1, 10_000) if self.context else np.zeros(10_000)
        learned, logged = act(seen[:, None].astype(np.float32)), data.log.action
        with optional("bandit.png"):
            figure(logged, data.returns, learned, title, folder / "bandit.png", self.rare > 0)
        found, data_shares = (shares(action, self.rare > 0) for action in (learned, logged))
        return {**found, **{f"data_{key}": value for key, value in data_shares.items()}}


def figure(
    logged: np.ndarray, rewards: np.ndarray, learned: np.ndarray, title: str, path: Path, rare: bool = False
) -> None:
    """Logged actions [n, 2] by reward [n], and learned actions [m, 2] over them, with the share of each region."""
    from ramac.plotting import styled  # matplotlib is heavy, and only a finished run draws

    styled()(draw)(logged, rewards, learned, title, path, rare)


def draw(
    logged: np.ndarray, rewards: np.ndarray, learned: np.ndarray, title: str, path: Path, rare: bool = False
) -> None:
    """`figure`, in the style that is set."""
    from ramac.plotting import BLUE, GREY, RED, TEXT, Figure, save

    # isort: split
    from matplotlib.patches import Circle

    canvas = Figure(figsize=(TEXT, 3.6), layout="constrained")
    left, right = canvas.subplots(1, 2, sharex=True, sharey=True)
    hazard, order = rewards < 0, np.arange(min(len(logged), 3000))
    paid, hit = order[~hazard[order]], order[hazard[order]]
    dots = left.scatter(*logged[paid].T, c=rewards[paid], s=3, cmap="viridis")
    left.scatter(*logged[hit].T, color=RED, s=10, marker="x", linewidths=0.8, label="hazard, reward about -50")
    canvas.colorbar(dots, ax=left, label="reward of logged action", shrink=0.7)
    left.set_title(f"data: safe centre, risky ring{', rare arm' if rare else ''}")
    right.scatter(*logged[order].T, color="#CCCCCC", s=2, label="data")
    right.scatter(*learned[:3000].T, color=BLUE, s=3, alpha=0.6, label="learned policy")
    share = shares(learned, rare)
    text = ", ".join(f"{column.title} {share[column.key]:{column.style}}" for column in COLUMNS if column.key in share)
    lines = fill(for_label(title, 80), 44)  # as wide as the panel
    right.set_title(f"{lines}\n{text}", fontsize=6 if rare else 7)  # four shares are wider
    for axes in (left, right):
        axes.legend(loc="lower left")
        for place, radius in [((0, 0), CENTRE), *(((0, 0), edge) for edge in RING), (RARE, RARE_RADIUS)][: 3 + rare]:
            axes.add_patch(Circle(place, radius, fill=False, color=GREY, lw=0.6, ls=":"))
        axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xlabel="action 1", ylabel="action 2")
    save(canvas, path)
