"""How the cost of an update grows with levels, batch and data."""

from collections.abc import Callable
from typing import Any

from benchmarks.contenders import Row
from benchmarks.options import Settings
from benchmarks.timing import alternate, spread
from benchmarks.updates import LEVELS, RECIPES, data, levels, plain_contender, ramac_contender

LEVEL_COUNTS, BATCHES, SIZES = (4, 8, 16, 32, 64), (64, 128, 256, 512, 1024), (10_000, 100_000, 1_000_000)


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Table `growth`: milliseconds of an update by recipe, implementation and what is varied."""
    logged, keys, work = data(device=settings.device), [], {}

    def add(recipe: str, implementation: str, varied: str, value: int, update: Callable[[], Any]) -> None:
        keys.append({"recipe": recipe, "implementation": implementation, "varied": varied, "value": value})
        work[str(len(work))] = update

    for recipe in RECIPES:
        base = [f"recipe={recipe}"]
        for count in LEVEL_COUNTS:
            add(recipe, "ramac", "levels", count, ramac_contender([*base, *levels(count)], logged, {}).update)
            add(recipe, "plain", "levels", count, plain_contender(recipe, logged, {}, count).update)
        for batch in BATCHES:
            more = [*levels(LEVELS), f"trainer.batch_size={batch}"]
            add(recipe, "ramac", "batch", batch, ramac_contender([*base, *more], logged, {}).update)
            add(recipe, "plain", "batch", batch, plain_contender(recipe, logged, {}, batch=batch).update)
        for size in SIZES:
            more = data(size, settings.device)
            add(recipe, "ramac", "transitions", size, ramac_contender([*base, *levels(LEVELS)], more, {}).update)
            add(recipe, "plain", "transitions", size, plain_contender(recipe, more, {}).update)
    times = alternate(work, 3 if settings.short else 9, 0.1, warm=1)
    return {
        "growth": [{**key, **spread("milliseconds", 1000 * times[name])} for key, name in zip(keys, work, strict=True)]
    }
