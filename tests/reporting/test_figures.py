"""The figures of a report, against plain formulas: shares, bands, intervals, the Pareto front, legible letters."""

import math
from itertools import pairwise

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from ramac.plotting import COLOURS, return_histogram, save, styled
from ramac.plotting.parts import edges_of
from ramac.reporting import plots
from ramac.reporting.groups import Group
from ramac.reporting.plots.maps import heat_map
from ramac.reporting.plots.plane import label_front, pareto
from ramac.reporting.runs import Run

OKABE_ITO = {"#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"}


def run(seed: int, returns: np.ndarray, metrics: dict | None = None, summary: dict | None = None) -> Run:
    table = {"step": np.full(len(returns), 10.0), "episode": np.arange(len(returns)), "return": returns}
    return Run(
        f"run{seed}",
        {"task": "bandit", "seed": str(seed)},
        table,
        summary or {},
        (lambda: metrics) if metrics else None,
    )


def groups(count: int, seeds: int = 1, episodes: int = 40, **given) -> list[Group]:
    rng = np.random.default_rng(0)
    made = []
    for place in range(count):
        centre, spread = rng.normal(size=2)
        samples = [centre + (1 + abs(spread)) * rng.normal(size=episodes) for _ in range(seeds)]
        runs = [run(seed, part, **given) for seed, part in enumerate(samples)]
        made.append(Group({"n": str(place)}, f"group {place}", runs))
    return made


def test_the_style_is_everybodys():
    with plt.style.context("ramac.plotting.ramac"):
        assert matplotlib.rcParams["pdf.fonttype"] == 42
        assert matplotlib.rcParams["svg.fonttype"] == "path"
        cycle = {f"#{colour.strip('#')}".upper() for colour in matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]}
    assert cycle == set(COLOURS) <= OKABE_ITO


@pytest.mark.parametrize("kind", ["pdf", "svg", "png"])
def test_the_same_numbers_give_the_same_file_whatever_the_users_style(tmp_path, kind):
    others = {"lines.linewidth": 9, "savefig.dpi": 30, "svg.fonttype": "none", "pdf.fonttype": 3}
    for name, mine in (("a", {}), ("b", others)):
        with matplotlib.rc_context(mine), styled():
            figure = Figure(figsize=(2, 1))
            figure.subplots().plot([1, 2, 4], label="$x$")
            save(figure, tmp_path / name, kind)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_one_episode_of_a_thousand_is_seen():
    """Bars times the number of episodes are counts, split at the worst tenth; the smallest is above the axis."""
    returns = np.append(5 + np.random.default_rng(0).normal(size=999) / 2, -50)
    left, right = Figure().subplots(1, 2)
    edges = edges_of([returns], 0.1)
    return_histogram(left, right, returns, edges, 0.1, "blue")
    ordered = np.sort(returns)
    for axes, part, edge in ((left, ordered[:100], edges[0]), (right, ordered[100:], edges[1])):
        heights = axes.patches[0].get_data().values
        counts = [((part >= low) & (part < high)).sum() for low, high in pairwise(edge)]
        counts[-1] += (part == edge[-1]).sum()
        seen = np.array(counts) > 0
        assert heights[seen] * 1000 == pytest.approx(np.array(counts)[seen])
    bar, (low, high) = left.patches[0].get_data().values[0], left.get_ylim()
    assert bar == pytest.approx(0.001)
    assert math.log(bar / low) / math.log(high / low) > 0.1, "a tenth of the panel's height"
    assert left.get_yscale() == "log"
    assert left.lines[0].get_xdata()[0] == pytest.approx(ordered[:100].mean()), "CVaR, in the tail"
    assert right.lines[0].get_xdata()[0] == pytest.approx(returns.mean())


def test_the_pareto_front_against_all_pairs():
    rng = np.random.default_rng(1)
    for _ in range(200):
        values = rng.integers(0, 6, (rng.integers(1, 12), 2)).astype(float)
        better = lambda a, b: (a >= b).all() and (a > b).any()  # noqa: E731
        front = {tuple(a) for a in values if not any(better(b, a) for b in values)}
        found = values[pareto(values)]
        assert len(found) == len(front) and set(map(tuple, found.tolist())) == front
        assert (np.diff(found[:, 0]) > 0).all() and (np.diff(found[:, 1]) < 0).all()


def test_the_plane_shows_runs_intervals_and_the_front():
    behaviour = {"episodes": 9, "return_mean": 1.5, "return_cvar": {"0.1": -3.0}}
    made = groups(3, seeds=4, episodes=400, summary={"behaviour": behaviour})
    figure, caption = plots.plane(made, 0.1)
    (axes,) = figure.axes
    for group, bars in zip(made, axes.containers, strict=True):
        pooled = group.returns
        x, y = (float(part[0]) for part in bars.lines[0].get_data())
        assert (x, y) == pytest.approx((np.sort(pooled)[:160].mean(), pooled.mean()))
        across, up = (collection.get_segments()[0] for collection in bars.lines[2])
        assert across[0, 0] < x < across[1, 0]
        # normal theory: the half width of the mean is about 1.96 standard errors within seeds
        error = math.sqrt(sum(part.var() / len(part) for part in group.by_seed.values())) / 4
        assert up[1, 1] - up[0, 1] == pytest.approx(2 * 1.96 * error, rel=0.15)
    dots = [line for line in axes.lines if line.get_markersize() == 3]
    assert sum(len(line.get_xdata()) for line in dots) == 12, "a dot per run"
    star = next(line for line in axes.lines if line.get_label() == "behaviour data")
    assert star.get_xydata().tolist() == [[-3.0, 1.5]]
    assert "3 groups of 4 seeds, n = 1600 episodes each" in caption
    assert "95 % bootstrap intervals" in caption


