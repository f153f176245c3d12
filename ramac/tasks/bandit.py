"""The 2-D risky bandit: a safe centre and a ring that pays more on average but now and then costs 50."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from ramac.data import Act, Dataset, Log
from ramac.errors import InputError, at_least, at_most, optional
from ramac.registry import tasks
from ramac.spec import Spec
from ramac.tasks import Column, Task
from ramac.text import for_label

CENTRE, RING = 0.3, (0.75, 1.1)  # |a| up to CENTRE is the centre, |a| within RING the ring
COLUMNS = (
    Column("mass_centre", "centre", "bandit: share of sampled actions on the safe centre, mean over runs"),
    Column("mass_ring", "ring", "bandit: share of sampled actions on the risky ring, mean over runs"),
    Column("mass_off_support", "outside the data", "bandit: share of sampled actions without data, mean over runs"),
)


def region(action: np.ndarray) -> np.ndarray:
    """action [B, 2] -> 0 centre, 1 ring, 2 outside the data: [B]."""
    radius = np.linalg.norm(action, axis=-1)
    return np.where(radius <= CENTRE, 0, np.where((radius >= RING[0]) & (radius <= RING[1]), 1, 2))


def shares(action: np.ndarray) -> dict[str, float]:
    """Share of actions [B, 2] in each region."""
    count = np.bincount(region(action), minlength=3) / len(action)
    return dict(zip((column.key for column in COLUMNS), count.tolist(), strict=True))


def reward(place: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw rewards for regions [B]: centre N(5, 0.5), ring N(9, 0.5) or a hazard N(-50, 0.5) with 5 %, elsewhere 0.

    Returns the rewards [B] and whether each was a hazard [B].
    """
    hazard = (place == 1) & (random.random(len(place)) < 0.05)
    mean = np.where(place == 0, 5.0, np.where(hazard, -50.0, 9.0))
    return np.where(place == 2, 0.0, mean + 0.5 * random.standard_normal(len(place))), hazard


class BanditEnv(gymnasium.Env):
    """One decision, constant observation; the rewards of `reward`."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        place = region(np.asarray(action)[None])
        value, hazard = reward(place, self.np_random)
        info = {"risky": bool(place[0] == 1), "penalty": bool(hazard[0])}
        return np.zeros(1, np.float32), float(value[0]), True, False, info


@tasks.register("bandit")
class Bandit(Task):
    """2-D risky bandit: safe centre (mean 5), risky ring (mean 6.05, CVaR_0.1 about -20.5), made in memory.

    Paper: Fukazawa et al. 2026, RAMAC, figure of eight panels; its code is not public, the numbers are read off it.
    """

    columns = COLUMNS

    def __init__(
        self, *, transitions: int = 10_000, data_seed: int = 0, steps: int = 3_000, gamma: float = 0.0
    ) -> None:  # gamma 0: one decision
        at_least(1, transitions=transitions)
        at_most(10**7, transitions=transitions)
        at_least(0, data_seed=data_seed)
        self.transitions, self.data_seed = transitions, data_seed

    def dataset(self) -> Dataset:
        random, count = np.random.default_rng(self.data_seed), self.transitions
        angle, radius = random.uniform(0, 2 * np.pi, count), random.normal(0.92, 0.045, count)
        ring = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        centre = random.normal(0, 0.095, (count, 2))
        place = (random.random(count) >= 0.25).astype(int)  # the mode that was drawn decides the reward
        action = np.where(place[:, None] == 0, centre, ring).clip(-1, 1).astype(np.float32)
        value, _ = reward(place, random)
        nothing, each = np.zeros((count, 1), np.float32), np.arange(count)
        log = Log(nothing, action, value.astype(np.float32), nothing, np.ones(count, bool), each)
        return Dataset(
            log, Spec.unit(1, 2).of_returns(value), value, f"{count} draws of the 2-D risky bandit, made in memory"
        )

    def environment(self, render_mode: str | None = None) -> gymnasium.Env:
        if render_mode is not None:
            raise InputError("task=bandit has nothing to film; bandit.png in the run folder shows the policy")
        return gymnasium.wrappers.TimeLimit(BanditEnv(), 1)

    def report(self, act: Act, data: Dataset, returns: np.ndarray, title: str, folder: Path) -> dict[str, Any]:
        learned, logged = act(np.zeros((10_000, 1), np.float32)), data.log.action
        with optional("bandit.png"):
            figure(logged, data.returns, learned, title, folder / "bandit.png")
        return {**shares(learned), **{f"data_{key}": value for key, value in shares(logged).items()}}


def figure(logged: np.ndarray, rewards: np.ndarray, learned: np.ndarray, title: str, path: Path) -> None:
    """Logged actions [n, 2] by reward [n], and learned actions [m, 2] over them, with the share of each region."""
    from ramac.plotting import PLAIN  # matplotlib is heavy, and only a finished run draws

    PLAIN(draw)(logged, rewards, learned, title, path)


def draw(logged: np.ndarray, rewards: np.ndarray, learned: np.ndarray, title: str, path: Path) -> None:
    """`figure`, in the style that is set."""
    from ramac.plotting import BLUE, GREY, RED, Figure, save

    # isort: split
    from matplotlib.patches import Circle

    canvas = Figure(figsize=(10, 5.2), layout="constrained")
    left, right = canvas.subplots(1, 2, sharex=True, sharey=True)
    hazard, order = rewards < 0, np.arange(min(len(logged), 3000))
    paid, hit = order[~hazard[order]], order[hazard[order]]
    dots = left.scatter(*logged[paid].T, c=rewards[paid], s=5, cmap="viridis")
    left.scatter(*logged[hit].T, color=RED, s=16, marker="x", linewidths=1, label="hazard, reward about -50")
    canvas.colorbar(dots, ax=left, label="reward of logged action", shrink=0.8)
    left.set_title("data: safe centre, risky ring")
    right.scatter(*logged[order].T, color="#CCCCCC", s=4, label="data")
    right.scatter(*learned[:3000].T, color=BLUE, s=5, alpha=0.6, label="learned policy")
    share = shares(learned)
    text = ", ".join(f"{column.title} {share[column.key]:{column.style}}" for column in COLUMNS)
    right.set_title(f"{for_label(title, 80)}\n{text}", fontsize=10)
    for axes in (left, right):
        axes.legend(loc="lower left", fontsize=8)
        for radius in (CENTRE, *RING):
            axes.add_patch(Circle((0, 0), radius, fill=False, color=GREY, lw=0.6, ls=":"))
        axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xlabel="action 1", ylabel="action 2")
    save(canvas, path)
