"""What the command line chose."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Settings:
    """How to measure, and where the tables go."""

    device: torch.device
    short: bool
    out: Path
    threads: int = 2
