"""Run folders as runs leave them, and what tests of reports read of them."""

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import yaml

from ramac.reporting.groups import Group, chosen_keys, make_groups
from ramac.reporting.runs import Run, gather

HEADER = "step,episode,return,length,risky_steps,penalties"


def write_run(
    folder: Path,
    seed: int = 0,
    shift: float = 0.0,
    episodes: int = 20,
    steps: tuple[int, ...] = (1000,),
    task: str = "bandit",
    recipe: str | None = None,
    summary: dict | None = None,
    **settings: object,
) -> np.ndarray:
    """A run folder as a run leaves it, with normal returns about `shift`; `actor__steps=5` is the setting actor.steps.

    Returns those of the last step, [episodes].
    """
    names = {group: str(settings.pop(group, default)) for group, default in
             (("actor", "flow"), ("critic", "iqn"), ("risk", "cvar0.1"))}  # fmt: skip
    config = {group: {"name": re.sub(r"[\d.]+$", "", name)} for group, name in names.items()}
    config |= {"task": {"name": task}, "trainer": {"steps": steps[-1], "batch_size": 256}, "seed": seed}
    config |= {"run_dir": folder.name, "device": "auto", "evaluation": {"episodes": episodes}, "recipe": recipe}
    for key, value in settings.items():
        group, _, leaf = key.partition("__")
        config[group][leaf] = value
    rng = np.random.default_rng([seed, *folder.name.encode()])
    returns = {step: shift + rng.normal(size=episodes) * 10 for step in steps}
    rows = [f"{s},{i},{value},50,{i % 5},0" for s, part in returns.items() for i, value in enumerate(part)]
    metrics = [
        f"{s},{name},{math.exp(-s / 500) + shift}" for s in range(100, 3100, 100) for name in ("loss_td", "loss_bc")
    ]
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "episodes.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    (folder / "metrics.csv").write_text("\n".join(["step,name,value", *metrics]) + "\n")
    result = {"task": task, **names, "loss": ["td", "bc"], "seed": seed, "steps": steps[-1]}
    result |= {"updates_per_second": 20.0 + seed, "wall_seconds": 60.0}
    result |= {"ood": {"rate": 0.1 * (seed + 1), "nominal": 0.05, "paper": {"rate": 0.02}}}
    result |= {"behaviour": {"episodes": 500, "return_mean": 2.5, "return_cvar": {"0.1": -7.5}}}
    result |= ({"recipe": recipe} if recipe else {}) | (summary or {})
    (folder / "summary.json").write_text(json.dumps(result))
    return returns[steps[-1]]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def worst(returns: np.ndarray, alpha: float) -> float:
    """CVaR where alpha n is a whole number."""
    return float(np.sort(returns)[: round(alpha * len(returns))].mean())


def groups_of(path: Path, *by: str) -> tuple[list[str], list[str], str]:
    found = gather([str(path)]).runs
    keys, note = chosen_keys(found, by)
    return keys, [group.label for group in make_groups(found, keys)], note


def group(label: str, *seeds: np.ndarray) -> Group:
    """A group of one run per seed, of these returns."""
    found = [{"step": np.zeros(len(part)), "episode": np.arange(len(part)), "return": part} for part in seeds]
    settings = [{"task": "x", "seed": str(seed), "evaluation.seed": "1"} for seed in range(len(seeds))]
    return Group({"name": label}, label, [Run(label, *pair) for pair in zip(settings, found, strict=True)])
