"""The page: sections of tables and figures, and beside it the files for a paper, each written whole."""

import io
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ramac.errors import InputError
from ramac.plotting import DATES, missing_glyphs, styled
from ramac.reporting import plots, tables
from ramac.reporting.formats import Table, counted, csv, frame_of, latex, markdown, slug
from ramac.reporting.groups import Group, baselines, chosen_keys, duplicates, known, make_groups
from ramac.reporting.media import Medium, media
from ramac.reporting.runs import HEADLINE, Reading, gather
from ramac.system.files import alone, whole
from ramac.system.paths import inside, refuse_unsafe
from ramac.system.untrusted import opened
from ramac.text import LONGEST, for_page, say, shortened

FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {"md": markdown, "csv": csv, "tex": latex}
FILES = {"table": "results", "comparison": "comparison", "compute": "compute"}  # of tables, and names in a Report
FIGURES = {  # function of `plots` and beginning of the file's name, and heading
    "plane": "Mean against CVaR", "distributions": "Return distributions", "heat-maps": "Heat maps",
    "learning-curves": "Learning curves", "losses": "Losses", "calibration": "Critic calibration",
    "ood-curves": "Out-of-distribution actions",
}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """The folder that was written, the tables `results`, `comparison` and `compute` of all tasks, and warnings."""

    folder: Path
    tables: dict[str, pd.DataFrame] = field(repr=False)
    warnings: list[str]
    size: str  # number of runs and groups

    def __str__(self) -> str:
        return "; ".join([f"report: {self.folder / 'index.html'} ({self.size})", *self.warnings])


@dataclass(frozen=True)
class Picture:
    """A figure of one task and its caption, as PDF and SVG."""

    name: str
    task: str
    caption: str
    files: dict[str, bytes]  # by ending

    @property
    def svg(self) -> Markup:
        """The SVG element, for the page."""
        content = self.files["svg"]
        return Markup(content[content.index(b"<svg") :].decode())


@dataclass
class Section:
    """A heading with a sentence, tables, a sentence below them, and pictures."""

    title: str
    text: str = ""
    tables: list[Table] = field(default_factory=list)
    below: str = ""
    pictures: list[Picture] = field(default_factory=list)
    media: list[Medium] = field(default_factory=list)


def report(
    paths: Sequence[str | Path], by: str | Sequence[str] = (), baseline: str = "", alpha: float = 0.1,
    out: str | Path | None = None, quiet: bool = False,
) -> Report:  # fmt: skip
    """Compare runs on one page, with the same tables and figures for a paper; unless `quiet`, print one line.

    Without `by` the groups differ in whatever the runs differ in; without `out` the folder is `report` in the first
    path. Raises InputError for paths, keys, a baseline or an alpha that cannot be used, and a folder not to be written.
    """
    if not paths:
        raise InputError("report needs a folder of run folders, a run folder or a csv file, e.g. ramac report runs")
    if not 0 < alpha <= 1:
        raise InputError(f"alpha must be in (0, 1], got {alpha:g}")
    by = [key for key in by.split(",") if key] if isinstance(by, str) else list(by)
    words, first = list(map(str, paths)), Path(paths[0])
    place = first if first.is_dir() else first.parent
    folder = Path(out) if out else inside(place / "report", place)
    refuse_links(folder)
    reading = gather(words)
    keys, note = chosen_keys(reading.runs, by)
    groups = make_groups(reading.runs, keys)
    reading.notes += filter(None, [note, duplicates(groups)])
    sections = compose(groups, baseline, alpha)
    found = {file: [table for section in sections for table in section.tables if table.name == file] for file in FILES}
    size = f"{counted(len(reading.runs), 'run')} in {counted(len(groups), 'group')}"
    warnings = [f"{len(reading.problems)} failed, unfinished or damaged"] if reading.problems else []
    if any(note.startswith("†") for table in found["table"] for note in table.notes):
        warnings.append("CVaR of some groups rests on fewer than 5 episodes")
    options = {"--by": ",".join(by), "--baseline": baseline, "--alpha": f"{alpha:g}", "--out": str(out or "")}
    command = ["ramac", "report", *words, *(f"{key}={value}" for key, value in options.items() if value)]
    lines = [shortened(fact, LONGEST) for fact in (*facts(groups, reading, alpha), *reading.notes)]
    problems = [(source, shortened(reason, LONGEST)) for source, reason in reading.problems]
    write(
        folder, found, sections, size=size, facts=lines, problems=problems, command=shlex.join(command),
        version=version("ramac"),
    )  # fmt: skip
    made = Report(folder, {FILES[file]: frame_of(part) for file, part in found.items()}, warnings, size)
    if not quiet:
        say(*str(made).splitlines())
    return made


