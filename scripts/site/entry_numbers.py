"""What was measured of each entry: cost, errors of critics, bias of risk estimates. Read from docs/results."""

import csv
from functools import cache
from pathlib import Path

RESULTS = Path(__file__).resolve().parents[2] / "docs/results"
REFERENCE = "the [reference step](../../results/entries.md) (flow, iqn, cvar0.1)"
LAWS = ("gaussian", "exponential", "bandit ring")


@cache
def rows(name: str) -> list[dict[str, str]]:
    """Rows of a file of docs/results; none while it is not there."""
    if not (RESULTS / name).exists():
        return []
    with open(RESULTS / name, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def costs(group: str) -> dict[str, str]:
    """Cost of each measured entry of a group, as text."""
    sign = "+" if group == "loss" else ""
    found = {row["entry"]: float(row["cost"]) for row in rows("entries.csv") if row["group"] == group}
    return {entry: f"{number:{sign}.2f}" for entry, number in found.items()}


def cost(group: str, name: str) -> str:
    """What a gradient step with the entry costs, and an action of it."""
    row = next((row for row in rows("entries.csv") if (row["group"], row["entry"]) == (group, name)), None)
    if row is None:
        return ""
    number = costs(group)[name]
    text = f"{number} of {REFERENCE} in addition" if group == "loss" else f"{number} x {REFERENCE}"
    acting = "; one action takes {act_1_ms} ms, 256 actions {act_256_ms} ms".format(**row) if row["act_1_ms"] else ""
    size = f"; {int(row['parameters']):,} parameters" if row["parameters"] not in ("", "0") else ""
    return f"## Cost\n\n{text}, in processor time{acting}{size}.\n\n"


def table(header: tuple[str, ...], lines: list[list[str]]) -> str:
    """A table of Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [list(header), ["---"] * len(header), *lines]) + "\n\n"


def learned(name: str) -> str:
    """Errors of a trained critic on known laws."""
    known = [row for row in rows("critics.csv") if row["critic"] == name]
    if not known:
        return ""
    keys = [key for key in known[0] if key not in ("critic", "problem")]
    lines = [[row["problem"], *(row[key] for key in keys)] for row in known]
    text = "Errors after training on problems with known answers, in % of the [scale](../../critics.md#known-answers)"
    link = "[all critics](../../results/critics.md#known-answers)"
    return f"{text}; {link}:\n\n{table(('problem', *keys), lines)}"


def bias(group: str, name: str) -> str:
    """What was measured of a critic or risk measure against known laws."""
    key, other = ("critic", "measure") if group == "critic" else ("entry", "critic")
    found = [row for row in rows("readouts.csv") if row[key] == name]
    if group not in ("critic", "risk") or not found:
        return ""
    values = {(row["measure"], row["critic"], row["law"]): row["bias"] for row in found}
    pairs = dict.fromkeys((row["measure"], row["critic"]) for row in found)
    lines = []
    for measure, critic in pairs:
        shown = [f"`{measure}`"] if other == "measure" else [f"`{measure}`", f"`{critic}`"]
        lines.append([*shown, *(values[measure, critic, law] for law in LAWS)])
    head = ("measure", *LAWS) if other == "measure" else ("measure", "read by", *LAWS)
    text = (
        "Of the estimate itself, when the critic has learned the law perfectly: bias, ± standard deviation of one"
        " estimate where\nlevels are drawn, in standard deviations of the returns"
        " ([read-outs](../../results/critics.md#read-outs)):"
    )
    return f"## Measured bias\n\n{learned(name) if group == 'critic' else ''}{text}\n\n{table(head, lines)}"


def sections(group: str, name: str) -> str:
    """The sections of an entry's page; empty where nothing was measured."""
    return cost(group, name) + bias(group, name)
