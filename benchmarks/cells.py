"""Every actor with every critic: one update of each, and the plain implementation where it covers the pair."""

import warnings
from itertools import product

from benchmarks.contenders import Contender, Row, compare
from benchmarks.options import Settings
from benchmarks.updates import LEVELS, data, levels, plain_contender, ramac_contender
from ramac.errors import InputError, nearest
from ramac.experiment.presets import presets
from ramac.registry import actors, critics

COVERED = {("ddpm", "iqn"): "radac", ("flow", "iqn"): "rafmac"}


def overrides_of(actor: str, critic: str) -> list[str]:
    """Configuration of a pair: with CVaR_0.1, behaviour cloning, and what else the actor is trained by."""
    sizes = levels(LEVELS) if critic == "iqn" else []
    if (actor, critic) in COVERED:
        return [f"recipe={COVERED[actor, critic]}", *sizes]
    losses = ["td", "bc", "risk", *getattr(actors[actor], "trained_by", ())]
    return [f"actor={actor}", f"critic={critic}", "risk=cvar0.1", f"loss=[{','.join(losses)}]", *sizes]


def named(cell: str) -> list[str]:
    """Overrides of `radac`, another recipe, or a pair `flow-iqn`. Raises InputError."""
    if cell in presets("recipe"):
        return [f"recipe={cell}"]
    pairs = {f"{actor}-{critic}": (actor, critic) for actor, critic in product(actors, critics)}
    if cell not in pairs:
        known = [*presets("recipe"), *pairs]
        allowed = f"a recipe ({', '.join(presets('recipe'))}) or ACTOR-CRITIC"
        raise InputError(f"no cell {cell!r}; choose {allowed}{nearest(cell, known)}")
    return overrides_of(*pairs[cell])


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Table `cells`: a row per pair."""
    logged = data(device=settings.device)
    contenders: dict[str, Contender] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a critic of the mean warns about every risk measure
        for actor, critic in product(actors, critics):
            recipe, against = COVERED.get((actor, critic)), None
            if recipe is not None:
                against = f"plain {recipe}"
                contenders[against] = plain_contender(recipe, logged, {})
            columns = {"actor": actor, "critic": critic}
            contenders[f"{actor}-{critic}"] = ramac_contender(overrides_of(actor, critic), logged, columns, against)
    rows = compare(contenders, settings.device, 3 if settings.short else 9, 0.1)
    return {"cells": [row for row in rows if "actor" in row]}
