"""What `trainer.compile=on` gains, and what compiling costs."""

import time

import torch
import torch._dynamo

from benchmarks.contenders import Row
from benchmarks.options import Settings
from benchmarks.timing import alternate, spread
from benchmarks.updates import LEVELS, RECIPES, data, levels, ramac_trainer


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Table `compiled`: a row per recipe and number of levels."""
    logged, rows = data(device=settings.device), []
    for recipe in RECIPES:
        for count in (LEVELS, 8):
            torch._dynamo.reset()  # else the fourth agent would pass its limit of recompilations and stay eager
            overrides = [f"recipe={recipe}", *levels(count)]
            eager, compiled = (ramac_trainer([*overrides, f"trainer.compile={way}"], logged) for way in ("off", "on"))
            started = time.perf_counter()
            for _ in range(2):
                compiled.update(compiled.batch())
            row = {"recipe": recipe, "levels": count, "first_two_seconds": time.perf_counter() - started}
            work = {
                "eager": lambda trainer=eager: trainer.update(trainer.batch()),
                "compiled": lambda trainer=compiled: trainer.update(trainer.batch()),
            }
            times = alternate(work, 15)
            row |= {**spread("eager_ms", 1e3 * times["eager"]), **spread("compiled_ms", 1e3 * times["compiled"])}
            rows.append({**row, **spread("ratio", times["eager"] / times["compiled"])})
    return {"compiled": rows}