@pytest.mark.parametrize("count", [1, 40])
def test_the_plane_of_few_and_of_many_groups(count):
    made = groups(count)
    figure, caption = plots.plane(made, 0.1)
    labels = figure.axes[0].get_legend_handles_labels()[1]
    values = np.array([[np.sort(group.returns)[:4].mean(), group.returns.mean()] for group in made])
    front = {made[index].label for index in pareto(values)}
    assert ("Pareto front of the groups" in labels) == (count > 1)
    assert len([label for label in labels if label.startswith("group")]) == min(count, 14)
    assert front <= set(labels)
    assert ("the 26 other groups" in caption) == (count == 40)


def test_a_label_of_the_front_covers_no_mark():
    values = np.array([[0.0, 1.0], [0.5, 0.9], [0.56, 0.92], [1.0, 0.0]])  # the second has its label where the third is
    axes = Figure(figsize=(6.75, 4.2)).subplots()
    axes.plot(*values.T, "o")
    label_front(axes, values[[0, 1, 3]], {"first": "black", "second": "black", "last": "black"}, values)
    assert {"first", "second", "last"} == {text.get_text() for text in axes.texts} - {""}
    dots = axes.transData.transform(values)
    assert not any(text.get_window_extent().count_contains(dots) for text in axes.texts if text.get_text())


def test_losses_of_a_short_run_are_dots_and_no_panel_is_empty():
    """Of two seeds at one step: the mean, and a line from one to the other. A loss that is nan has no panel."""
    short = [
        run(seed, np.arange(5.0), {"loss_td": pd.Series({10.0: 1.0 + seed}), "loss_bc": pd.Series({10.0: math.nan})})
        for seed in (0, 1)
    ]
    figure, caption = plots.losses([Group({}, "all runs", short)], 0.1)
    (axes,) = figure.axes
    assert axes.get_title() == "loss_td"
    assert axes.lines[0].get_marker() == "o" and axes.lines[0].get_xydata().tolist() == [[10, 1.5]]
    assert axes.collections[0].get_segments()[0].tolist() == [[10, 1], [10, 2]]
    assert "1 group of 2 seeds: mean over seeds" in caption
    broken = run(0, np.arange(5.0), {"loss_bc": pd.Series({10.0: math.nan})})
    assert plots.losses([Group({}, "all runs", [broken])], 0.1) is None


def test_runs_of_different_lengths_share_their_steps():
    """The band goes from the lowest to the highest where all seeds have a value; seeds that share none keep theirs."""
    long, short = pd.Series({10.0: 1.0, 20.0: 3.0, 30.0: 9.0}), pd.Series({10.0: 2.0, 20.0: 7.0})
    for second, steps in ((short, [10, 20]), (pd.Series({15.0: 4.0}), [10, 15, 20, 30])):
        runs = [run(seed, np.arange(5.0), {"loss_td": part}) for seed, part in enumerate((long, second))]
        figure, _ = plots.losses([Group({}, "all runs", runs)], 0.1)
        assert figure.axes[0].lines[0].get_xdata().tolist() == steps
        if second is short:
            assert figure.axes[0].lines[0].get_ydata().tolist() == [1.5, 5]
            band = figure.axes[0].collections[0].get_paths()[0].vertices
            assert {(10, 1), (10, 2), (20, 3), (20, 7)} <= set(map(tuple, band.tolist()))


def contrast(first: str, second: tuple) -> float:
    """Contrast ratio of two colours (WCAG 2.2); the best of black and white is 4.58 at worst."""
    light = []
    for colour in (to_rgb(first), second[:3]):
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)
        light.append(0.2126 * red + 0.7152 * green + 0.0722 * blue)
    return (max(light) + 0.05) / (min(light) + 0.05)


@pytest.mark.parametrize("values", [np.full((2, 3), 3.0), np.linspace(-1, 1, 30).reshape(5, 6)], ids=["one", "many"])
def test_numbers_of_a_heat_map_are_legible(values):
    axes = Figure().subplots()
    heat_map(axes, values, values.min(), values.max())
    cells = axes.collections[0].to_rgba(values.ravel())
    for text, cell in zip(axes.texts, cells, strict=True):
        assert contrast(text.get_color(), tuple(cell)) > 4.5


def test_a_setting_of_many_levels_is_no_axis_of_a_map():
    def grid(levels: int) -> list[Group]:
        pairs = [(a, b) for a in range(levels) for b in "xy"]
        return [Group({"n": str(a), "kind": b}, f"{a}{b}", [run(0, np.arange(5.0))]) for a, b in pairs]

    assert plots.heat_maps(grid(30), 0.1) is not None
    assert plots.heat_maps(grid(31), 0.1) is None
