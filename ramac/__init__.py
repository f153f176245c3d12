"""Risk-aware offline reinforcement learning with generative policies, as interchangeable parts.

`make`, `load`, `train` and `main` import what they need when they are called.
"""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ramac.agent import Agent
    from ramac.data import Log

__version__ = version("ramac")
__all__ = ["__version__", "load", "main", "make", "train"]


def make(group: str, entry: str, *args: Any, **kwargs: Any) -> Any:
    """Build a registry entry: `make("risk", "cvar0.1")`, `make("actor", "flow20", Spec.unit(3, 2))`."""
    from ramac.errors import known_group
    from ramac.registry import GROUPS

    known_group(group, GROUPS)
    return GROUPS[group].build({**GROUPS[group].plain(entry), **kwargs}, *args)


def load(path: str | Path) -> "Agent":
    """Agent of a run folder: `load(PATH).act(observation)`; needs neither Hydra nor the data."""
    from ramac.checkpoint import load as load_agent

    return load_agent(path)


def train(*overrides: str, data: "Log | None" = None) -> dict[str, Any]:
    """Train one cell."""
    from ramac.experiment.compose import compose
    from ramac.experiment.run import train as run

    config = compose(list(overrides))
    summaries = run(config, data)
    return summaries[0] if config.seeds is None else {**summaries[0], "runs": summaries}


def main() -> None:
    """The command line, for scripts that register entries of their own: `python my_actor.py actor=mine`."""
    from ramac.cli import main as command

    command()
