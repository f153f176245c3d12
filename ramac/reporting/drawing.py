"""`ramac plot`: curves over gradient steps, and the pictures of runs, as files and in a terminal."""

import sys
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib import rcParams
from matplotlib.figure import Figure

from ramac.errors import InputError, whole_number
from ramac.plotting import save, styled
from ramac.reporting import plots
from ramac.reporting.curves import XLABEL, available, chosen, default, figure_of, means, titled
from ramac.reporting.formats import slug
from ramac.reporting.groups import Group, chosen_keys, make_groups
from ramac.reporting.logs import folders_in, logged
from ramac.reporting.pictures import Subject, actions, quantiles
from ramac.reporting.plots.curves import Line
from ramac.reporting.runs import gather
from ramac.reporting.terminal import draw
from ramac.system.paths import inside
from ramac.text import for_page, say

Made = tuple[Figure, str]

OF_GROUPS: dict[str, Callable[[Sequence[Group], float], Made | None]] = {
    "returns": plots.distributions, "plane": plots.plane, "calibration": plots.calibration,
}  # fmt: skip
OF_RUNS: dict[str, Callable[[Subject, Sequence[int], Sequence[int], float], Made]] = {
    "quantiles": quantiles, "actions": actions,
}  # fmt: skip
PICTURES = (*OF_GROUPS, *OF_RUNS)
KINDS = ("png", "pdf", "svg")
MEDIA = {".png": "image/png", ".svg": "image/svg+xml"}  # that a notebook shows
MOST_ROWS = 10**6  # of a mean
ALPHA = 0.1  # the level of `ramac report`


@dataclass(frozen=True)
class Options:
    """What `ramac plot` is asked for besides runs and names. Raises InputError."""

    by: str = ""
    alpha: float = ALPHA
    smooth: int = 1
    states: tuple[int, ...] = ()
    dimensions: tuple[int, ...] = ()
    out: str | Path | None = None
    terminal: bool | None = None

    @property
    def file(self) -> Path | None:
        """The file that is asked for."""
        return None if self.out is None else Path(self.out)

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise InputError(f"alpha must be in (0, 1], got {self.alpha:g}")
        whole_number("--smooth", self.smooth, 1, MOST_ROWS)
        if (file := self.file) and file.suffix.removeprefix(".") not in KINDS:
            raise InputError(f"--out {file}: a figure is a file .{', .'.join(KINDS)}")
        if file and not file.parent.is_dir():
            raise InputError(f"{file}: the folder {file.parent} does not exist")

    def refuse_idle(self, pictures: Sequence[str], metrics: Sequence[str]) -> None:
        """Refuse an option that would change nothing. Raises InputError."""
        curves, names = bool(metrics or not pictures), ", ".join([*metrics, *pictures]) or "curves"
        of = {
            "--smooth": (self.smooth > 1, curves, "curves"), "--terminal": (bool(self.terminal), curves, "curves"),
            "--states": (self.states, {"quantiles", "actions"} & {*pictures}, "quantiles and actions"),
            "--dimensions": (self.dimensions, "actions" in pictures, "actions"),
            "--by": (self.by, curves or set(OF_GROUPS) & {*pictures}, f"curves, {' and '.join(OF_GROUPS)}"),
        }  # fmt: skip
        for option, (given, used, what) in of.items():
            if given and not used:
                raise InputError(f"{option} has no effect on {names}; it is for {what}")
        if self.out is not None and len(pictures) + curves > 1:
            raise InputError(f"--out is one file, and these are {len(pictures) + curves} figures; name one of them")

    def refuse_idle_alpha(self, names: Sequence[str]) -> None:
        """Refuse a level of CVaR where no curve or picture among `names` has one. Raises InputError."""
        if self.alpha != ALPHA and not set(names) & {"return_cvar", "returns", "plane", "quantiles"}:
            raise InputError(f"--alpha has no effect on {', '.join(names)}")


@dataclass(frozen=True)
class Plot:
    """The files that were written, and the caption of each."""

    captions: dict[Path, str] = field(repr=False)

    @property
    def files(self) -> list[Path]:
        """The files that were written."""
        return list(self.captions)

    def __str__(self) -> str:
        return "\n".join(f"figure: {path}\n  {caption}" for path, caption in self.captions.items())

    def _repr_html_(self) -> str:
        """The figures with their captions, for a notebook; of a PDF only the caption."""
        element = Markup("<figure>{}<figcaption>{}</figcaption></figure>")
        return "\n".join(element.format(image(path), for_page(text)) for path, text in self.captions.items())


