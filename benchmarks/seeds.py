"""Eight seeds as one, against eight single updates."""

import torch

from benchmarks.contenders import Row
from benchmarks.options import Settings
from benchmarks.timing import alternate, spread
from benchmarks.updates import data, ramac_trainer
from ramac.training.stacked import Stacked

SEEDS = 8
CELLS = ("recipe=radac", "recipe=rafmac", "recipe=td3bc", "recipe=td3bc trainer.batch_size=32")


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Table `seeds`: a row per cell."""
    logged, rows = data(device=settings.device), []
    generator = torch.cuda if settings.device.type == "cuda" else torch
    for cell in CELLS[:1] if settings.short else CELLS:
        trainers, states = [], []
        for seed in range(SEEDS):
            trainers.append(ramac_trainer([*cell.split(), f"seed={seed}"], logged))
            states.append(generator.get_rng_state())
        single, together = ramac_trainer(cell.split(), logged), Stacked(trainers, states)
        work = {
            "single": lambda trainer=single: trainer.update(trainer.batch()),
            "together": lambda trainer=together: trainer.update(trainer.batch()),
        }
        times = alternate(work, 3 if settings.short else 15)
        row = {"cell": cell, "seeds": SEEDS, **spread("single_ms", 1e3 * times["single"])}
        row |= spread("together_ms", 1e3 * times["together"])
        rows.append({**row, **spread("ratio", SEEDS * times["single"] / times["together"])})
    return {"seeds": rows}
