"""Weights & Biases, offline unless it is asked to send."""

import re
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal

from ramac.experiment.writers.torchrl import EVALUATION, TorchRLWriter, plain
from ramac.registry import loggers
from ramac.system.runtime import environment_variables


@loggers.register("wandb")
class Wandb(TorchRLWriter):
    """Weights & Biases in RUN/wandb, offline by default: `wandb sync RUN/wandb/offline-run-*` sends it later.

    Args:
        mode: `online` sends it at once, after `wandb login`.
        project: W&B's project.
        entity: W&B's user or team; null: its default.
        group: W&B's group of runs.
    """

    requires: ClassVar[dict[str, str]] = {"wandb": "ramac[wandb]"}

    def __init__(
        self, folder: Path, sizes: Mapping[str, int], *, mode: Literal["offline", "online"] = "offline",
        project: str = "ramac", entity: str | None = None, group: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(folder, sizes)
        self.offline = mode == "offline"
        self.place = {"project": project, "entity": entity, "group": group}
        self.known: Mapping[str, Any] = {}  # the last gradient steps that the server has
        self.exit_code = 1

    def begin(self, name: str, settings: Mapping[str, Any]) -> None:
        from torchrl.record.loggers import get_logger  # half a second

        folder = self.folder.absolute()  # W&B's own process may have begun in another working folder
        root = folder / "wandb"
        resumed = run_id(root)
        if self.offline:
            shutil.rmtree(root, ignore_errors=True)
        options = {
            **self.place, "offline": self.offline, "id": resumed, "resume": None if self.offline else "allow",
            "reinit": "create_new",  # beside a run that the caller has open
            "log_env_packages": False,
            "settings": import_module("wandb").Settings(console="off", silent=self.offline),
        }  # fmt: skip
        quiet = {"WANDB_ERROR_REPORTING": "false", "WANDB_CACHE_DIR": str(root / "cache")} if self.offline else {}
        with environment_variables(quiet):  # torchrl sets WANDB_MODE, which would make every later run offline
            self.logger = get_logger("wandb", str(folder), name, wandb_kwargs=options)
        if resumed and not self.offline:
            self.known = {key: self.logger.experiment.summary.get(key, -1) for key in ("step", f"{EVALUATION}step")}
        self.logger.log_hparams(plain(settings))
        for path in root.rglob("*"):  # to the log of W&B's process, in the folder of its first run
            if path.is_symlink():  # a run with links out of its folder could not be resumed
                path.unlink()

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        if step > self.known.get("step", -1):
            super().metrics(step, values)

    def evaluation(self, step: int, statistics: Mapping[str, float]) -> None:
        if step > self.known.get(f"{EVALUATION}step", -1):
            # W&B reads a dot as a place in a mapping, and would not find the x axis
            self.logger.log_metrics({EVALUATION + k.replace(".", "_"): v for k, v in statistics.items()}, step=step)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self.exit_code = 0

    def close(self) -> None:
        if self.logger is not None:
            self.logger.experiment.finish(exit_code=self.exit_code)


def run_id(root: Path) -> str | None:
    """The id of the run that an earlier process began there: W&B names its folders `offline-run-<time>-<id>`."""
    found = [match[1] for path in sorted(root.glob("*run-*")) if (match := re.search(r"run-[\d_]+-(\w+)$", path.name))]
    return found[-1] if found else None
