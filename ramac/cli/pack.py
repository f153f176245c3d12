"""ramac pack RUN OUT: a finished run's policy as a folder to share, with a model card

OUT is a new folder: the weights as safetensors, config.yaml, summary.json, episodes.csv and README.md with the task,
the data, the returns and the command that repeats the run. `ramac.load(OUT)` reads it.
"""

from rich.console import Console
from rich.markup import escape

from ramac.cli import settings
from ramac.deploy.pack import described, pack
from ramac.errors import InputError


def main(arguments: list[str]) -> int:
    """Pack a run. Raises InputError."""
    words, _ = settings(arguments, "pack", ())
    if len(words) != 2:
        raise InputError(f"pack takes a run and a new folder, got {len(words)}: ramac pack RUN OUT")
    run, out = words
    console, folder = Console(), pack(run, out)
    for name, size in described(folder).items():
        console.print(f"{size / 1000:9.1f} kB  {escape(name)}", highlight=False, soft_wrap=True)
    console.print(f"[bold]{escape(str(folder))}[/bold]: read README.md and fill in its licence", highlight=False)
    return 0
