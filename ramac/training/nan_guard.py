"""Finds the first update whose numbers are gone, without waiting for the device after every one."""

from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from ramac.system.files import write_json, write_tensors
from ramac.training.trainer import Trainer

MOST = 100  # updates that are looked at together


class NanGuard:
    """Keeps each update's numbers and rows of the data until `check` has looked at them."""

    def __init__(self, trainer: Trainer, folders: list[Path]) -> None:
        """`folders`: the run folder of each seed that is trained."""
        self.trainer, self.folders = trainer, folders
        self.seen: list[tuple[int, Tensor, TensorDict]] = []

    def see(self, step: int, metrics: TensorDict) -> None:
        """Remember an update, and look at all that are remembered when they are many."""
        self.seen.append((step, self.trainer.rows, metrics))
        if len(self.seen) >= MOST:
            self.check()

    def check(self) -> None:
        """Raise FloatingPointError at the first update with a nan or infinite number, once its batch is saved."""
        sound = [torch.stack(list(metrics.values())).isfinite().all() for _, _, metrics in self.seen]  # type: ignore[arg-type]
        if sound and not torch.stack(sound).all():
            self.stop(*self.seen[torch.stack(sound).tolist().index(False)])
        self.seen.clear()

    def stop(self, step: int, rows: Tensor, metrics: TensorDict) -> None:
        """Save the batch of the first seed that has lost its numbers, and name the term. Raises FloatingPointError."""
        # a loss before gradients: its nan is where theirs come from
        names = sorted(map(str, metrics.keys()), key=lambda name: not name.startswith("loss_"))
        values = torch.stack([metrics[name] for name in names], dim=-1).reshape(len(self.folders), -1)
        seed = values.isfinite().all(-1).tolist().index(False)
        folder, found = self.folders[seed], dict(zip(names, values[seed].tolist(), strict=True))
        name = names[values[seed].isfinite().tolist().index(False)]
        chosen = rows.reshape(len(self.folders), -1)[seed]
        batch: Any = self.trainer.data[chosen]
        (folder / "nan").mkdir(exist_ok=True)
        write_tensors(
            folder / "nan/batch.safetensors", {str(key): value for key, value in batch.flatten_keys(".").items()}
        )
        numbers = {key: value if abs(value) < float("inf") else str(value) for key, value in found.items()}
        write_json(folder / "nan/nan.json", {"update": step, "name": name, **numbers, "rows": chosen.tolist()})
        raise FloatingPointError(
            f"{name} is {found[name]} at update {step}; the run in {folder} stops here, that batch is in {folder}/nan"
        )
