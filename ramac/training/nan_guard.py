"""Finds the first gradient step with non-finite values, without a host-device sync at every step."""

import math
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from ramac.system.files import write_json, write_tensors
from ramac.training.trainer import Trainer

MOST = 100  # gradient steps that are checked together


class NanGuard:
    """Keeps each gradient step's metrics and rows of the data until `check` has looked at them."""

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        """`folder`: of the run."""
        self.trainer, self.folder = trainer, folder
        self.seen: list[tuple[int, Tensor, TensorDict]] = []

    def see(self, step: int, metrics: TensorDict) -> None:
        """Remember a gradient step; check when `MOST` are remembered."""
        self.seen.append((step, self.trainer.rows, metrics))
        if len(self.seen) >= MOST:
            self.check()

    def check(self) -> None:
        """Raise FloatingPointError for the first step with NaN or inf, after its batch is saved."""
        flags = [finite(metrics) for _, _, metrics in self.seen]
        if flags and not torch.stack(flags).all():
            self.stop(*self.seen[torch.stack(flags).tolist().index(False)])
        self.seen.clear()

    def stop(self, step: int, rows: Tensor, metrics: TensorDict) -> None:
        """Save the batch of a step with non-finite values. Raises FloatingPointError that names the term."""
        folder, values = self.folder, {str(key): value.item() for key, value in metrics.items()}
        numbers = {key: value if math.isfinite(value) else str(value) for key, value in values.items()}
        # losses first: gradients take their NaN from them
        names = sorted(values, key=lambda name: not name.startswith("loss_"))
        name = next(name for name in names if not math.isfinite(values[name]))
        batch: Any = self.trainer.data[rows]
        flat = {str(key): value for key, value in batch.flatten_keys(".").items()}
        (folder / "nan").mkdir(exist_ok=True)
        write_tensors(folder / "nan/batch.safetensors", flat)
        write_json(folder / "nan/nan.json", {"update": step, "name": name, **numbers, "rows": rows.tolist()})
        text = f"{name} is {values[name]} at gradient step {step}; the run in {folder} stops here"
        raise FloatingPointError(f"{text}, that batch is in {folder}/nan")


def finite(metrics: TensorDict) -> Tensor:
    """Whether all metrics are finite: a bool [], left on the device."""
    return torch.stack(list(metrics.values())).isfinite().all()  # type: ignore[arg-type]
