"""Mean against CVaR of a run at several values of its dial, beside runs that were trained at one level."""

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ramac.errors import InputError, optional
from ramac.evaluation.rollout import Evaluation
from ramac.experiment.config import RunConfig, flat, listed
from ramac.experiment.evaluate import evaluate, request
from ramac.experiment.folder import RunFolder
from ramac.experiment.regret import level
from ramac.experiment.writers.tables import episodes_of, read_episodes
from ramac.registry import risks
from ramac.statistics import cvar, interval
from ramac.system.files import alone, write_json

OWN = ("alpha", "beside")  # settings that one evaluation does not have


def dials(settings: Mapping[str, Any]) -> list[str]:
    """The dials that have several values: `risk.alpha`."""
    return [key for key, value in settings.items() if key.startswith("risk.") and isinstance(value, list | tuple)]


def asked_for(settings: Mapping[str, Any]) -> bool:
    """Whether settings of `ramac eval` ask for a frontier, and not for one evaluation."""
    return bool(dials(settings)) or any(key in settings for key in OWN)


def values_of(settings: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The dial and its values. Raises InputError."""
    if not (several := dials(settings)):
        given = next(key for key in OWN if key in settings)
        raise InputError(f"{given}= goes with several values of a dial: ramac eval RUN risk.alpha=0.05,0.1,0.25")
    if len(several) > 1:
        raise InputError(f"{' and '.join(several)} have several values each; one dial makes a frontier")
    if "name" in settings:
        raise InputError("name= is one folder, and each value of a dial has its own; leave it out")
    key, values = several[0], list(settings[several[0]])
    if not values:
        raise InputError(f"{key}=[] has no value")
    if twice := [value for i, value in enumerate(values) if value in values[:i]]:
        raise InputError(f"{key} has the value {twice[0]} twice")
    return key, values


def frontier(run: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate each value of a dial, each in its own folder, and write `frontier.json` and `frontier.png` into the run.

    `settings`: those of `ramac eval`, of which one dial has several values; `alpha`, the level of CVaR; `beside`, runs
    of one level on the same task, in the same episodes. Returns the json's content. Raises InputError before the first
    episode.
    """
    asked = listed({key: value for key, value in settings.items() if key not in OWN})
    key, values = values_of(settings)
    alpha, folder = level({"alpha": settings["alpha"]} if "alpha" in settings else {}), RunFolder(run)
    rest, config = {other: value for other, value in asked.items() if other != key}, folder.config
    agent, _, evaluation = request(folder, config, {**rest, key: values[0]})
    for value in values:
        agent.context.turn(key.partition(".")[2], value)
    others = [neighbour(path, run, config, evaluation, rest) for path in paths(settings.get("beside", []))]
    for written in (run, *(other.path for other, changes in others if changes)):
        if not os.access(written, os.W_OK):
            raise InputError(f"{written} cannot be written to")
    rows = []
    for value in values:
        found = evaluate(run, {**rest, key: value})
        rows.append({"dial": value, **statistics(RunFolder(run), returns_of(Path(found["run_dir"])), alpha)})
    for other, changes in others:
        rows.append({"dial": None, **statistics(other, played(other, changes), alpha)})
    seed = rest.get("seed", config.seed)
    report = {"run_dir": str(run), "dial": key, "alpha": alpha, "episodes": evaluation.episodes, "seed": seed}
    report |= {"settings": rest, "rows": rows}
    with alone(folder.frontier_file):
        write_json(folder.frontier_file, report)
        with optional("frontier.png"):
            from ramac.plotting import frontier_figure  # matplotlib

            title = f"{run.name}: {evaluation.episodes} episodes, 95 % intervals"
            frontier_figure(rows, key, alpha, title, folder.frontier_file.with_suffix(".png"))
    return report


def paths(beside: Any) -> list[Path]:
    """The runs of `beside`: one, or several. Raises InputError."""
    found: Sequence[Any] = beside if isinstance(beside, list | tuple) else [beside]
    for i, path in enumerate(found):
        if not isinstance(path, str | Path) or not str(path):
            raise InputError(f"beside must be run folders, got {path!r}")
        if path in found[:i]:
            raise InputError(f"beside has {path} twice")
    return [Path(path) for path in found]


def neighbour(
    path: Path, run: Path, config: RunConfig, evaluation: Evaluation, rest: Mapping[str, Any]
) -> tuple[RunFolder, dict[str, Any]]:
    """A run of one level, and how it must be evaluated to play the episodes of `run`; as it was, if empty.

    Raises InputError.
    """
    folder = RunFolder(path)
    own = folder.config
    if not folder.summary_file.is_file():
        raise InputError(f"beside={path} is unfinished, it has no summary.json: ramac resume {path}")
    if ranges := risks.build(own.risk).dials:
        raise InputError(f"beside={path} has a dial itself, risk.{next(iter(ranges))}; name runs of one level")
    ours, theirs = (flat(listed({"task": one.task, "hazard": one.hazard})) for one in (config, own))
    for key in ours | theirs:
        if (found := theirs.get(key)) != (value := ours.get(key)):
            raise InputError(f"beside={path} has {key.removesuffix('.name')}={found}, and {run} {value}: two problems")
    seed = rest.get("seed", config.seed)
    needed = {
        "seed": (seed, own.seed),
        "episodes": (evaluation.episodes, own.evaluation["episodes"]),
        "evaluation.seed": (evaluation.seed, own.evaluation["seed"]),
    }
    settings = {key: value for key, value in rest.items() if key not in (*needed, "evaluation.episodes")}
    settings |= {key: want for key, (want, has) in needed.items() if want != has}
    request(folder, own, settings)
    return folder, settings


def played(folder: RunFolder, settings: Mapping[str, Any]) -> np.ndarray:
    """Returns of a run's own evaluation, if nothing else is asked for, or of a new one."""
    if not {*settings} - {"device"}:
        rows = read_episodes(folder.episodes_file, folder.path).get(folder.config.trainer["steps"], [])
        if len(rows) == folder.config.evaluation["episodes"]:
            return np.array([row["return"] for row in rows])
    return returns_of(Path(evaluate(folder.path, settings)["run_dir"]))


def returns_of(evaluation: Path) -> np.ndarray:
    """Returns of the episodes in the folder of an evaluation."""
    return episodes_of(evaluation)["return"].to_numpy()


def statistics(folder: RunFolder, returns: np.ndarray, alpha: float) -> dict[str, Any]:
    """A run's name and measure, and mean and CVaR of its returns with 95 % intervals over episodes."""
    row: dict[str, Any] = {"run": str(folder), "risk": risks.label(folder.config.risk)}
    for name, statistic in (("mean", np.mean), ("cvar", partial(cvar, alpha=alpha))):
        low, high = interval([returns], statistic) if len(returns) > 1 else (None, None)
        row |= {name: float(statistic(returns)), f"{name}_low": low, f"{name}_high": high}
    return row
