"""A run whose training has not ended may have a checkpoint all the same: of which update, as far as its files tell."""

import warnings
from pathlib import Path


def unfinished(run: Path) -> bool:
    """Whether a run folder lacks the summary that ends a run."""
    return not (run / "summary.json").exists()


def evaluated(run: Path) -> int | None:
    """The last update that an unfinished run evaluated or kept, and so its checkpoint's; None where no file tells.

    A run writes the episodes of an evaluation and then, at once, the checkpoint. A line cut by a kill does not count.
    """
    kept = [path.name for path in (run / "checkpoints").glob("*")]
    try:
        *lines, _ = (run / "episodes.csv").read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        lines = []
    names = [*kept, *(line.partition(",")[0] for line in lines[-1:])]
    return max((int(name) for name in names if name.isdecimal()), default=None)


def warn(run: Path) -> None:
    """Say that a run has not ended, and of which update its checkpoint is."""
    if unfinished(run):
        step = evaluated(run)
        of = f"update {step}" if step is not None else "an update that its files do not tell"
        warnings.warn(f"{run} is unfinished, it has no summary.json: its checkpoint is of {of}", stacklevel=3)
