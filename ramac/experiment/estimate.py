"""Off-policy evaluation: what a policy would return, from logged data alone, and whether to believe it."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ramac.agent import Agent
from ramac.checkpoint import load
from ramac.data import Dataset
from ramac.errors import InputError, nearest
from ramac.evaluation.fitted import left_over
from ramac.evaluation.fqe import Estimator
from ramac.evaluation.realised import configuration
from ramac.experiment.run import whole_number
from ramac.experiment.unfinished import evaluated, unfinished, warn
from ramac.registry import critics, evaluations, label_of, risks
from ramac.statistics import ENOUGH
from ramac.system.files import whole, write_json
from ramac.tasks import configured

STEPS = 3_000  # leave 0.2 % of a wrong first guess at a discount of 0.99; docs/offline.md
CRITIC = "qr"  # the most accurate in docs/critics.md
EXTRAPOLATES = 0.1  # share of out-of-distribution actions beyond the data's own: one state in ten
USAGE = """ramac estimate RUN [seed=N] [steps=N]      judge a run's policy by the logged data alone

  seed=N    of the estimate, the run's by default
  steps=N   updates of each fit"""


def report(estimator: Estimator, agent: Agent) -> dict[str, Any]:
    """Everything about one policy, with a verdict in words."""
    settings = {"gamma": estimator.gamma, "seed": estimator.seed, "steps": estimator.steps}
    settings |= {"critic": critics.label(estimator.critic), "left_over": left_over(estimator.gamma, estimator.steps)}
    found = {"policy": estimator.policy(agent), "behaviour": estimator.behaviour, "distance": estimator.distance(agent)}
    return {**settings, **found, "verdict": verdict(found)}


def verdict(found: Mapping[str, Any]) -> str:
    """One sentence: does the estimator know the behaviour, and does the policy leave what it knows?"""
    behaviour, ood = found["behaviour"], found["distance"]["ood"]
    count = behaviour["episodes"]
    what = f"{count} {'held-out' if behaviour['held_out'] else 'training'} episodes"
    judged = [row for row in behaviour["cvar"] if row["alpha"] == 1 or row["alpha"] * count >= ENOUGH]
    missed = [row for row in judged if not row["met"]]
    names = ["mean" if row["alpha"] == 1 else f"CVaR {row['alpha']:g}" for row in missed or judged]
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
    known = f"{ood['rate']:.0%} of the policy's actions are out of distribution, {ood['data']:.0%} of the logged ones"
    if ood["rate"] > ood["data"] + EXTRAPOLATES:
        return f"{text}; {known}: the policy's estimate is an extrapolation"
    return f"{text}; {known}"


def rank(agents: Mapping[int, Agent], reports: Mapping[int, Mapping[str, Any]], data: Dataset) -> dict[str, Any]:
    """Reports by step in order of the agent's own risk measure of the estimated returns, the best first."""
    mean, std = data.spec.return_mean, data.spec.return_std
    rows = []
    for step, found in reports.items():
        policy, ood = found["policy"], found["distance"]["ood"]
        standard = (torch.tensor(policy["quantiles"], dtype=torch.float64) - mean) / std  # as critics see returns
        row = {"step": step, "score": mean + std * agents[step].risk.of_samples(standard).item()}
        row |= {"mean": policy["cvar"][0]["estimate"]}
        row |= {"cvar": {f"{line['alpha']:g}": line["estimate"] for line in policy["cvar"][1:]}}
        rows.append({**row, "action_rms": found["distance"]["action_rms"], "ood": None if ood is None else ood["rate"]})
    rows.sort(key=lambda row: row["score"], reverse=True)
    chosen = rows[0]["step"]
    return {"rule": f"highest estimated {measure(agents[chosen])}", "chosen": chosen, "rows": rows}


def measure(agent: Agent) -> str:
    """Short name of an agent's risk measure, its number included where it keeps one: `cvar0.1`."""
    name = label_of(risks, type(agent.risk))
    number = getattr(agent.risk, risks.suffix.get(name) or "", None)
    return name if number is None else f"{name}{number:g}"


def estimate(
    agent: Agent,
    data: Dataset,
    *,
    gamma: float,
    alphas: Sequence[float],
    seed: int,
    steps: int = STEPS,
    critic: str | Mapping[str, Any] = CRITIC,
) -> dict[str, Any]:
    """Distributional fitted-Q evaluation of a policy: its returns, the behaviour's as a check, distance, verdict.

    Paper: Le et al. 2019, Batch Policy Learning under Constraints; Fu et al. 2021, Benchmarks for Deep Off-Policy
    Evaluation. Raises InputError for data or settings that cannot be used, FloatingPointError when a fit diverges.
    """
    device = agent.actor.scaling.centre.device
    return report(Estimator(data, gamma, alphas, seed, steps, critic, device), agent)


