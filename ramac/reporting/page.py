"""The page: sections of tables and figures, the files for a paper beside them, written one by one and renamed."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import matplotlib
import numpy as np

import ramac
from ramac.errors import InputError
from ramac.reporting import drawing, plots, tables
from ramac.reporting.drawing import Picture
from ramac.reporting.formats import Table, counted, latex, markdown, separated
from ramac.reporting.groups import Group, baselines, chosen_keys, duplicates, known, make_groups
from ramac.reporting.runs import HEADLINE, Reading
from ramac.system.files import whole

FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {"md": markdown, "csv": separated, "tex": latex}
TABLES = ("table", "comparison", "compute")
FIGURES = ("learning-curves", "losses", "distributions", "heat-maps", "calibration")


@dataclass
class Section:
    """A heading with a sentence, tables and figures."""

    title: str
    text: str = ""
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


@dataclass
class Page:
    """What a report says, before it is written."""

    groups: list[Group]
    reading: Reading
    facts: list[str]
    sections: list[Section]
    warnings: list[str]

    @property
    def size(self) -> str:
        """How many runs in how many groups."""
        return f"{counted(len(self.reading.runs), 'run')} in {counted(len(self.groups), 'group')}"


def compose(reading: Reading, by: Sequence[str], baseline: str, alpha: float) -> Page:
    """Group the runs, and make tables and figures of each task. Raises InputError for keys or a baseline not there."""
    keys, note = chosen_keys(reading.runs, by)
    groups = make_groups(reading.runs, keys)
    chosen = baselines(groups, baseline) if baseline else {}
    notes = list(filter(None, [note, duplicates(groups)]))
    tasks: dict[str, list[Group]] = {}
    for group in groups:
        tasks.setdefault(group.task, []).append(group)
    result = Section("Results", tables=[tables.results(part, alpha) for part in tasks.values()])
    against = Section("Comparison to a baseline")
    for task, part in tasks.items():
        if task in chosen and len(part) > 1:
            against.tables.append(tables.comparison(part, chosen[task], alpha))
    if not baseline:
        example = ",".join(f"{key}={value}" for key, value in groups[0].keys.items() if key != "task")
        against.text = "No baseline was named; --baseline KEY=VALUE,... compares every other group to one"
        against.text += f", as in --baseline {shlex.quote(example)}." if example else "."
    elif missing := [task for task in tasks if task not in chosen]:
        against.text = f"The baseline has no run of {', '.join(missing)}."
    with matplotlib.rc_context(drawing.PRINT):
        drawn = {
            "Learning curves": [plots.learning_curves(part, alpha) for part in tasks.values()],
            "Losses": [plots.losses(part, alpha) for part in tasks.values()],
            "Return distributions": [plots.distributions(part, alpha) for part in tasks.values()],
            "Heat maps": [plots.heat_maps(part, alpha) for part in tasks.values()],
            "Critic calibration": [plots.calibration(part, alpha) for part in tasks.values()],
        }
    took = Section("Compute", tables=[table for part in tasks.values() if (table := tables.compute(part))])
    sections = [Section(title, pictures=[each for each in found if each]) for title, found in drawn.items()]
    sections = [result, against, *(section for section in [*sections, took] if section.pictures or section.tables)]
    thin = [note for table in result.tables for note in table.notes]
    reading.notes += notes
    return Page(groups, reading, facts(groups, reading, alpha), sections, warnings(reading, thin))


def facts(groups: Sequence[Group], reading: Reading, alpha: float) -> list[str]:
    """What was read, in sentences."""
    runs, counts = reading.runs, [len(part) for group in groups for part in group.returns()]
    low, high = min(counts), max(counts)
    tasks, seeds = known(runs, "task"), known(runs, "seed")
    per_seed = f"{low}" if low == high else f"{low} to {high}, {np.median(counts):.0f} in the median"
    lines = [
        f"{len(runs)} runs in {len(groups)} groups; seeds {', '.join(seeds)}; episodes per group and seed: {per_seed}"
    ]
    values = {key: known(runs, key) for key in HEADLINE if key != "seed"}
    same = [f"{key}={found[0]}" for key, found in values.items() if len(found) == 1 and found != ["none"]]
    lines += [f"the same in all runs that say so: {', '.join(same)}"] if same else []
    lines += [f"tasks: {', '.join(tasks)}"] if len(tasks) > 1 else []
    return [*lines, f"CVaR_{alpha:g} is the mean of the worst {alpha:.3g} of the episodes; returns: higher is better"]


def warnings(reading: Reading, thin: Sequence[str]) -> list[str]:
    """Short reasons to look at the page twice."""
    found = [f"{len(reading.problems)} failed, unfinished or damaged"] if reading.problems else []
    return found + (["CVaR of some groups rests on fewer than 5 episodes"] if thin else [])


def put(path: Path, content: bytes) -> None:
    """Write a file beside its place and rename it, so that no half of one is ever read. Raises InputError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def refuse_others(folder: Path) -> None:
    """Refuse a folder that holds something which is no report: its files would be in the way. Raises InputError."""
    page = folder / "index.html"
    ours = page.is_file() and b'content="ramac' in page.read_bytes()[:1000]
    names = ["index.html", "figures", *(f"{name}.{kind}" for name in TABLES for kind in FORMATS)]
    for name in names if not ours else ():
        if (folder / name).exists():
            raise InputError(f"{folder} holds a {name} that is no report's; --out names another folder")


def write(page: Page, folder: Path, command: Sequence[str]) -> Path:
    """Write tables, figures and, last, index.html; returns its path. What an earlier report left there goes.

    Raises InputError when the folder cannot be written to.
    """
    refuse_others(folder)
    written: dict[str, Sequence[Table]] = {}
    for section in page.sections:
        for table in section.tables:
            written[table.name] = [*written.get(table.name, ()), table]
    pictures = [picture for section in page.sections for picture in section.pictures]
    for name, found in written.items():
        for kind, render in FORMATS.items():
            put(folder / f"{name}.{kind}", render(found).encode())
    svg = drawing.write(pictures, folder / "figures", put)
    stale = [folder / f"{name}.{kind}" for name in TABLES if name not in written for kind in FORMATS]
    stale += [
        path
        for kind in ("pdf", "svg")
        for path in (folder / "figures").glob(f"*.{kind}")
        if path.stem not in svg and path.name.startswith(FIGURES)
    ]
    for path in stale:
        path.unlink(missing_ok=True)
    meanings = {
        column.title: column.meaning for found in written.values() for table in found for column in table.columns
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ramac", "reporting"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    html = environment.get_template("page.html.j2").render(
        page=page,
        svg=svg,
        meanings=meanings,
        command=shlex.join(["ramac", "report", *command]),
        version=ramac.__version__,
    )
    put(folder / "index.html", html.encode())
    return folder / "index.html"
