"""Off-policy evaluation of a run: what its policy would return, from logged data alone, and whether to believe it.

Paper: Fu et al. 2021, Benchmarks for Deep Off-Policy Evaluation.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ramac.agent import Agent
from ramac.checkpoint import load
from ramac.data import Dataset
from ramac.errors import InputError, whole_number
from ramac.evaluation.calibration import cvar_name
from ramac.evaluation.fqe import Estimator, left_over
from ramac.experiment.config import SEEDS
from ramac.experiment.folder import RunFolder
from ramac.registry import critics, label_of, risks
from ramac.statistics import ENOUGH
from ramac.system.files import whole, write_json
from ramac.system.paths import refuse_unsafe
from ramac.tasks import configured

STEPS = 3_000  # leave 0.2 % of the initial error at a discount of 0.99; docs/results/offline.md
CRITIC = "qr"  # the most accurate in docs/results/critics.md
EXTRAPOLATES = 0.1  # share of out-of-distribution actions beyond the data's own: one state in ten


def report(estimator: Estimator, agent: Agent) -> dict[str, Any]:
    """Estimate of one policy, check of the estimator, distance to the data, and a verdict in words."""
    gamma, steps, critic = estimator.gamma, estimator.steps, critics.label(estimator.critic)
    settings = {"gamma": gamma, "seed": estimator.seed, "steps": steps, "critic": critic}
    found = {"policy": estimator.policy(agent), "behaviour": estimator.behaviour, "distance": estimator.distance(agent)}
    return {**settings, "left_over": left_over(gamma, steps), **found, "verdict": verdict(found)}


def verdict(found: Mapping[str, Any]) -> str:
    """One sentence: does the estimator meet the behaviour's returns, and how far is the policy from the data?"""
    behaviour, ood = found["behaviour"], found["distance"]["ood"]
    count = behaviour["episodes"]
    what = f"{count} {'held-out' if behaviour['held_out'] else 'training'} episodes"
    judged = [row for row in behaviour["cvar"] if row["alpha"] == 1 or row["alpha"] * count >= ENOUGH]
    missed = [row for row in judged if not row["met"]]
    names = [cvar_name(row["alpha"]) for row in missed or judged]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    if count < ENOUGH:
        text = f"{what} cannot tell whether the estimator is right"
    elif behaviour["completed"] > 0.5:
        text = f"episodes are cut too early to check the estimator: {behaviour['completed']:.0%} lies beyond the cuts"
    elif missed:
        text = f"the estimator misses the behaviour's {listed} on {what}: do not trust it here"
    else:
        text = f"the estimator meets the behaviour's {listed} on {what}"
    if found["policy"]["cvar"][0]["estimate"] > behaviour["cvar"][0]["high"]:
        text += "; the policy is estimated to beat the behaviour, which no held-out episode can confirm"
    if ood is None:
        return f"{text}; too few data to tell how far the policy is from them"
    text += f"; {ood['rate']:.0%} of the policy's actions are out of distribution, {ood['data']:.0%} of the logged ones"
    return text + ": the policy's estimate is an extrapolation" * (ood["rate"] > ood["data"] + EXTRAPOLATES)


def rank(agents: Mapping[int, Agent], reports: Mapping[int, Mapping[str, Any]], data: Dataset) -> dict[str, Any]:
    """Checkpoints by gradient step, ranked by the agent's own risk measure of the estimated returns, best first."""
    mean, std = data.spec.return_mean, data.spec.return_std
    rows = []
    for step, found in reports.items():
        policy, ood = found["policy"], found["distance"]["ood"]
        standard = (torch.tensor(policy["quantiles"], dtype=torch.float64) - mean) / std  # as critics see returns
        row = {"step": step, "score": mean + std * agents[step].risk.of_samples(standard).item(), **levels(policy)}
        rows.append({**row, "action_rms": found["distance"]["action_rms"], "ood": None if ood is None else ood["rate"]})
    rows.sort(key=lambda row: row["score"], reverse=True)
    chosen = rows[0]["step"]
    risk = agents[chosen].risk
    name = risks.label({**vars(risk), "name": label_of(risks, type(risk))})
    return {"rule": f"highest estimated {name}", "chosen": chosen, "rows": rows}


def levels(policy: Mapping[str, Any]) -> dict[str, Any]:
    """Estimated mean, and CVaR by its level as text."""
    mean, *tails = policy["cvar"]
    return {"mean": mean["estimate"], "cvar": {f"{row['alpha']:g}": row["estimate"] for row in tails}}


def checkpoints(run: Path, steps: int) -> dict[int, Agent]:
    """The kept checkpoints of a run by gradient step, and at the end the last one, of `steps`. Raises InputError."""
    folder = RunFolder(run)
    agents = {step: load(folder.checkpoints / str(step), run) for step in folder.kept if step != steps}
    return {**agents, steps: load(run)}


def brief(found: Mapping[str, Any]) -> dict[str, Any]:
    """The part of an estimate that a run's summary keeps, all of discounted returns."""
    choice = {"chosen": found["choice"]["chosen"]} if "choice" in found else {}
    return {**levels(found["policy"]), **choice, "verdict": found["verdict"]}


def of_run(run: Path, seed: int | None = None, steps: int = STEPS, quiet: bool = False) -> dict[str, Any]:
    """Estimate a run's last policy, rank its kept checkpoints, write `estimate.json` and `estimate.png` into it.

    `seed`: of the estimate, by default the run's; `steps`: gradient steps of each fit. Raises InputError when the
    folder cannot be used, FloatingPointError when a fit diverges.
    """
    whole_number("steps", steps, 1, SEEDS)
    if seed is not None:
        whole_number("seed", seed, 0, SEEDS)
    folder = RunFolder(run)
    refuse_unsafe(run)  # the estimate would be written through them
    config = folder.config
    last = config.trainer["steps"] if folder.summary_file.exists() else folder.step or max(folder.kept, default=0)
    agents, task = checkpoints(run, last), configured(config.plain)
    if not os.access(run, os.W_OK):
        raise InputError(f"{run} cannot be written to")
    folder.warn_unfinished()
    alphas, seed = config.evaluation["alphas"], config.seed if seed is None else seed
    return judge(run, agents, task.dataset(), config.gamma, alphas, seed, steps, quiet=quiet)


def judge(
    run: Path, agents: Mapping[int, Agent], data: Dataset, gamma: float, alphas: Sequence[float], seed: int,
    steps: int = STEPS, *, quiet: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Estimate the last of a run's policies, rank all of them, write `estimate.json` and `estimate.png` into it."""
    from ramac.plotting import estimate_figure  # matplotlib

    last = max(agents)
    estimator = Estimator(data, gamma, alphas, seed, steps, CRITIC, agents[last].actor.scaling.centre.device, quiet)
    reports = {step: report(estimator, agent) for step, agent in agents.items()}
    found = {"run_dir": str(run), "data": data.origin, **reports[last]}
    if len(agents) > 1:
        found["choice"] = rank(agents, reports, data)
    path, behaviour = RunFolder(run).estimate_file, found["behaviour"]
    returned = f"returned, {behaviour['episodes']} {'held-out' if behaviour['held_out'] else 'training'} episodes"
    names = (returned, "behaviour, estimate", "policy, estimate")
    curves = (behaviour["realised"], behaviour["quantiles"], found["policy"]["quantiles"])
    title = f"{run.name}: estimate from logged data, gamma {gamma:g}"
    with whole(path.with_suffix(".png")) as part:
        estimate_figure(dict(zip(names, map(np.array, curves), strict=True)), title, part)
    write_json(path, found)
    return found
