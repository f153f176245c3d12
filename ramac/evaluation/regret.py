"""Regret: how far a policy's episodes are from the best that any policy reaches, by objective."""

from functools import partial
from typing import Any

import numpy as np

from ramac.agent import Agent
from ramac.errors import InputError
from ramac.evaluation.rollout import Evaluation
from ramac.hazards import NoHazard
from ramac.optimum import OBJECTIVES, Optimum
from ramac.statistics import cvar, interval
from ramac.tasks import Task

FINENESS = (1, 2)  # of the two grids: the optimum is the finer one's, its grid error the distance between both


def optima(task: Task, alpha: float, owner: str = "this task") -> dict[str, dict[str, Any]]:
    """By objective what its best policy reaches: `mean` (None for static) and `cvar` at `alpha`, and their grid errors.

    `owner`: whose hazard it is, where there is one. Raises InputError where the best policy is not known.
    """
    coarse, fine = map(task.process, FINENESS)
    if not isinstance(getattr(task, "hazard", None), NoHazard | None):
        raise InputError(f"the best policy is known without hazards only, and {owner} sets one")
    found = {}
    for objective in OBJECTIVES:
        rough, best = (Optimum.of(process, objective, alpha) for process in (coarse, fine))
        row = {"cvar": best.cvar, "cvar_error": abs(best.cvar - rough.cvar)}
        if best.mean is not None and rough.mean is not None:
            row |= {"mean": best.mean, "mean_error": abs(best.mean - rough.mean)}
        found[objective] = row
    return found


def regret(agent: Agent, task: Task, evaluation: Evaluation, seed: int, alpha: float) -> dict[str, Any]:
    """Play the evaluation's episodes, and compare mean and CVaR of their undiscounted returns with each optimum.

    A row by objective: `optimum`, `grid_error`, `reached` with a 95 % interval over episodes, and `regret`, the optimum
    minus what was reached. The regret against `nested` may be negative. Raises as `optima` and `Evaluation.run`.
    """
    best = optima(task, alpha, "this run's configuration")
    returns = np.array([row["return"] for row in evaluation.run(agent, task, seed)])
    statistic = {"mean": np.mean, "cvar": partial(cvar, alpha=alpha)}
    rows = []
    for objective in OBJECTIVES:
        key = "mean" if objective == "mean" else "cvar"
        reached, (low, high) = float(statistic[key](returns)), interval([returns], statistic[key])
        optimum, error = best[objective][key], best[objective][f"{key}_error"]
        row = {"objective": objective, "optimum": optimum, "grid_error": error, "reached": reached}
        rows.append({**row, "low": low, "high": high, "regret": optimum - reached})
    return {"alpha": alpha, "episodes": len(returns), "rows": rows}
