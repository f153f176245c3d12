"""The program in processes of its own, forked from one that has imported everything: a start takes no seconds."""

import os
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(["ramac.api", "ramac.cli.resume", "hydra", "gymnasium", "matplotlib.pyplot"])


def inside(place: Path, environment: dict[str, str], output: tuple[str, str], function: Any, given: tuple) -> None:
    """Call a function in a folder, with these environment variables and files for what it prints."""
    import torch

    torch.set_num_threads(1)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in enumerate(output, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    function(*given)


def start(
    function: Callable[..., Any], *given: Any, output: tuple[str, str] = (os.devnull, os.devnull), **variables: str
) -> Any:
    """Start a process that calls a function in this folder; `output`: files for standard output and error.

    `variables` are set in its environment. Returns a `multiprocessing.Process`.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    process = SERVER.Process(target=inside, args=(Path.cwd(), environment, output, function, given))
    process.start()
    return process


def ramac(*words: str) -> None:
    """The command line `ramac WORDS`, to be given to `start`."""
    from ramac.cli import main

    sys.argv = ["ramac", *words]
    main()


def ran(*words: str, **variables: str) -> "CompletedProcess[str]":
    """Status and output of the command line `ramac WORDS` in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        output = (f"{folder}/out", f"{folder}/err")
        process = start(ramac, *words, output=output, **variables)
        process.join()
        return CompletedProcess(words, process.exitcode, *(Path(path).read_text() for path in output))
