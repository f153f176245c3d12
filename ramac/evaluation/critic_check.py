"""Fit a critic on problems with a known return distribution, and compare what it learns with the truth."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict

from ramac.agent import Agent
from ramac.critics import Critic
from ramac.errors import optional
from ramac.evaluation.calibration import Calibration, crps, quantile_levels
from ramac.evaluation.problems import PROBLEMS, Law, Problem, Question
from ramac.losses import build_terms
from ramac.registry import critics, risks, trainers
from ramac.risk import RiskMeasure
from ramac.system.files import named, write_json
from ramac.system.runtime import environment, progress_bar
from ramac.training.trainer import Trainer

Node = Mapping[str, Any]
ALPHAS = (0.05, 0.1, 0.25)
MARKS = {"quantile error": 0.05, "CRPS excess": 0.01, "deviation error": 0.05, "risk": 0.05, "calibration": 0.1}
MARKS["crossing"] = 0.2  # implicit quantiles may cross; unordered values cross at half of all places
TOLERANCE = 0.02  # PIT tolerance, in standard deviations of the truth
LEVELS = 500  # at which learned and true returns are compared
REPEATS = 256  # risk readouts per action, averaged because some critics sample their levels


class CriticCheck:
    """A critic and how it is trained; `run` fits it on every problem.

    `critic`, `risk`, `trainer`, `td`: nodes of the registry. `risk` is the agent's, read besides CVaR.
    `steps`: gradient steps per problem instead of its own. Raises InputError for a wrong argument of any of them.
    """

    def __init__(
        self, critic: Node, risk: Node, trainer: Node, td: Node, *, seed: int, device: torch.device,
        steps: int | None = None, quiet: bool = False,
    ) -> None:  # fmt: skip
        self.critic, self.risk, self.trainer, self.td = critic, risk, trainer, td
        self.seed, self.device, self.quiet = seed, device, quiet
        measures = [*(risks.plain(f"cvar{alpha}") for alpha in ALPHAS), risk]
        self.measures: dict[str, RiskMeasure] = {risks.label(node): risks.build(node) for node in measures}
        problems = [make() for make in PROBLEMS]
        self.problems = problems if steps is None else [replace(problem, steps=steps) for problem in problems]
        for problem in self.problems:
            self.prepare(problem)

    def prepare(self, problem: Problem) -> Trainer:
        """The trainer of a problem, with temporal differences only. Seeds torch's global generator."""
        torch.manual_seed(self.seed)
        risk = (
            self.risk if self.td.get("aggregation") == "risk_min" else "neutral"
        )  # only this one uses the agent's own
        agent = Agent.build({"actor": "deterministic", "critic": self.critic, "risk": risk}, problem.spec)
        terms = build_terms({"td": {**self.td, "gamma": problem.gamma}}, problem.spec)
        settings, transitions = {**self.trainer, "steps": problem.steps}, problem.transitions.to(self.device)
        return trainers.build(settings, agent.to(self.device), terms, transitions, self.seed)

    def run(self, folder: Path) -> dict[str, Any]:
        """Fit on every problem, write `doctor.json`, `doctor.png` and `environment.txt`; returns the json's content."""
        rows, pictures = [], []
        for problem in self.problems:
            trainer = self.prepare(problem)
            label = problem.questions[0].label.partition(" ")[0]
            for _ in progress_bar(trainer.run(), problem.steps, label, self.quiet):
                pass
            for question in problem.questions:
                row, *curves = answer(trainer.target.critic, problem, question, self.measures)
                rows.append({"problem": question.label, "steps": problem.steps, **row})
                pictures.append((question.label, *curves))
        report = {"critic": critics.plain(self.critic), "seed": self.seed, "marks": MARKS, "questions": rows}
        report["failed"] = [f"{row['problem']}: {key}" for row in rows for key in failures(row)]
        write_json(folder / "doctor.json", report)
        with named(path := folder / "environment.txt"):
            path.write_text(environment(), encoding="utf-8")
        with optional("doctor.png"):
            from ramac.plotting import critic_figure  # matplotlib

            critic_figure(pictures, critics.label(self.critic), folder / "doctor.png")
        return report


@torch.no_grad()
def answer(
    critic: Critic, problem: Problem, question: Question, measures: Mapping[str, RiskMeasure]
) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray]:
    """Errors of one question in units of its scale, true quantiles [L], learned ones [R = E Q, L], and PIT curve.

    The scale is the standard deviation of the truth or of the logged returns, whichever is larger: a critic learns in
    the latter. Each row is scored, then the rows are averaged.
    """
    count, law, device = len(question.action), question.law, critic.scaling.return_mean.device
    truth = law(quantile_levels(LEVELS))
    scale = max(truth.std().item(), problem.spec.return_std)
    asked = {"observation": question.observation.expand(count, -1), "action": question.action}
    pairs = TensorDict(asked, [count], device=device)
    level = quantile_levels(LEVELS).float().expand(count, -1).to(device)
    learned = critic(pairs.copy(), level)["value"].movedim(1, 0).reshape(-1, LEVELS).double().cpu()
    outcome = truth.expand_as(learned)
    calibration = Calibration(learned, outcome, TOLERANCE * truth.std().item(), bins=20)
    row: dict[str, Any] = {
        "quantile error": ((learned - truth).abs().mean() / scale).item(),
        "CRPS excess": ((crps(learned, outcome).mean() - crps(truth, truth)) / scale).item(),
        "deviation": ((learned.std(-1).mean() - truth.std()) / scale).item(),
        "deviation error": ((learned.std(-1) - truth.std()).abs().mean() / scale).item(),
        "crossing": critic.crossing(critic.features(pairs)).mean().item(),
        "calibration": calibration.miscalibration,
        "risk": {},
    }
    repeated = pairs.expand(REPEATS, count).reshape(-1)
    for name, measure in measures.items():
        read = critic.risk(repeated, measure).double().reshape(REPEATS, -1).mean(0)
        exact = true_risk(measure, law, problem)
        error = (read - exact).abs().mean().item() / max(abs(exact), scale)
        row["risk"][name] = {"read": read.mean().item(), "truth": exact, "error": error}
    return row, truth.numpy(), learned.numpy(), calibration.curve.numpy()


def true_risk(measure: RiskMeasure, law: Law, problem: Problem) -> float:
    """Risk of a law in reward units, taken on standardised returns as critics do (it matters for `entropic` only)."""
    mean, std = problem.spec.return_mean, problem.spec.return_std
    return mean + std * measure.of_samples((law(quantile_levels(50_000)) - mean) / std).item()


def failures(row: dict[str, Any]) -> list[str]:
    """Names of the figures of a question above their mark or nan."""
    passed = {key: row[key] <= mark for key, mark in MARKS.items() if key != "risk"}
    passed |= {name: risk["error"] <= MARKS["risk"] for name, risk in row["risk"].items()}
    return [key for key, met in passed.items() if not met]
