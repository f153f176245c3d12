"""Measure what each actor, critic, risk measure and loss term costs: `python -m scripts.measure_entries`.

Writes docs/results/entries.csv and entries.md. `python -m scripts.measure_entries OUT actor=mine` measures chosen
entries, also those of plug-ins, into the folder OUT, and keeps the others' rows there.
"""

import argparse
import csv
import time
import warnings
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import describe
from benchmarks.timing import alternate, spread
from benchmarks.updates import ACT_DIM, BATCH, OBS_DIM, data, ramac_trainer
from ramac.losses import build_terms
from ramac.registry import GROUPS, actors
from ramac.testing.samples import BOX
from ramac.testing.term import fitting
from ramac.training.trainer import Trainer

MEASURED = ("actor", "critic", "risk", "loss")
CELL = {"actor": "flow", "critic": "iqn", "risk": "cvar0.1"}
LOSS = ("td", "bc", "risk")
ROUNDS, LEAST, WARM, PASSES = 5, 0.06, 3, 2
COLUMNS: tuple[str, ...] = (
    "group",
    "entry",
    "cost",
    "cost_q1",
    "cost_q3",
    "again",
    "parameters",
    "act_1_ms",
    "act_256_ms",
)
RESULTS = Path(__file__).resolve().parents[1] / "docs/results"
LOGGED = data(10_000)
LOGGED.set(("next", "action"), LOGGED["action"].roll(-1, 0))  # for critic_bc
LOGGED.set(("next", "followed"), torch.ones(len(LOGGED), 1, dtype=torch.bool))
PAGE = f"""# Cost of each entry

Written by `python -m scripts.measure_entries`. The numbers are in
`docs/results/entries.csv`, and on the page of each entry (Reference, Entries).

- **Reference**: one gradient step of {" x ".join(CELL.values())} with the losses {", ".join(LOSS)}, all settings at
  their defaults, batches of {BATCH} random transitions with {OBS_DIM} observations and {ACT_DIM} actions, gamma 0.99.
- **Cost of an actor, critic or risk measure**: the step with this entry in the place of the reference's, divided by the
  reference step. `onestep` is trained by `distill` too.
- **Cost of a loss term**: the step of td and bc with the term, less the step without it, divided by the reference step;
  td beside bc, and bc beside td. A term that `flow` cannot serve is measured with the first actor that can. `distill`
  is measured with `onestep`, which needs it, less the step of `flow` without it.
- A term that gives the value of the next state (`iql`) spares TD's target an action of the actor: it may be below 0.
- **Acting**: milliseconds of one call of `agent.act` for 1 observation and for 256.
- **Parameters**: trained numbers of the actor, the whole critic ensemble, or the loss term.
- **How**: processor time on one thread (`time.process_time`). Entry and reference take turns, {ROUNDS} times, for at
  least {LEAST:g} s each. A figure is the median of the ratios of the turns.
"""


