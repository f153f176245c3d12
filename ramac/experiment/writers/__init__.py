"""Where the numbers of a run are written while it is trained: the base class of the slot `logger`."""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from ramac.errors import InputError
from ramac.registry import loggers


class Writer:
    """A destination of metrics and episodes. An entry overrides what it can use.

    `sizes`: what `sizes()` gave when the training state was saved from which a run is resumed; {} for a new run.
    `requires`: module that the entry imports -> what pip installs for it. `replayed`: whether a resumed run writes its
    past again, from the csv tables, because this log starts anew.
    """

    requires: ClassVar[dict[str, str]] = {}
    replayed: ClassVar[bool] = False

    def __init__(self, folder: Path, sizes: Mapping[str, int]) -> None:
        self.folder = folder

    def begin(self, name: str, settings: Mapping[str, Any]) -> None:
        """Called once, before all others, with the run's name and its settings by their dotted names."""

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Write the metrics of a gradient step."""

    def episodes(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write the episodes of an evaluation."""

    def evaluation(self, step: int, statistics: Mapping[str, float]) -> None:
        """Write the statistics of these episodes: numbers of `summary.json`, by their dotted names."""

    def sizes(self) -> dict[str, int]:
        """Bytes of each file that are on the disk, so that a resumed run cuts off what came later."""
        return {}

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Called when the run has ended well, with the numbers of `summary.json` by their dotted names."""

    def close(self) -> None:
        """Close what is open."""


def refuse_missing(nodes: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse loggers whose packages are not installed. Raises InputError."""
    for node in nodes.values():
        for module, package in loggers[node["name"]].requires.items():
            spec = find_spec(module)
            if spec is None or spec.origin is None:  # without an origin: a folder of that name, as W&B makes one
                text = f"logger={node['name']} needs {module}, which is not installed"
                raise InputError(f"{text}: pip install '{package}'")
