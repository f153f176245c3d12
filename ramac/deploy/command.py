"""The command that repeats a run, from its configuration."""

import shlex
from collections.abc import Mapping
from typing import Any

from ramac.errors import InputError
from ramac.experiment.compose import compose
from ramac.experiment.config import NEUTRAL, RunConfig, flat
from ramac.experiment.words import ONE_VALUE, text_of
from ramac.registry import risks


def command(config: RunConfig) -> str | None:
    """`ramac ...` with the entries and every setting that is not their default; None where no command gives the run."""
    chosen = {**config.names, "loss": list(config.loss), "seed": config.seed}
    if risks.build(config.risk).context:  # no name tells a range or a horizon
        chosen["risk"] = config.risk["name"]
    if config.hazard is not None:
        chosen["hazard"] = config.hazard["name"]
    words = [f"{key}={text_of(value, ONE_VALUE)}" for key, value in chosen.items()]
    try:
        words += [f"{key}={text_of(value, ONE_VALUE)}" for key, value in beyond(config, compose(words)).items()]
        if compose(words).difference(config) is not None:
            return None
    except InputError:  # entries of a preset or a plug-in that is not here
        return None
    return " ".join(["ramac", *map(shlex.quote, words)])


def beyond(config: RunConfig, default: RunConfig) -> Mapping[str, Any]:
    """Settings of a configuration, by dotted name, that differ from another's, of those that the numbers depend on."""
    known = flat(default.identity)
    return {
        key: value
        for key, value in flat(config.identity).items()
        if key not in known or known[key] != value
        if key.partition(".")[0] not in NEUTRAL and not key.endswith(".name")
    }
