"""RADAC and RAFMAC, ramac against the plain implementation, at the plain one's levels and at ramac's own."""

from benchmarks.contenders import Contender, Row, compare
from benchmarks.options import Settings
from benchmarks.updates import LEVELS, RECIPES, data, levels, plain_contender, ramac_contender


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Table `recipes`: a row per recipe and implementation."""
    logged = data(device=settings.device)
    rows = []
    for recipe in RECIPES:
        plain = f"plain {LEVELS}"
        contenders: dict[str, Contender] = {
            plain: plain_contender(recipe, logged, {"recipe": recipe, "implementation": plain})
        }
        for name, overrides in {f"ramac {LEVELS}": levels(LEVELS), "ramac": []}.items():
            columns = {"recipe": recipe, "implementation": name}
            contenders[name] = ramac_contender([f"recipe={recipe}", *overrides], logged, columns, plain)
        rows += compare(contenders, settings.device, *((7, 0.05) if settings.short else (15, 0.2)))
    return {"recipes": rows}