def choose(
    agents: Mapping[int, Agent],
    data: Dataset,
    *,
    gamma: float,
    alphas: Sequence[float],
    seed: int,
    steps: int = STEPS,
    critic: str | Mapping[str, Any] = CRITIC,
) -> dict[str, Any]:
    """Estimates of checkpoints by their step, ranked by their own risk measure: `rule`, `chosen`, `rows`.

    The behaviour is fitted once. Raises as `estimate`.
    """
    if not agents:
        raise InputError("there is no checkpoint to choose from")
    device = next(iter(agents.values())).actor.scaling.centre.device
    estimator = Estimator(data, gamma, alphas, seed, steps, critic, device)
    return rank(agents, {step: report(estimator, agent) for step, agent in agents.items()}, data)


def checkpoints(run: Path, steps: int) -> dict[int, Agent]:
    """The kept checkpoints of a run by their step, the last one, of update `steps`, at the end. Raises InputError."""
    kept = sorted(int(path.name) for path in (run / "checkpoints").glob("*") if path.name.isdecimal())
    agents = {step: load(run / "checkpoints" / str(step), run) for step in kept if step != steps}
    return {**agents, steps: load(run)}


def brief(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's summary keeps of an estimate, all of discounted returns."""
    mean, *tails = found["policy"]["cvar"]
    kept = {"mean": mean["estimate"], "cvar": {f"{row['alpha']:g}": row["estimate"] for row in tails}}
    choice = {"chosen": found["choice"]["chosen"]} if "choice" in found else {}
    return {**kept, **choice, "verdict": found["verdict"]}


def of_run(run: Path, seed: int | None = None, steps: int = STEPS) -> dict[str, Any]:
    """Estimate a run's last policy, rank its kept checkpoints, write `estimate.json` and `estimate.png` into it.

    Raises InputError when the folder cannot be used.
    """
    config, gamma, own_seed = configuration(run)
    try:
        alphas, updates = evaluations.plain(config["evaluation"])["alphas"], int(config["trainer"]["steps"])
        if unfinished(run):
            updates = evaluated(run) or 0
        agents = checkpoints(run, updates)
        task = configured(config)
    except (AttributeError, KeyError, TypeError) as error:
        raise InputError(f"{run}/config.yaml cannot be used: {error}") from error
    if not os.access(run, os.W_OK):
        raise InputError(f"{run} cannot be written to")
    warn(run)
    return judge(run, agents, task.dataset(), gamma, alphas, own_seed if seed is None else seed, steps)


def judge(
    run: Path, agents: Mapping[int, Agent], data: Dataset, gamma: float, alphas: Sequence[float], seed: int,
    steps: int = STEPS,
) -> dict[str, Any]:  # fmt: skip
    """Estimate the last of a run's policies, rank all of them, write `estimate.json` and `estimate.png` into it."""
    from ramac.cli.estimate_report import figure

    last = max(agents)
    estimator = Estimator(data, gamma, alphas, seed, steps, CRITIC, agents[last].actor.scaling.centre.device)
    reports = {step: report(estimator, agent) for step, agent in agents.items()}
    found = {"run_dir": str(run), "data": data.origin, **reports[last]}
    if len(agents) > 1:
        found["choice"] = rank(agents, reports, data)
    with whole(run / "estimate.png") as part:
        figure(found, part)
    write_json(run / "estimate.json", found)
    return found


def command(arguments: list[str]) -> int:
    """`ramac estimate RUN [seed=N] [steps=N]`; returns the exit status. Raises InputError for what cannot be done."""
    from ramac.cli.estimate_report import show

    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    run, *rest = arguments
    given: dict[str, int] = {}
    for argument in rest:
        key, _, value = argument.partition("=")
        if key not in ("seed", "steps"):
            hint = nearest(key, ("seed", "steps"))
            raise InputError(f"after a run folder estimate takes seed=N and steps=N; got {argument!r}{hint}")
        number: Any = int(value) if value.isdecimal() else value
        given[key] = whole_number({key: number}, key, 0 if key == "seed" else 1)
    try:
        show(of_run(Path(run), **given))
    except FloatingPointError as error:
        print(f"ramac: {error}", file=sys.stderr)
        return 1
    return 0
