"""Write docs/results/readouts.csv and critics.csv: `python -m scripts.measure_bias [DOCTOR.JSON...]`.

readouts.csv has what `ramac doctor measures` prints, a row per law, measure and critic. critics.csv has the errors of
trained critics: of the `doctor.json` files of `ramac doctor critic=NAME`, or without any of the tables in critics.md.
"""

import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from ramac.evaluation.readouts import readouts
from ramac.registry import risks

RESULTS = Path(__file__).resolve().parents[1] / "docs/results"
HEAD = ("critic", "problem", "CVaR_0.05", "CVaR_0.1", "CVaR_0.25", "quantiles")


def write(name: str, rows: Iterable[Iterable[str]]) -> None:
    """Write a table into docs/results."""
    with open(RESULTS / name, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def read_biases() -> Iterable[tuple[str, ...]]:
    """Law, measure, its entry, critic, truth and bias."""
    yield "law", "measure", "entry", "critic", "truth", "bias"
    (_, _, _, *names), *rows = readouts()
    for law, measure, truth, *found in rows:
        label = measure.strip("`")
        for name, bias in zip(names, found, strict=True):
            yield law, label, risks.parse(label)[0], name.strip("`"), truth, bias


def of_reports(paths: list[Path]) -> Iterable[tuple[str, ...]]:
    """Errors in % of the doctor's reports."""
    for path in paths:
        report = json.loads(path.read_text(encoding="utf-8"))
        for row in report["questions"]:
            errors = [row["risk"][f"cvar{alpha}"]["error"] for alpha in (0.05, 0.1, 0.25)]
            yield (
                report["critic"]["name"],
                row["problem"],
                *(f"{100 * error:.1f}" for error in (*errors, row["quantile error"])),
            )


def tables(text: str, title: str) -> dict[tuple[str, str], str]:
    """Cells of the table below a line that begins with `title`, by critic and problem."""
    lines = text[text.index(f"\n{title}") :].split("\n\n")[1].splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {(row[0].strip("`"), problem): cell for row in rows for problem, cell in zip(head[1:], row[1:], strict=True)}


def of_page() -> Iterable[tuple[str, ...]]:
    """The same errors of the tables in critics.md, which the doctor made."""
    text = (RESULTS / "critics.md").read_text(encoding="utf-8")
    middle, outer, shape = (tables(text, start) for start in ("CVaR_0.1, as", "Error of CVaR_0.05", "Quantile error"))
    for key, ends in outer.items():
        low, high = ends.split(" / ")
        yield (*key, low, middle[key].partition("(")[2].rstrip(")"), high, shape[key].split(" / ")[0])


def main(paths: list[Path]) -> None:
    """Write both files."""
    write("readouts.csv", read_biases())
    write("critics.csv", [HEAD, *(of_reports(paths) if paths else of_page())])


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
