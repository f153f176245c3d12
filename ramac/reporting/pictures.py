"""Pictures of one run: quantile functions of Z(s, a) at logged states, and the density of the policy's actions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from ramac.agent import Agent
from ramac.checkpoint import load
from ramac.data import Dataset
from ramac.errors import InputError
from ramac.experiment.config import RunConfig
from ramac.experiment.folder import RunFolder
from ramac.plotting import BLUE, COLUMN, GREY, ORANGE, RED, TEXT
from ramac.reporting.formats import counted
from ramac.reporting.plots.panels import COLUMNS, grid, legend
from ramac.system.runtime import seeded
from ramac.tasks import Task, configured

STATES, MOST = 3, 6  # without --states, and panels across a page
LEVELS = 200  # of a quantile function: more do not show
SAMPLES = 5_000  # of the policy at a state: a hexagon with one part in a thousand holds five
DATA = 5_000  # logged actions that are drawn
HEXAGONS = 32  # across the box of actions


@dataclass(frozen=True)
class Subject:
    """A run whose policy, critic and data are looked at. What is read may raise InputError."""

    folder: RunFolder

    @cached_property
    def config(self) -> RunConfig:
        """Its configuration."""
        return self.folder.config

    @cached_property
    def agent(self) -> Agent:
        """Its policy and critic."""
        with seeded(0, torch.device("cpu")):  # networks begin with random weights
            return load(self.folder.path)

    @cached_property
    def task(self) -> Task:
        """Its task."""
        return configured(self.config.plain)

    @cached_property
    def data(self) -> Dataset:
        """Its logged data."""
        return self.task.dataset()

    def rows(self, states: Sequence[int]) -> list[int]:
        """The rows of the log that are asked for; without any, evenly spaced ones. Raises InputError."""
        count = len(self.data.log.reward)
        if len(states) > MOST:
            raise InputError(f"--states names {len(states)} rows; a figure has room for {MOST}")
        for row in states:
            if not 0 <= row < count:
                raise InputError(f"--states: no row {row}; the log of {self.folder} has rows 0 to {count - 1}")
        return list(states) or [(2 * place + 1) * count // (2 * STATES) for place in range(min(STATES, count))]


def quantiles(subject: Subject, states: Sequence[int], dimensions: Sequence[int], alpha: float) -> tuple[Figure, str]:
    """Quantile functions of Z(s, a) at logged states, for the policy's and the logged action. Raises InputError."""
    if "td" not in subject.config.loss:
        raise InputError(f"{subject.folder} was trained without loss=[td,...]: its critic predicts nothing")
    rows, log = subject.rows(states), subject.data.log
    seen = log.observation[rows]
    pairs = {"policy's action": subject.agent.act(seen, seed=0), "logged action": log.action[rows]}
    cells = (np.arange(LEVELS) + 0.5) / LEVELS
    parts = [cells, alpha * cells] if alpha < 1 else [cells]
    members = 0
    size = TEXT if len(rows) > 1 else COLUMN, 1.6 * len(parts) + 0.9
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(parts), len(rows), squeeze=False, sharey="row", sharex="row")
    for axes, levels in zip(panels, parts, strict=True):
        members = draw_quantiles(subject, axes, seen, pairs, levels)
    for axes, row, here in zip(panels[0], rows, zip(*pairs.values(), strict=True), strict=True):
        axes.set_title(f"row {row}\n" + "\n".join(map(written, pairs, here)))
    figure.supylabel("discounted return (reward units)")
    legend(figure, panels.flat)
    known = " Dashed: the true quantile function." if hasattr(subject.task, "quantiles") else ""
    return figure, (
        f"Quantile functions of Z(s, a) at {counted(len(rows), 'logged state')}, rows of the log; level 0 is the worst "
        f"outcome, below: the worst {alpha:.3g} alone. Line: mean of {counted(members, 'critic')}, band from the "
        f"lowest to the highest. The policy's action is one sample.{known}"
    )


def draw_quantiles(
    subject: Subject, panels: Sequence[Any], seen: np.ndarray, pairs: Mapping[str, np.ndarray], levels: np.ndarray
) -> int:
    """Learned and, where the task knows them, true quantiles at states [S, O], in a panel each; number of critics."""
    true, critics = getattr(subject.task, "quantiles", None), 0
    for (label, action), colour in zip(pairs.items(), (BLUE, ORANGE), strict=True):
        found = subject.agent.returns(seen, action, levels, members=True)  # [S, E, N]
        truth, critics = true(seen, action, levels) if true else None, found.shape[1]
        for place, (axes, members) in enumerate(zip(panels, found, strict=True)):
            axes.fill_between(levels, members.min(0), members.max(0), color=colour, alpha=0.2, lw=0)
            axes.plot(levels, members.mean(0), color=colour, label=label)
            axes.set(xlabel="level", xlim=(0, levels[0] + levels[-1]))
            if truth is not None:
                axes.plot(levels, truth[place], color="black", ls="--", lw=0.8, label="truth")
    return critics