def compose(groups: Sequence[Group], baseline: str, alpha: float) -> list[Section]:
    """Tables and figures of each task. Raises InputError for a baseline that is not there."""
    chosen = baselines(groups, baseline) if baseline else {}
    tasks: dict[str, list[Group]] = {}
    for group in groups:
        tasks.setdefault(group.task, []).append(group)
    compared = [(part, chosen[task]) for task, part in tasks.items() if task in chosen and len(part) > 1]
    took = [table for part in tasks.values() if (table := tables.compute(part))]
    sections = [
        Section("Results", tables=[tables.results(part, alpha) for part in tasks.values()]),
        Section("Comparison to a baseline", tables=[tables.comparison(*pair, alpha) for pair in compared]),
    ]
    if not baseline and (example := ",".join(f"{key}={value}" for key, value in groups[0].keys.items())):
        sections[0].below = f"To compare the groups with one of them: --baseline {shlex.quote(example)}"
    if baseline and (missing := [task for task in tasks if task not in chosen]):
        sections[1].text = f"The baseline has no run of {', '.join(missing)}."
    drawn = [Section(title, pictures=draw(name, tasks, alpha)) for name, title in FIGURES.items()]
    for task, part in tasks.items():
        found, note = media(part, alpha)
        if found:
            title = f"Pictures of the runs{f': {shortened(task)}' if len(tasks) > 1 else ''}"
            sections.append(Section(title, note, media=found))
    sections += [*drawn, Section("Compute", tables=took)]
    return [each for each in sections if each.text or each.tables or each.pictures or each.media]


def draw(name: str, tasks: Mapping[str, Sequence[Group]], alpha: float) -> list[Picture]:
    """One figure of each task that has something to show."""
    function, pictures = getattr(plots, name.replace("-", "_")), []
    with styled():
        for task, groups in tasks.items():
            if drawn := function(groups, alpha):
                file = slug(f"{name}-{task}")
                if any(each.name == file for each in pictures):
                    file += f"-{len(pictures) + 1}"
                pictures.append(Picture(file, shortened(task), drawn[1], files(drawn[0])))
    return pictures


def files(figure: Figure) -> dict[str, bytes]:
    """The figure as PDF and SVG, by ending."""
    found = {kind: io.BytesIO() for kind in DATES}
    with missing_glyphs():
        if engine := figure.get_layout_engine():
            engine.execute(figure)
        figure.set_layout_engine("none")  # laid out once, not for each format
        figure.set_dpi(matplotlib.rcParams["savefig.dpi"])
        # not by savefig, which draws every figure twice
        FigureCanvasPdf(figure).print_pdf(found["pdf"], metadata={DATES["pdf"]: None})
        FigureCanvasSVG(figure).print_svg(found["svg"], metadata={DATES["svg"]: None})
    return {kind: file.getvalue() for kind, file in found.items()}


