"""The loggers of a run, called as one."""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from ramac.errors import described, warn
from ramac.evaluation.rollout import Evaluation
from ramac.experiment.config import RunConfig, flat
from ramac.experiment.folder import RunFolder
from ramac.experiment.writers import Writer
from ramac.experiment.writers.tables import read_episodes, read_metrics
from ramac.registry import loggers

CSV = "csv"  # reports and resumed runs read its tables, so a run cannot go on without it


class Loggers:
    """Hands everything to each logger. One that fails is left out with a warning; only csv stops the run."""

    def __init__(
        self, folder: RunFolder, config: RunConfig, evaluation: Evaluation, sizes: Mapping[str, int], resumes: bool
    ) -> None:
        """Open the loggers; what a resumed run has in its tables is written again where a log starts anew."""
        self.evaluation = evaluation
        self.writers: dict[str, Writer] = {
            name: loggers.build(node, folder.path, sizes) for name, node in config.logger.items()
        }
        self.each("begin", config.name, flat(config.plain))
        if resumes and any(writer.replayed for writer in self.writers.values()):
            self.replay(folder)

    def each(self, method: str, *arguments: Any, replays: bool = False) -> list[Any]:
        """What a method of each logger returns, or of those that are replayed. Raises what csv raises."""
        found = []
        for name, writer in list(self.writers.items()):
            if replays and not writer.replayed:
                continue
            try:
                found.append(getattr(writer, method)(*arguments))
            except Exception as error:  # each library has errors of its own
                if name == CSV:
                    raise
                self.leave_out(name, error)
        return found

    def leave_out(self, name: str, error: Exception) -> None:
        """Close a logger that failed and go on without it."""
        writer = self.writers.pop(name)
        with contextlib.suppress(Exception):
            writer.close()
        warn(f"logger={name} failed and is left out; metrics.csv has everything: {described(error)}")

    def replay(self, folder: RunFolder) -> None:
        """Write the rows of the tables again."""
        metrics = read_metrics(folder.metrics_file, folder.path)
        episodes = read_episodes(folder.episodes_file, folder.path)
        for step in sorted({*metrics, *episodes}):
            if step in metrics:
                self.each("metrics", step, metrics[step], replays=True)
            if step in episodes:
                self.evaluated(step, episodes[step], replays=True)

    def evaluated(self, step: int, rows: list[dict[str, Any]], replays: bool = False) -> None:
        """Write the episodes of an evaluation and their statistics."""
        self.each("episodes", step, rows, replays=replays)
        if len(self.writers) > 1:  # csv has no use for them
            self.each("evaluation", step, numbers(self.evaluation.summary(rows)), replays=replays)

    def sizes(self) -> dict[str, int]:
        """Bytes of the files that a resumed run cuts."""
        return {name: size for sizes in self.each("sizes") for name, size in sizes.items()}


def numbers(summary: Mapping[str, Any], leave_out: Iterable[str] = ("episodes", "intervals")) -> dict[str, float]:
    """The numbers of a summary by their dotted names."""
    kept = flat({key: value for key, value in summary.items() if key not in leave_out})
    return {key: value for key, value in kept.items() if isinstance(value, int | float)}