def written(label: str, action: np.ndarray) -> str:
    """An action as a line of a title, its first numbers."""
    numbers = ", ".join(f"{number:.2f}" for number in action[:3])
    return f"{label} ({numbers}{', ...' * (len(action) > 3)})"


def actions(subject: Subject, states: Sequence[int], dimensions: Sequence[int], alpha: float) -> tuple[Figure, str]:
    """Density of the policy's actions at logged states over the logged actions. Raises InputError."""
    agent, log = subject.agent, subject.data.log
    width = log.action.shape[1]
    dimensions = list(dimensions) or list(range(min(2, width)))
    known = set(dimensions) <= set(range(width))
    if not known or len(dimensions) > 2 or len(set(dimensions)) < len(dimensions):
        given = ",".join(map(str, dimensions))
        raise InputError(f"--dimensions {given}: name one or two different numbers from 0 to {width - 1}")
    rows = subject.rows(states)
    _, first = np.unique(log.observation[rows], axis=0, return_index=True)
    rows = [rows[place] for place in sorted(first)]
    figure, panels = grid(len(rows), COLUMNS, 2.4, sharex=True, sharey=True)
    some = np.random.default_rng(0).permutation(len(log.action))[:DATA]
    for place, (axes, row) in enumerate(zip(panels, rows, strict=True)):
        sampled = agent.act(np.repeat(log.observation[row][None], SAMPLES, 0), seed=place)
        parts = log.action[some][:, dimensions], sampled[:, dimensions], log.action[row, dimensions]
        box = np.array([subject.data.spec.low, subject.data.spec.high])[:, dimensions]
        (draw_density if len(dimensions) == 2 else draw_histogram)(axes, *parts, box)
        axes.set(title=f"row {row}", xlabel=f"action {dimensions[0]}")
    panels[0].set_ylabel(f"action {dimensions[1]}" if len(dimensions) == 2 else "density")
    legend(figure, panels)
    caption = (
        f"{SAMPLES} samples of the policy at {counted(len(rows), 'logged state')}, rows of the "
        f"log, over {len(some)} logged actions of all states. Cross: the action that was logged there."
    )
    return figure, caption + (" Dark: many samples, on a logarithmic scale." if len(dimensions) == 2 else "")


def draw_density(axes: Any, logged: np.ndarray, sampled: np.ndarray, here: np.ndarray, box: np.ndarray) -> None:
    """Logged actions [n, 2] as dots, samples [m, 2] as hexagons by their number, in the box of actions [2, 2]."""
    axes.plot(*logged.T, ".", color="black", ms=1.2, mew=0, alpha=0.35, zorder=2.5, rasterized=True)
    axes.plot([], [], ".", color="#777777", ms=5, label="logged actions")
    left, right, low, high = (float(end) for dimension in box.T for end in dimension)
    axes.hexbin(*sampled.T, gridsize=HEXAGONS, extent=(left, right, low, high), mincnt=1, bins="log", cmap="Blues",
                vmin=0.3, linewidths=0.1, zorder=2)  # fmt: skip
    axes.plot([], [], "h", color=BLUE, label="samples of the policy")
    axes.plot(*here, "x", color=RED, ms=6, mew=1.5, zorder=3, label="logged action")
    across, up = 0.05 * (right - left), 0.05 * (high - low)
    axes.set(xlim=(left - across, right + across), ylim=(low - up, high + up), box_aspect=1)


def draw_histogram(axes: Any, logged: np.ndarray, sampled: np.ndarray, here: np.ndarray, box: np.ndarray) -> None:
    """Densities of logged actions [n, 1] and of samples [m, 1]."""
    edges = np.linspace(box[0, 0], box[1, 0], HEXAGONS + 1)
    for part, colour, label in ((logged, "#BBBBBB", "logged actions"), (sampled, BLUE, "samples of the policy")):
        density = np.histogram(part[:, 0], edges, density=True)[0]
        axes.stairs(density, edges, color=colour, fill=colour != BLUE, lw=1.3, label=label)
    axes.axvline(here[0], color=RED, lw=1, ls="--", label="logged action")
    axes.axhline(0, color=GREY, lw=0.5)
