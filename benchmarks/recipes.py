"""Recipes, ramac against the plain implementation: eager and captured; at the plain one's levels and at ramac's own."""

from benchmarks.contenders import Contender, Row, compare
from benchmarks.options import Settings
from benchmarks.plain import METHODS
from benchmarks.updates import IMPLICIT, LEVELS, data, levels, plain_contender, ramac_contender

WAYS = {"": ["trainer.compile=off"], " captured": ["trainer.compile=flat"]}


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Table `recipes`: a row per recipe and implementation."""
    logged = data(device=settings.device)
    rows = []
    for recipe in METHODS:
        plain = f"plain {LEVELS}" if recipe in IMPLICIT else "plain"
        contenders: dict[str, Contender] = {
            plain: plain_contender(recipe, logged, {"recipe": recipe, "implementation": plain})
        }
        sizes = {f"ramac {LEVELS}": levels(LEVELS)} if recipe in IMPLICIT else {}
        for name, overrides in {**sizes, "ramac": []}.items():
            for way, compiled in WAYS.items():
                if settings.short and name != "ramac" and way:
                    continue  # a trace takes longer than its measurement
                columns = {"recipe": recipe, "implementation": name + way}
                given = [f"recipe={recipe}", *overrides, *compiled]
                contenders[name + way] = ramac_contender(given, logged, columns, plain)
        rounds, least, warm = (4 if recipe in IMPLICIT else 7, 0.05, 2) if settings.short else (15, 0.2, 6)
        rows += compare(contenders, settings.device, rounds, least, warm)
    return {"recipes": rows}
