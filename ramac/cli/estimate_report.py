"""An estimate for people: the tables that `ramac estimate` prints, and its figure."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ramac.plotting import BLUE, ORANGE, TAIL
from ramac.statistics import ENOUGH, cvar


def name_of(alpha: float) -> str:
    """`mean`, or `CVaR 0.1`."""
    return "mean" if alpha == 1 else f"CVaR {alpha:g}"


def show(report: dict[str, Any]) -> None:
    """Print the estimate, the check on the behaviour, the ranking where there are several checkpoints, the verdict."""
    console = Console()
    policy, behaviour, distance = report["policy"], report["behaviour"], report["distance"]
    kind = "held-out" if behaviour["held_out"] else "training"
    first = f"first states of {policy['starts']} {kind} episodes, gamma {report['gamma']:g}"
    title = f"{escape(report['run_dir'])}: estimated discounted return of the policy, {first}"
    table = Table(title=title, title_justify="left")
    for column in ("", "estimate", "95 % over first states", "members"):
        table.add_column(column, justify="left" if column == "" else "right")
    for row in policy["cvar"]:
        span, members = (f"{row[a]:.2f} to {row[b]:.2f}" for a, b in (("low", "high"), ("member_low", "member_high")))
        table.add_row(name_of(row["alpha"]), f"{row['estimate']:.2f}", span, members)
    console.print(table)
    title = f"the same estimator on the behaviour, against {behaviour['episodes']} {kind} episodes"
    table = Table(title=title, title_justify="left")
    for column in ("", "estimate", "returned", "95 % interval of returned"):
        table.add_column(column, justify="left" if column == "" else "right")
    for row in behaviour["cvar"]:
        text = f"{row['predicted']:.2f}" if row["met"] else f"[red]{row['predicted']:.2f}[/red]"
        span = f"{row['low']:.2f} to {row['high']:.2f}"
        table.add_row(name_of(row["alpha"]), text, f"{row['realised']:.2f}", span)
    console.print(table)
    worst, count = min(row["alpha"] for row in behaviour["cvar"]), behaviour["episodes"]
    if worst * count < ENOUGH:
        console.print(f"CVaR {worst:g} rests on {worst * count:.1f} of these episodes", highlight=False)
    if not behaviour["held_out"]:
        console.print("the policy and the estimate were trained on these episodes: task=logs holds some out")
    if behaviour["completed"] > 0.01:
        share = f"{behaviour['completed']:.0%}"
        console.print(
            f"cut episodes: what lies beyond the cut is estimated, {share} of a steady reward", highlight=False
        )
    found, chance = behaviour["miscalibration"], behaviour["miscalibration_of_chance"]
    words = "more than chance explains" if found > chance else "within chance"
    console.print(f"calibration: the PIT is up to {found:.3f} from uniform, {words} ({chance:.3f})", highlight=False)
    apart = f"{distance['action_rms']:.2f} per coordinate, the box being -1 to 1"
    console.print(f"the policy's actions are {apart}, from the logged ones in the same states", highlight=False)
    if report["left_over"] > 0.01:
        share = f"{report['left_over']:.0%}"
        console.print(f"up to {share} of a wrong first guess is left; more updates: steps=N", highlight=False)
    if choice := report.get("choice"):
        console.print(ranking(choice))
    console.print(f"[bold]{report['verdict']}[/bold]", highlight=False)
    console.print(f"figure and figures: [bold]{escape(report['run_dir'])}/estimate.*[/bold]", highlight=False)


def ranking(choice: dict[str, Any]) -> Table:
    """Checkpoints, the best first."""
    table = Table(title=f"checkpoints by {choice['rule']}: {choice['chosen']}", title_justify="left")
    alphas = list(choice["rows"][0]["cvar"])
    for column in ("update", "score", "mean", *(f"CVaR {alpha}" for alpha in alphas), "out of distribution"):
        table.add_column(column, justify="right")
    for row in choice["rows"]:
        ood = "" if row["ood"] is None else f"{row['ood']:.0%}"
        numbers = (row["score"], row["mean"], *(row["cvar"][alpha] for alpha in alphas))
        table.add_row(str(row["step"]), *(f"{number:.2f}" for number in numbers), ood)
    return table


def figure(report: dict[str, Any], path: Path) -> None:
    """Quantile functions: estimates of policy and behaviour over what the episodes returned, CVaR 0.1 marked; PNG."""
    behaviour = report["behaviour"]
    kind = "held-out" if behaviour["held_out"] else "training"
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.subplots()
    returned = f"returned, {behaviour['episodes']} {kind} episodes"
    for value, colour, style, label in (
        (behaviour["realised"], "black", ":", returned),
        (behaviour["quantiles"], ORANGE, "--", "behaviour, estimate"),
        (report["policy"]["quantiles"], BLUE, "-", "policy, estimate"),
    ):
        value = np.asarray(value)
        tail = float(cvar(value, TAIL))
        level = (np.arange(len(value)) + 0.5) / len(value)
        axes.plot(level, value, color=colour, ls=style, lw=1.8, label=f"{label}: mean {value.mean():.1f}")
        axes.plot([0, TAIL], [tail, tail], color=colour, ls=style, lw=1, marker="|", label=f"CVaR {TAIL:g} {tail:.1f}")
    axes.axvspan(0, TAIL, color="#000000", alpha=0.06, lw=0)
    axes.set(xlabel="level (0 is the worst)", ylabel="discounted return (reward units)", xlim=(0, 1))
    name = Path(report["run_dir"]).name
    axes.set_title(f"{name}: estimate from logged data, gamma {report['gamma']:g}", fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=130, format="png")
