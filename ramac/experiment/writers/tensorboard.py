"""Event files for TensorBoard."""

import shutil
from collections.abc import Mapping
from typing import Any, ClassVar

from ramac.experiment.writers.torchrl import TorchRLWriter, plain
from ramac.registry import loggers


@loggers.register("tensorboard")
class TensorBoard(TorchRLWriter):
    """Event files in RUN/tensorboard: tensorboard --logdir RUN."""

    requires: ClassVar[dict[str, str]] = {"tensorboard": "ramac[tensorboard]"}

    def begin(self, name: str, settings: Mapping[str, Any]) -> None:
        from torchrl.record.loggers import get_logger  # half a second

        place = self.folder / "tensorboard"
        shutil.rmtree(place, ignore_errors=True)
        self.logger = get_logger("tensorboard", str(place), "")
        # torchrl's log_hparams would make a folder, which TensorBoard shows as a run of its own
        self.logger.experiment.add_hparams(plain(settings), {}, run_name=".")

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        super().metrics(step, values)
        self.logger.flush()  # SummaryWriter itself flushes every two minutes: a killed process would lose those