def image(path: Path) -> Markup:
    """A figure inside a page, or the name of its file where browsers show none."""
    if path.suffix not in MEDIA:
        return Markup("<code>{}</code>").format(for_page(path))
    content, size = path.read_bytes(), ""
    if path.suffix == ".png":  # in its size in inches; a browser would take each dot for a pixel
        with styled():
            dots = rcParams["savefig.dpi"]
        size = Markup(' width="{}"').format(round(int.from_bytes(content[16:20], "big") * 96 / dots))
    data = b64encode(content).decode()
    return Markup('<img alt="{}"{} src="data:{};base64,{}">').format(path.stem, size, MEDIA[path.suffix], data)


def plot(
    paths: str | Path | Sequence[str | Path], names: str | Sequence[str] = (), quiet: bool = False, **options: Any
) -> Plot:
    """Draw curves of metrics and pictures of runs, by name; without names the losses, and returns in training.

    Paths are run folders, or folders of them; runs need not have ended. `names`: metrics, patterns of them (`loss_*`),
    and PICTURES. Options: those of `Options`. The files are `plots/NAME.png` in the path, beside the first of several.
    Raises InputError before anything is written.
    """
    if not paths:
        raise InputError("plot needs a run folder, e.g. ramac plot runs/NAME")
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    names = [names] if isinstance(names, str) else list(names)
    asked = Options(**options)
    pictures = [name for name in dict.fromkeys(names) if name in PICTURES]
    metrics = [name for name in dict.fromkeys(names) if name not in PICTURES]
    asked.refuse_idle(pictures, metrics)
    folders, lines = folders_in(paths), dict[str, Line]()
    made, shown = dict[str, Made](), None
    if metrics or not pictures:
        runs = [logged(folder) for folder in folders]
        lines = available(runs, asked.alpha, asked.smooth)
        lines = chosen(lines, metrics, PICTURES) if metrics else default(lines, runs)
        groups = with_tasks(make_groups(runs, chosen_keys(runs, keys_of(asked.by))[0]))
        panels = titled(lines, asked.alpha)
        made[slug("-".join(metrics)).strip("_") or "curves"] = figure_of(groups, panels, asked.smooth)
        shown = means(groups, panels)
    asked.refuse_idle_alpha([*lines, *pictures])
    for name in pictures:
        made[name] = picture(name, paths, [Subject(folder) for folder in folders], asked)
    plotted = write(place_of(paths), made, asked.file)
    if shown and (asked.terminal or (asked.terminal is None and not quiet and sys.stdout.isatty())):
        draw(shown, XLABEL, sys.stdout)
    if not quiet:
        say(*str(plotted).splitlines())
    return plotted


def with_tasks(groups: Sequence[Group]) -> list[Group]:
    """The groups, labelled with their task where there are several."""
    if len({group.task for group in groups}) == 1:
        return list(groups)
    return [replace(group, label=f"{group.task}: {group.label}") for group in groups]


def keys_of(by: str) -> list[str]:
    """The settings to group by."""
    return [key for key in by.split(",") if key]


def picture(name: str, paths: Sequence[str | Path], subjects: Sequence[Subject], asked: Options) -> Made:
    """A picture and its caption. Raises InputError where the runs have nothing to show."""
    if name in OF_RUNS:
        if len(subjects) > 1:
            raise InputError(f"{name} is a picture of one run, and these are {len(subjects)}; name one run folder")
        with styled():
            return OF_RUNS[name](subjects[0], asked.states, asked.dimensions, asked.alpha)
    found = gather(list(map(str, paths))).runs
    groups = make_groups(found, chosen_keys(found, keys_of(asked.by))[0])
    if len(tasks := {group.task for group in groups}) > 1:
        raise InputError(f"{name} compares runs of one task, and these are of {', '.join(sorted(tasks))}")
    with styled():
        made = OF_GROUPS[name](groups, asked.alpha)
    if made is None:
        raise InputError(f"{paths[0]} has no calibration.json; make it by ramac doctor RUN")
    return made


def place_of(paths: Sequence[str | Path]) -> Path:
    """The folder for figures: in the one path, beside the first of several."""
    first = Path(paths[0])
    root = first if len(paths) == 1 else first.resolve().parent
    return inside(root / "plots", root)


def write(folder: Path, made: Mapping[str, Made], out: Path | None) -> Plot:
    """Write the figures, each whole or not at all. Raises InputError where they cannot be written."""
    captions: dict[Path, str] = {}
    try:
        for name, (figure, caption) in made.items():
            path = out or inside(folder / f"{name}.png", folder)
            path.parent.mkdir(exist_ok=True)
            with styled():
                save(figure, path, path.suffix.removeprefix("."))
            captions[path] = caption
    except OSError as error:
        raise InputError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    return Plot(captions)
