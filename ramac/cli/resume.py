"""ramac resume RUN [threads=N] [device=NAME] [save_every=N]: resume an interrupted run

It ends with the numbers of a run that was never interrupted, bit for bit with the same threads on the same processor.
The same command as the first time does the same; a sweep is resumed by its own command.
"""

from ramac.cli import settings
from ramac.cli.train import execute
from ramac.errors import InputError
from ramac.experiment.resume import SETTINGS, resumable


def main(arguments: list[str]) -> int:
    """Resume a run. Raises InputError for what cannot be resumed, and what a run raises."""
    words, changes = settings(arguments, "resume", SETTINGS)
    if len(words) != 1:
        raise InputError(f"resume needs one run folder, got {len(words)}: ramac resume RUN")
    execute(resumable(words[0], changes))
    return 0