@cache
def trainer_of(loss: tuple[str, ...], **chosen: str) -> Trainer:
    """The reference cell with some entries exchanged."""
    parts = [f"{group}={name}" for group, name in {**CELL, **chosen}.items()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a critic of the mean warns about risk measures
        return ramac_trainer([*parts, f"loss=[{','.join(loss)}]"], LOGGED)


def update_of(trainer: Trainer) -> Callable[[], Any]:
    """One gradient step on a batch of its own."""
    return lambda: trainer.update(trainer.batch())


def size(part: torch.nn.Module) -> int:
    """How many trained numbers a part has."""
    return sum(parameter.numel() for parameter in part.parameters() if parameter.requires_grad)


def measured(group: str, name: str) -> dict[str, Any]:
    """Cost of an entry in the reference cell, and its parameters."""
    reference = trainer_of(LOSS)
    if group == "loss":
        actor = fitting(build_terms({name: {"name": name}}, BOX)[name])["actor"]
        base = tuple(term for term in ("td", "bc") if term != name)
        with_it = trainer_of((*base, name), actor=actor)
        tied = name in getattr(actors[actor], "trained_by", ())  # such an actor cannot do without the term
        without = trainer_of(base) if tied else trainer_of(base, actor=actor)
        found = with_it.loss.terms[name]
        contenders = {"reference": reference, "with": with_it, "without": without}
    else:
        extra = getattr(actors[name], "trained_by", ()) if group == "actor" else ()
        with_it = trainer_of((*LOSS, *extra), **{group: name})
        found = getattr(with_it.agent, group)
        contenders = {"reference": reference, "with": with_it}
    times = alternate(
        {key: update_of(trainer) for key, trainer in contenders.items()}, ROUNDS, LEAST, WARM, time.process_time
    )
    cost = (times["with"] - times.get("without", 0)) / times["reference"]
    row = {**spread("cost", cost), "parameters": size(found), "reference_ms": 1000 * np.median(times["reference"])}
    if group == "actor":
        agent = with_it.target.eval()
        draw = np.random.default_rng(0)
        calls = {count: partial(agent.act, draw.normal(size=(count, OBS_DIM)).astype(np.float32)) for count in (1, 256)}
        acting = alternate({str(k): call for k, call in calls.items()}, ROUNDS, LEAST / 2, WARM, time.process_time)
        row |= {f"act_{count}_ms": 1000 * np.median(values) for count, values in acting.items()}
    return row


def cells(row: dict[str, Any]) -> list[str]:
    """A row as text: three digits, and empty where nothing was measured."""
    return [f"{x:.3g}" if isinstance(x, float) else str(x) for x in (row.get(key, "") for key in COLUMNS)]


def page(rows: list[dict[str, Any]]) -> str:
    """entries.md."""
    made = describe(torch.device("cpu"))
    noise = "- **Noise**: a difference that `again` does not repeat means nothing."
    if twice := [row for row in rows if "again" in row]:
        off = np.array([abs(row["again"] - row["cost"]) for row in twice])
        worst = twice[int(off.argmax())]
        noise += (
            f"\n  A second measurement of {len(twice)} entries, column `again`, differs by {np.median(off):.2g} of a"
            f" reference step in the\n  median, by {off.max():.2g} at most (`{worst['group']}={worst['entry']}`)."
        )
    else:
        noise += "\n  Everything was measured once only."
    if taken := [row["reference_ms"] for row in rows if "reference_ms" in row]:
        noise += f"\n- The reference step took {np.median(taken):.3g} ms of processor time."
    noise += f"\n- Machine: {made['device']}, {made['cores']} cores; torch {made['torch']}, ramac {version('ramac')}.\n"
    shown = [key for key in COLUMNS if "_q" not in key and any(key in row for row in rows)]
    lines = [shown, ["---"] * len(shown)]
    for row in rows:
        texts = dict(zip(COLUMNS, cells(row), strict=True))
        lines.append([f"`{texts[key]}`" if key == "entry" else texts[key] for key in shown])
    return PAGE + noise + "\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """Both files, in the order of the groups and names."""
    rows = sorted(rows, key=lambda row: (MEASURED.index(row["group"]), row["entry"]))
    with open(out / "entries.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *map(cells, rows)])
    (out / "entries.md").write_text(page(rows), encoding="utf-8")


def kept(out: Path, chosen: list[tuple[str, ...]]) -> list[dict[str, Any]]:
    """Rows of an earlier measurement in `out` that are not measured again."""
    if not (out / "entries.csv").exists():
        return []
    with open(out / "entries.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["group"], row["entry"]) not in chosen]
    kinds = {"group": str, "entry": str, "parameters": lambda text: int(float(text))}
    return [{key: kinds.get(key, float)(text) for key, text in row.items() if text} for row in rows]


def main() -> None:
    """Measure, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", nargs="?", type=Path, default=RESULTS)
    parser.add_argument("entries", nargs="*", help="GROUP=NAME; all built-in ones if none is given")
    options = parser.parse_args()
    torch.set_num_threads(1)
    built_in = [
        (group, name)
        for group in MEASURED
        for name, entry in GROUPS[group].items()
        if entry.__module__.startswith("ramac.")
    ]
    chosen = [(group, name) for group, _, name in (word.partition("=") for word in options.entries)] or built_in
    for group, name in chosen:
        if group not in MEASURED or name not in GROUPS[group]:
            parser.error(f"there is no entry {group}={name}; choose GROUP=NAME, GROUP of {', '.join(MEASURED)}")
    options.out.mkdir(parents=True, exist_ok=True)
    rows = kept(options.out, chosen)
    others = len(rows)
    for turn in range(PASSES):  # the second shows how repeatable the first was
        for index, (group, name) in enumerate(chosen):
            row = measured(group, name)
            if turn == 0:
                rows.append({"group": group, "entry": name, **row})
            else:
                rows[others + index]["again"] = row["cost"]
            write(rows, options.out)  # what is there when it is interrupted
            print(turn, group, name, f"{row['cost']:.3f}", flush=True)


if __name__ == "__main__":
    main()