def facts(groups: Sequence[Group], reading: Reading, alpha: float) -> list[str]:
    """What was read, in sentences."""
    runs, counts = reading.runs, [len(part) for group in groups for part in group.by_seed.values()]
    low, high = min(counts), max(counts)
    values = {key: known(runs, key) for key in HEADLINE}
    seeds, tasks = ", ".join(values.pop("seed")), values["task"]
    per_seed = f"{low}" if low == high else f"{low} to {high}, {np.median(counts):.0f} in the median"
    lines = [f"{len(runs)} runs in {len(groups)} groups; seeds {seeds}; episodes per group and seed: {per_seed}"]
    same = [f"{key}={shortened(found[0])}" for key, found in values.items() if len(found) == 1 and found != ["none"]]
    lines += [f"the same in all runs that name it: {', '.join(same)}"] if same else []
    lines += [f"tasks: {', '.join(map(shortened, tasks))}"] if len(tasks) > 1 else []
    return [*lines, f"CVaR_{alpha:g} is the mean of the worst {alpha:.3g} of the episodes; returns: higher is better"]


def encoded(text: str) -> bytes:
    """UTF-8; half of a surrogate pair, as JSON and file names can hold one, is written out."""
    return text.encode(errors="backslashreplace")


def refuse_links(folder: Path) -> None:
    """Refuse a folder where what a report writes would go through a link to another place. Raises InputError."""
    for name in ("index.html", *(f"{name}.{kind}" for name in FILES for kind in FORMATS)):
        inside(folder / name, folder)
    refuse_unsafe(inside(folder / "figures", folder))


def refuse_others(folder: Path) -> None:
    """Refuse a folder whose files no report wrote: they would be overwritten. Raises InputError."""
    page, ours = folder / "index.html", False
    if os.path.lexists(page):
        with opened(page) as file:
            ours = b'content="ramac' in file.read(1000)
    names = ["index.html", "figures", *(f"{name}.{kind}" for name in FILES for kind in FORMATS)]
    for name in names if not ours else ():
        if os.path.lexists(folder / name):
            raise InputError(f"{folder} holds a {name} that no report wrote; --out names another folder")


def write(folder: Path, found: Mapping[str, Sequence[Table]], sections: Sequence[Section], **page: Any) -> None:
    """Write tables, figures and, last, index.html; then remove what an earlier report wrote and this one does not.

    Raises InputError when the folder cannot be written to.
    """
    refuse_others(folder)
    figures, drawn = folder / "figures", [picture for section in sections for picture in section.pictures]
    contents = {figures / f"{each.name}.{kind}": data for each in drawn for kind, data in each.files.items()}
    for name, part in found.items():
        contents |= {folder / f"{name}.{kind}": encoded(render(part)) for kind, render in FORMATS.items() if part}
    source = Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8")
    template = jinja2.Template(source, autoescape=True, trim_blocks=True, lstrip_blocks=True, finalize=for_page)
    meanings = {column.title: column.meaning for part in found.values() for table in part for column in table.columns}
    escape = lambda text: Markup.escape(for_page(text))  # noqa: E731
    cells = partial(Table.cells, escape=escape, strong=Markup("<strong>{}</strong>").format)
    contents[folder / "index.html"] = encoded(template.render(page, sections=sections, meanings=meanings, cells=cells))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder / "index.html"):
            replace_files(folder, contents)
    except OSError as error:
        raise InputError(f"{error.filename or folder} cannot be written: {error.strerror}") from error


def replace_files(folder: Path, contents: Mapping[Path, bytes]) -> None:
    """Write files, and remove those of an earlier report that are none of them. Raises OSError."""
    for path, content in contents.items():
        path.parent.mkdir(exist_ok=True)
        with whole(path) as unfinished:
            unfinished.write_bytes(content)
    figures = folder / "figures"
    earlier = [folder / f"{name}.{kind}" for name in FILES for kind in FORMATS]
    earlier += [path for name in FIGURES for kind in ("pdf", "svg") for path in figures.glob(f"{name}*.{kind}")]
    for path in set(earlier) - set(contents):
        path.unlink(missing_ok=True)
