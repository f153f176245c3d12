"""Pictures and films that lie in the run folders, for the page: learned actions, returns, filmed episodes."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from ramac.errors import InputError
from ramac.reporting.groups import Group
from ramac.statistics import cvar
from ramac.system.untrusted import opened
from ramac.text import shortened

PICTURES = {"bandit.png": "Learned actions", "returns.png": "Returns"}  # that tasks write, and what they show
GROUPS = 6  # of each task, as in the heat maps
FILMS = 2  # of each run
FILE_BYTES, ALL_BYTES = 2**22, 2**24  # base64 adds a third; a page of 22 MB still opens
KINDS = {".png": ("image/png", 0, b"\x89PNG\r\n\x1a\n"), ".mp4": ("video/mp4", 4, b"ftyp")}  # type, and its signature


@dataclass(frozen=True)
class Medium:
    """A picture or film as the address of its data, with a caption."""

    caption: str
    film: bool
    address: Markup


def media(groups: Sequence[Group], alpha: float) -> tuple[list[Medium], str]:
    """Media of the first run of each of the groups of highest CVaR, and a note on what is left out."""
    shown, left, room = list[Medium](), 0, ALL_BYTES
    for group in sorted(groups, key=lambda group: -float(cvar(group.returns, alpha)))[:GROUPS]:
        run = group.runs[0]
        root = Path(run.source)
        if not run.summary:  # rows of a csv file have no folder
            continue
        films = sorted([*root.glob("*.mp4"), *root.glob("evaluations/**/*.mp4")])
        left += max(0, len(films) - FILMS)
        for path in [*(root / name for name in PICTURES if (root / name).exists()), *films[:FILMS]]:
            content = checked(path, root, room)
            if not content:
                left += 1
                continue
            room -= len(content)
            what = PICTURES.get(path.name, f"Film {path.relative_to(root)}")
            seed, n = run.settings["seed"], run.returns.size
            caption = f"{what}. {group.label}; seed {seed}, {n} evaluation episodes; run {root.name}."
            kind = KINDS[path.suffix][0]
            address = Markup(f"data:{kind};base64,{base64.b64encode(content).decode()}")
            shown.append(Medium(shortened(caption, 300), path.suffix == ".mp4", address))
    notes = [f"The {GROUPS} groups of highest CVaR of {len(groups)}."] if len(groups) > GROUPS else []
    notes += [f"{left} files are left out: too large, damaged, or more than {FILMS} films of a run."] if left else []
    return shown, " ".join(["The first seed of each group.", *notes])


def checked(path: Path, root: Path, room: int) -> bytes:
    """Content of a file in the folder `root`; empty where it is a link out of it, too large, or of another kind."""
    _, begin, signature = KINDS[path.suffix]
    most = min(FILE_BYTES, room)
    try:
        with opened(path, root, most) as file:
            content = file.read(most)
    except InputError:
        return b""
    return content if content[begin : begin + len(signature)] == signature else b""
