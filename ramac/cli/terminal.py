"""What a run says on the terminal when it ends."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ramac.statistics import thin_tails


def result_rows(summary: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, value and interval of each figure of an evaluation."""
    between = {key: f"{low:.2f} to {high:.2f}" for key, (low, high) in summary["intervals"].items()}
    yield "mean", f"{summary['return_mean']:.2f}", between.get("mean", "")
    yield "interquartile mean", f"{summary['return_iqm']:.2f}", ""
    for alpha, value in summary["return_cvar"].items():
        yield f"CVaR {alpha}", f"{value:.2f}", between.get(alpha, "")
    yield "worst", f"{summary['return_min']:.2f}", ""
    yield "risky steps", f"{summary['hazard_rate']:.1%}", ""
    yield "penalties", str(summary["penalties"]), ""
    if "score" in summary:
        yield "D4RL score of the mean", f"{summary['score']:.1f}", ""


def warn_of_thin_tails(summary: dict[str, Any]) -> None:
    """Say where a CVaR rests on fewer than five episodes."""
    if warning := thin_tails(summary["episodes"], [float(alpha) for alpha in summary["return_cvar"]]):
        Console(stderr=True).print(f"ramac: {warning}", highlight=False, soft_wrap=True)


def show_evaluation(run: Path, summary: dict[str, Any]) -> None:
    """Print a finished run's evaluation."""
    console = Console()
    settings = " ".join(f"{key}={value}" for key, value in summary["settings"].items())
    table = Table(title=escape(f"{run}: {settings or 'again'}"), title_justify="left")
    table.add_column("episode return")
    table.add_column(f"policy ({summary['episodes']} episodes)", justify="right")
    table.add_column("95 % interval", justify="right")
    for row in result_rows(summary):
        table.add_row(*row)
    console.print(table)
    warn_of_thin_tails(summary)
    console.print(f"everything is in [bold]{escape(summary['run_dir'])}[/bold]", highlight=False, soft_wrap=True)


def show(summary: dict[str, Any]) -> None:
    """Print the result of a run beside the behaviour data's, and the next commands to try."""
    if "estimate" in summary:  # no environment, no episodes
        from ramac.cli.estimate_report import show as show_estimate

        show_estimate(json.loads(Path(summary["run_dir"], "estimate.json").read_text()))
        return
    console, behaviour = Console(), summary["behaviour"]
    cell = "{task}: actor={actor} critic={critic} risk={risk} seed={seed}, {steps} updates".format(**summary)
    recipe = summary.get("recipe")
    cell = cell if recipe is None else f"{recipe} on {cell}"
    table = Table(title=cell, title_justify="left")
    table.add_column("episode return")
    table.add_column(f"policy ({summary['episodes']} episodes)", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column(f"behaviour data ({behaviour['episodes']})", justify="right")
    for name, *cells in result_rows(summary):
        of_data = {"mean": behaviour["return_mean"], **{f"CVaR {a}": v for a, v in behaviour["return_cvar"].items()}}
        table.add_row(name, *cells, f"{of_data[name]:.2f}" if name in of_data else "")
    if ood := summary.get("ood"):
        rate = f"{ood['rate']:.1%} ± {ood['standard_error']:.1%}"
        table.add_row("out-of-distribution actions", rate, "", f"{ood['data']:.1%}")
    for place in ("centre", "ring", "off_support"):
        if (key := f"mass_{place}") in summary:
            table.add_row(f"mass {place.replace('_', ' ')}", f"{summary[key]:.1%}", "", f"{summary[f'data_{key}']:.1%}")
    console.print(table)
    warn_of_thin_tails(summary)
    speed = "{updates_per_second:.1f} updates/s, {wall_seconds:.0f} s in all".format(**summary)
    console.print(f"{speed}; everything is in [bold]{escape(summary['run_dir'])}[/bold]", highlight=False)
    other = "neutral" if summary["risk"] != "neutral" else "cvar0.1"
    this = f"ramac task={summary['task']}" + (f" recipe={recipe}" if recipe else "")
    next_commands = {
        f"{this} --explain": "what each loss term does",
        f"{this} risk={other}": "the same task, another risk measure",
        f"{this} critic=qr": "another critic",
        "ramac -m risk=cvar0.05,cvar0.25 seed=0,1": "a grid",
        "ramac list": "everything that can be combined",
    }
    for command, purpose in next_commands.items():
        console.print(f"  {command:<48} {purpose}", highlight=False, soft_wrap=True)
