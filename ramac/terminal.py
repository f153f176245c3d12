"""What a run says on the terminal when it ends."""

from typing import Any

from rich.console import Console
from rich.table import Table


def show(summary: dict[str, Any]) -> None:
    """Print the result of a run beside the behaviour data's, and the next commands to try."""
    console, behaviour = Console(), summary["behaviour"]
    cell = "{task}: actor={actor} critic={critic} risk={risk} seed={seed}, {steps} updates".format(**summary)
    recipe = summary.get("recipe")
    cell = cell if recipe is None else f"{recipe} on {cell}"
    table = Table(title=cell, title_justify="left")
    table.add_column("episode return")
    table.add_column(f"policy ({summary['episodes']} episodes)", justify="right")
    table.add_column(f"behaviour data ({behaviour['episodes']})", justify="right")
    table.add_row("mean", f"{summary['return_mean']:.2f}", f"{behaviour['return_mean']:.2f}")
    for alpha, value in summary["return_cvar"].items():
        table.add_row(f"CVaR {alpha}", f"{value:.2f}", f"{behaviour['return_cvar'][alpha]:.2f}")
    table.add_row("worst", f"{summary['return_min']:.2f}", "")
    table.add_row("risky steps", f"{summary['hazard_rate']:.1%}", "")
    table.add_row("penalties", str(summary["penalties"]), "")
    if "score" in summary:
        table.add_row("D4RL score of the mean", f"{summary['score']:.1f}", "")
    if ood := summary.get("ood"):
        rate = f"{ood['rate']:.1%} ± {ood['standard_error']:.1%}"
        table.add_row("out-of-distribution actions", rate, f"{ood['data']:.1%}")
    for place in ("centre", "ring", "off_support"):
        if (key := f"mass_{place}") in summary:
            table.add_row(f"mass {place.replace('_', ' ')}", f"{summary[key]:.1%}", f"{summary[f'data_{key}']:.1%}")
    console.print(table)
    speed = "{updates_per_second:.1f} updates/s, {wall_seconds:.0f} s in all".format(**summary)
    console.print(f"{speed}; everything is in [bold]{summary['run_dir']}[/bold]", highlight=False)
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
