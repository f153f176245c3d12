"""Regret of a run's policy on a task whose best policy is known."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ramac.errors import InputError, known_setting
from ramac.evaluation import regret
from ramac.evaluation.regret import optima
from ramac.experiment.evaluate import changed, request
from ramac.experiment.folder import RunFolder
from ramac.registry import risks, tasks
from ramac.risk.distortions import CVaR
from ramac.system.files import alone, write_json
from ramac.system.paths import refuse_unsafe
from ramac.tasks import configured

ALPHA = 0.1  # the paper's
EPISODES = 2000  # 200 of them in the tail
SETTINGS = ("task", "task.", "alpha", "episodes", "seed", "risk.")


def level(settings: Mapping[str, Any], risk: Mapping[str, Any] | str = "neutral") -> float:
    """The CVaR level asked for, else that of a run's risk measure where it is a CVaR, else 0.1. Raises InputError."""
    if "alpha" not in settings:
        own = risks.build(risk).whole.cvar_level
        return ALPHA if own is None or own == 1 else float(own)
    given = settings["alpha"]
    try:
        if not isinstance(given, bool):
            return float(CVaR(alpha=given).alpha)
    except (TypeError, ValueError):
        pass
    raise InputError(f"alpha must be a number in (0, 1], got {'nothing' if given is None else repr(given)}")


def is_level(risk: Mapping[str, Any], alpha: float) -> bool:
    """Whether a measure is a CVaR of whose range `alpha` is a value."""
    measure = risks.build(risk)
    if not isinstance(measure.whole, CVaR) or "alpha" not in measure.dials:
        return False
    low, high = sorted(measure.dials["alpha"])
    return low <= alpha <= high


def optima_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The optima of `task`, by objective: `settings` are task, its arguments, and alpha. Raises InputError."""
    node, alpha = changed(tasks, None, settings), level(settings)
    return {"task": tasks.label(node), "alpha": alpha, "optima": optima(configured({"task": node}), alpha)}


def regret_of(run: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Play a run's policy and write `regret.json` into its folder; returns its content.

    `settings`: `SETTINGS`; `task` may have other arguments than the run's. A run whose dial is the level of a CVaR
    plays at `alpha`, where it is in the range. Raises InputError before an episode is played.
    """
    for key in settings:
        known_setting(key, "doctor", SETTINGS)
    folder = RunFolder(run)
    refuse_unsafe(run)  # the regret would be written through them
    config, alpha = folder.config, level(settings, folder.config.risk)
    node = changed(tasks, config.task, settings)
    if node["name"] != config.task["name"]:
        raise InputError(f"{run} is a run of task={config.task['name']}, not of task={node['name']}; leave out task=")
    asked = {"episodes": EPISODES, **{key: value for key, value in settings.items() if key != "alpha"}}
    if "alpha" in settings and is_level(config.risk, alpha):
        asked.setdefault("risk.alpha", alpha)
    agent, task, evaluation = request(folder, config, asked)
    if not os.access(run, os.W_OK):
        raise InputError(f"{run} cannot be written to")
    found = regret.regret(agent, task, evaluation, asked.get("seed", config.seed), alpha)
    with alone(folder.regret_file):
        report = {"run_dir": str(run), "settings": asked, **agent.context.played, **found}
        write_json(folder.regret_file, report)
    return report
