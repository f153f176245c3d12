"""ramac resume RUN [threads=N] [device=NAME] [save_every=N] [data=PLACE]: resume an interrupted run

It ends with the numbers of a run that was never interrupted, bit for bit with the same threads on the same processor.
data=PLACE is where the run's data are now; other data are refused. task.horizon=STEPS cuts the evaluation's episodes.
The same command as the first time does the same; a sweep is resumed by its own command.
"""

from ramac.cli import run_of, settings
from ramac.cli.train import execute
from ramac.experiment.resume import SETTINGS, config_to_resume


def main(arguments: list[str]) -> int:
    """Resume a run. Raises InputError for what cannot be resumed, and what a run raises."""
    words, changes = settings(arguments, "resume", SETTINGS)
    execute(config_to_resume(run_of(words, "resume"), changes))
    return 0
