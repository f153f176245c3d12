"""How long and how often a run's off-policy estimate is fitted: `estimate.steps` and `estimate.fits`."""

from collections.abc import Mapping
from typing import Any

from ramac.errors import InputError, whole_number

STEPS = 3_000  # leave 0.2 % of the initial error at a discount of 0.99; docs/results/offline.md
FITS = 5  # coverage and width against the cost: docs/results/offline.md#coverage
LIMITS = {"steps": (0, 2**32 - 1), "fits": (2, 100)}  # the deviation over fits needs two of them


def settings_of(node: Any) -> dict[str, Any]:
    """The settings of the estimate, of which older runs have none; `none` turns it off. Raises InputError."""
    node = {"steps": 0} if node == "none" or node is None else node
    if not isinstance(node, Mapping):
        raise InputError(f"estimate must be none, or steps and fits: estimate.steps=1000; got {node!r}")
    if unknown := [str(key) for key in node if key not in LIMITS]:
        raise InputError(f"no setting 'estimate.{unknown[0]}'; estimate has {', '.join(LIMITS)}")
    return {"steps": None, "fits": FITS, **node}


def check(settings: Mapping[str, Any], error: type[InputError]) -> None:
    """Refuse numbers out of range by an `error`."""
    for key, (least, most) in LIMITS.items():
        if key != "steps" or settings[key] is not None:
            whole_number(f"estimate.{key}", settings[key], least, most, error)


def steps_of(settings: Mapping[str, Any], trained: int) -> int:
    """Gradient steps of each fit of the estimate of a run of `trained` gradient steps; 0 is no estimate."""
    return min(STEPS, trained) if settings["steps"] is None else settings["steps"]
