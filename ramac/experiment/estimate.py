"""Off-policy evaluation of a run: what its policy would return, from logged data alone, and whether to believe it.

Paper: Fu et al. 2021, Benchmarks for Deep Off-Policy Evaluation.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ramac.agent import Agent
from ramac.checkpoint import load
from ramac.data import Dataset
from ramac.errors import InputError, optional, whole_number
from ramac.evaluation.calibration import cvar_name
from ramac.evaluation.fqe import Estimator, left_over
from ramac.evaluation.weighting import of_policy
from ramac.experiment.config import SEEDS
from ramac.experiment.fits import FITS, LIMITS, STEPS
from ramac.experiment.folder import RunFolder
from ramac.experiment.paths import refuse_lost
from ramac.experiment.problem import problem_of
from ramac.experiment.resume import moved, refuse_other_data
from ramac.registry import critics, label_of, risks
from ramac.statistics import ENOUGH
from ramac.system.files import alone, write_json
from ramac.system.paths import refuse_unsafe
from ramac.system.runtime import seeded

CRITIC = "qr"  # the most accurate in docs/results/critics.md
UNFINISHED = 0.1  # of the initial error: an estimate this near to its first guess says little
EXTRAPOLATES = 0.1  # share of out-of-distribution actions beyond the data's own: one state in ten


@dataclass(frozen=True)
class Fits:
    """Seed, gradient steps and number of the fits of an estimate. Raises InputError."""

    seed: int
    steps: int
    count: int

    def __post_init__(self) -> None:
        whole_number("steps", self.steps, 1, SEEDS)
        whole_number("fits", self.count, *LIMITS["fits"])
        whole_number("seed", self.seed, 0, SEEDS)


def report(estimator: Estimator, agent: Agent) -> dict[str, Any]:
    """Estimate of one policy, check of the estimator, distance to the data, and a verdict in words."""
    gamma, steps, critic = estimator.gamma, estimator.steps, critics.label(estimator.critic)
    settings = {"gamma": gamma, "seed": estimator.seed, "steps": steps, "fits": estimator.fits, "critic": critic}
    found = {"policy": estimator.policy(agent), "behaviour": estimator.behaviour, "distance": estimator.distance(agent)}
    found = {"left_over": left_over(gamma, steps), **found}
    return {**settings, **found, "verdict": verdict(found)}


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
    if found["left_over"] > UNFINISHED:
        text += f"; up to {found['left_over']:.0%} of the estimate is its first guess, the mean of the logged returns"
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
        row = {
            "step": step,
            "score": mean + std * agents[step].risk.whole.of_samples(standard).item(),
            **levels(policy),
        }
        rows.append({**row, "action_rms": found["distance"]["action_rms"], "ood": None if ood is None else ood["rate"]})
    rows.sort(key=lambda row: row["score"], reverse=True)
    chosen = rows[0]["step"]
    risk = agents[chosen].risk.whole  # at the first end of a dial, where agents play
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
    names = ("mean" if row["alpha"] == 1 else f"{row['alpha']:g}" for row in found["policy"]["cvar"])
    intervals = {name: [row["low"], row["high"]] for name, row in zip(names, found["policy"]["cvar"], strict=True)}
    return {**levels(found["policy"]), "intervals": intervals, **choice, "verdict": found["verdict"]}


def of_run(
    run: Path, seed: int | None = None, steps: int | None = None, fits: int | None = None, quiet: bool = False,
    data: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Estimate a run's last policy, rank its kept checkpoints, write `estimate.json` and `estimate.png` into it.

    `seed`: of the estimate, by default the run's; `fits`, each of `steps` gradient steps: by default the run's
    `estimate.fits` and `estimate.steps`, and 3000 steps where it names none; `data`: where the run's data are now.
    Raises InputError when the folder or the data cannot be used, FloatingPointError when a fit diverges.
    """
    chosen = Fits(0 if seed is None else seed, 1 if steps is None else steps, FITS if fits is None else fits)
    folder = RunFolder(run)
    refuse_unsafe(run)  # the estimate would be written through them
    config = folder.config if data is None else moved(folder.config, data)
    refuse_lost(config, run, "estimate")
    chosen = Fits(
        config.seed if seed is None else chosen.seed,
        config.estimate["steps"] or STEPS if steps is None else chosen.steps,
        config.estimate["fits"] if fits is None else chosen.count,
    )
    last = config.trainer["steps"] if folder.summary_file.exists() else folder.step or max(folder.kept, default=0)
    agents = checkpoints(run, last)
    if not os.access(run, os.W_OK):
        raise InputError(f"{run} cannot be written to")
    folder.warn_unfinished()
    logged = problem_of(config)[1]
    refuse_other_data(folder, logged)
    with alone(folder.estimate_file):
        return judge(run, agents, logged, config.gamma, config.evaluation["alphas"], chosen, quiet=quiet)


def judge(
    run: Path, agents: Mapping[int, Agent], data: Dataset, gamma: float, alphas: Sequence[float], fits: Fits, *,
    quiet: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Estimate the last of a run's policies, rank all of them, write `estimate.json` and `estimate.png` into it."""
    last = max(agents)
    device = agents[last].actor.scaling.centre.device
    estimator = Estimator(data, gamma, alphas, fits.seed, fits.steps, fits.count, CRITIC, device, quiet)
    reports = {step: report(estimator, agent) for step, agent in agents.items()}
    with seeded(fits.seed, device):
        weighted = of_policy(data, agents[last].act, gamma, alphas, fits.seed)
    found = {"run_dir": str(run), "data": data.origin, **reports[last], "importance": weighted}
    if len(agents) > 1:
        found["choice"] = rank(agents, reports, data)
    path, behaviour = RunFolder(run).estimate_file, found["behaviour"]
    returned = f"returned, {behaviour['episodes']} {'held-out' if behaviour['held_out'] else 'training'} episodes"
    names = (returned, "behaviour, estimate", "policy, estimate")
    curves = (behaviour["realised"], behaviour["quantiles"], found["policy"]["quantiles"])
    title = f"{run.name}: estimate from logged data, gamma {gamma:g}"
    with optional("estimate.png"):
        from ramac.plotting import estimate_figure  # matplotlib

        estimate_figure(dict(zip(names, map(np.array, curves), strict=True)), title, path.with_suffix(".png"))
    write_json(path, found)
    return found
