"""ramac pack RUN OUT: a finished run's policy as a folder to share, with a model card

OUT is a new folder: the weights as safetensors, config.yaml, summary.json, episodes.csv and README.md with the task,
the data, the returns and the command that repeats the run. `ramac.load(OUT)` reads it.
"""

from ramac.cli import settings
from ramac.deploy.pack import described, pack
from ramac.errors import InputError
from ramac.text import say


def main(arguments: list[str]) -> int:
    """Pack a run. Raises InputError."""
    words, _ = settings(arguments, "pack", ())
    if len(words) != 2:
        raise InputError(f"pack takes a run and a new folder, got {len(words)}: ramac pack RUN OUT")
    run, out = words
    folder = pack(run, out)
    for name, size in described(folder).items():
        say(f"{size / 1000:9.1f} kB  {name}")
    say(f"{folder}: read README.md and fill in its licence", bold=str(folder))
    return 0
