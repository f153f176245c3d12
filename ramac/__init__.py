"""Risk-aware offline reinforcement learning with generative policies, as interchangeable parts.

What the command line does, these functions do in Python and return as data. Heavy imports wait until they are needed.
"""

import sys
import warnings
from importlib import import_module
from importlib.metadata import version
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ramac.api import (
        Result,
        check_critic,
        check_policy,
        estimate,
        evaluate,
        export,
        pack,
        report,
        resume,
        sweep,
        train,
    )
    from ramac.checkpoint import load
    from ramac.registry import make
    from ramac.reporting import plot

__version__ = version("ramac")
__all__ = [
    "Result", "__version__", "check_critic", "check_policy", "estimate", "evaluate", "export", "load", "main", "make",
    "pack", "plot", "report", "resume", "sweep", "train",
]  # fmt: skip
MOVED = {  # import paths of version 0.1, forwarded for one release
    "collect": "data.collect", "evaluate": "evaluation.rollout", "ood": "data.ood", "tasks.logged": "tasks.gymnasium",
    "trainer": "training.trainer",
}  # fmt: skip


class Moved(ModuleType):
    """An old import path: its names come from the module's new place."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        old, _, new = (self.__doc__ or "").partition(" is now ")
        warnings.warn(f"{old} is now {new}; the old path goes with the next release", DeprecationWarning, stacklevel=2)
        return getattr(import_module(new), name)


for old, new in MOVED.items():
    sys.modules.setdefault(f"ramac.{old}", Moved(f"ramac.{old}", f"ramac.{old} is now ramac.{new}"))


def __getattr__(name: str) -> Any:
    if name in __all__:
        place = {"load": "ramac.checkpoint", "make": "ramac.registry", "plot": "ramac.reporting"}.get(name, "ramac.api")
        return getattr(import_module(place), name)
    if name in ("data", "testing"):  # ramac.data.from_arrays, ramac.testing.check_actor
        return import_module(f"ramac.{name}")
    raise AttributeError(f"module 'ramac' has no attribute {name!r}")


def main() -> None:
    """The command line, for scripts that register entries of their own: `python my_actor.py actor=mine`."""
    from ramac.cli import main as command

    command()
