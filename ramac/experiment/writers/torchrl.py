"""What the loggers of torchrl have in common."""

from collections.abc import Mapping
from typing import Any, ClassVar

from ramac.experiment.writers import Writer

EVALUATION = "evaluation/"  # before the names of an evaluation's statistics, which are no metrics of a gradient step


class TorchRLWriter(Writer):
    """A logger of `torchrl.record.loggers`: the rows of metrics.csv, the statistics of evaluations, the settings.

    A resumed run writes the log anew from the csv tables, so it holds each gradient step once, also those that a killed
    process had not flushed. Subclasses make `self.logger` in `begin`.
    """

    replayed: ClassVar[bool] = True
    logger: Any = None

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.logger.log_metrics(dict(values), step=step)

    def evaluation(self, step: int, statistics: Mapping[str, float]) -> None:
        self.metrics(step, {EVALUATION + name: value for name, value in statistics.items()})

    def close(self) -> None:
        if self.logger is not None:
            self.logger.shutdown()


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as numbers and text, which every logger takes."""
    return {key: value if isinstance(value, int | float | str) else str(value) for key, value in settings.items()}
