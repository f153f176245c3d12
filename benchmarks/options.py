"""Settings of a measurement."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Settings:
    """How to measure, and where to write the tables."""

    device: torch.device
    short: bool
    out: Path
    threads: int = 2
