"""`ramac doctor critic=...`: fit a critic on problems with known answers, and hold what it says against them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tensordict import TensorDict
from torch import Tensor

from ramac.agent import Agent
from ramac.critics import Critic
from ramac.errors import InputError
from ramac.evaluation.calibration import crps, miscalibration, pit
from ramac.evaluation.problems import PROBLEMS, Law, Problem, Question, levels
from ramac.experiment.folder import make_folder, named, refuse_taken
from ramac.experiment.run import whole_number
from ramac.registry import critics, losses, risks, trainers
from ramac.risk import RiskMeasure
from ramac.system.files import write_json
from ramac.system.runtime import device_of, environment, keep_memory, progress
from ramac.training.trainer import Trainer

# short runs of many backups: a larger step and a faster target than in training; pessimism would not be the critic's
SETTINGS = ["loss=[td]", "actor=deterministic", "loss.td.aggregation=mean"]
SETTINGS += ["trainer.critic_lr=0.002", "trainer.average_decay=0.95", "trainer.batch_size=128"]
TAKES = ("critic", "risk", "trainer", "loss.td.aggregation", "loss.td.drop", "seed", "device", "run_dir")
USAGE = f"ramac doctor critic=... [key=value]   a critic against known answers; takes {', '.join(TAKES)}"
ALPHAS = (0.05, 0.1, 0.25)
MARKS = {"quantile error": 0.05, "CRPS excess": 0.01, "deviation error": 0.05, "risk": 0.05, "calibration": 0.1}
MARKS["crossing"] = 0.2  # implicit quantiles are free to cross; values in no order at all do so in half of all places
TOLERANCE = 0.02  # of the PIT, in deviations of the truth: an atom so far off counts as met
LEVELS = 500  # at which learned and true returns are compared
REPEATS = 256  # of a risk readout: critics that draw levels are read without that noise


def refuse_others(overrides: list[str]) -> None:
    """Refuse settings that the doctor does not take. Raises InputError."""
    for override in overrides:
        key = override.partition("=")[0]
        if "=" not in override or not any(key == name or key.startswith(f"{name}.") for name in TAKES):
            raise InputError(f"doctor takes a run folder, or settings of {', '.join(TAKES)}; got {override!r}")


def examine(overrides: list[str]) -> dict[str, Any]:
    """Fit the critic on every problem and write `doctor.json` and `doctor.png`; returns their content and `run_dir`.

    Raises InputError before anything is written when the settings cannot be used.
    """
    from ramac.cli import compose
    from ramac.plotting import doctor_figure

    refuse_others(overrides)
    config = compose([*SETTINGS, *overrides])
    seed, device = whole_number(config, "seed", 0), device_of(config.device)
    keep_memory()
    given = {override.partition("=")[0] for override in overrides}
    measures = [risks.plain(f"cvar{alpha}") for alpha in ALPHAS]
    if any(key.partition(".")[0] == "risk" for key in given):
        measures.append(risks.plain(config.risk))
    asked = {risks.label(measure): risks.build(measure) for measure in measures}
    problems = [make() for make in PROBLEMS]
    if "trainer.steps" in given:
        problems = [replace(problem, steps=config.trainer.steps) for problem in problems]
    for problem in problems:  # a wrong argument must not wait for the problems before it
        prepare(problem, config, seed, device)
    name = critics.label(config.critic)
    if (asked_folder := named(config.run_dir)) is not None:
        refuse_taken(asked_folder)
    folder = make_folder(asked_folder, f"doctor-{name}-seed{seed}")
    rows, pictures = [], []
    for problem in problems:
        trainer = prepare(problem, config, seed, device)
        for _ in progress(trainer.run(), problem.steps, problem.questions[0].label.partition(" ")[0]):
            pass
        for question in problem.questions:
            row, picture = answer(trainer.target.critic, problem, question, asked)
            rows.append({"problem": question.label, "steps": problem.steps, **row})
            pictures.append((question.label, *picture))
    report = {"critic": critics.plain(config.critic), "seed": seed, "marks": MARKS, "questions": rows}
    report["failed"] = [f"{row['problem']}: {key}" for row in rows for key in failures(row)]
    write_json(folder / "doctor.json", report)
    (folder / "environment.txt").write_text(environment())
    doctor_figure(pictures, name, folder / "doctor.png")
    return {**report, "run_dir": str(folder)}


def prepare(problem: Problem, config: DictConfig, seed: int, device: torch.device) -> Trainer:
    """A trainer of temporal differences for the critic of `config`; its moving average is what will be examined."""
    torch.manual_seed(seed)
    lowest = config.loss.td.aggregation == "risk_min"  # the only part that asks for the agent's own measure
    parts = {"actor": config.actor, "critic": config.critic, "risk": config.risk if lowest else "neutral"}
    agent = Agent.build(parts, problem.spec).to(device)
    td = losses.build({**losses.plain(config.loss.td), "gamma": problem.gamma})
    settings = {**trainers.plain(config.trainer), "steps": problem.steps}
    return trainers.build(settings, agent, {"td": td}, problem.transitions.to(device), seed)


@torch.no_grad()
def answer(
    critic: Critic, problem: Problem, question: Question, asked: dict[str, RiskMeasure]
) -> tuple[dict[str, Any], tuple[Tensor, Tensor, Tensor]]:
    """Figures of one question as shares of its scale, and for the figure (truth [L], learned [R, L], PIT).

    The scale is the larger of the truth's deviation and that of the logged returns, in which a critic learns.
    R = E x actions rows are scored one by one and averaged.
    """
    device, count = critic.scaling.return_mean.device, len(question.action)
    truth = question.law(levels(LEVELS))
    scale = max(truth.std().item(), problem.spec.return_std)
    pair = TensorDict({"observation": question.observation.expand(count, -1), "action": question.action}, [count])
    pair = pair.to(device)
    value = critic(pair.copy(), levels(LEVELS).float().expand(count, -1).to(device))["value"]
    learned = value.movedim(1, 0).reshape(-1, LEVELS).double().cpu()
    true_crps = crps(truth, truth)
    curve = pit(learned, truth.expand_as(learned), TOLERANCE * truth.std().item())
    row: dict[str, Any] = {
        "quantile error": ((learned - truth).abs().mean() / scale).item(),
        "CRPS excess": ((crps(learned, truth.expand_as(learned)).mean() - true_crps) / scale).item(),
        "deviation": ((learned.std(-1).mean() - truth.std()) / scale).item(),
        "deviation error": ((learned.std(-1) - truth.std()).abs().mean() / scale).item(),
        "crossing": critic.crossing(critic.features(pair)).mean().item(),
        "calibration": miscalibration(curve),
        "risk": {},
    }
    many = pair.expand(REPEATS, count).reshape(-1)
    for name, measure in asked.items():
        read = critic.risk(many, measure).double().reshape(REPEATS, -1).mean(0)
        exact = reward_units(measure, question.law, problem)
        error = (read - exact).abs().mean().item() / max(abs(exact), scale)
        row["risk"][name] = {"read": read.mean().item(), "truth": exact, "error": error}
    return row, (truth, learned, curve)


def reward_units(measure: RiskMeasure, law: Law, problem: Problem) -> float:
    """True risk of a law, taken on standardised returns as critics do (only the entropic measure notices)."""
    mean, std = problem.spec.return_mean, problem.spec.return_std
    return mean + std * measure.of_samples((law(levels(20_000)) - mean) / std).item()


def failures(row: dict[str, Any]) -> list[str]:
    """Names of the figures of a question that miss the mark, nan included."""
    marked = {key: row[key] <= mark for key, mark in MARKS.items() if key != "risk"}
    marked |= {name: risk["error"] <= MARKS["risk"] for name, risk in row["risk"].items()}
    return [key for key, passed in marked.items() if not passed]


def show(report: dict[str, Any]) -> None:
    """Print the report as a table, a column per question; what misses its mark is red and crossed."""
    rows = report["questions"]
    table = Table(title=f"critic={critics.label(report['critic'])} seed={report['seed']}", title_justify="left")
    table.add_column("figure (passes up to)")
    for row in rows:
        table.add_column(row["problem"], justify="right")

    def line(name: str, mark: float | None, key: str, text: Callable[[dict[str, Any]], str]) -> None:
        cells = []
        for row in rows:
            sign = "" if mark is None else " [red]✗[/red]" if key in failures(row) else " [green]✓[/green]"
            cells.append(text(row) + sign)
        table.add_row(name if mark is None else f"{name} ({mark:.0%})", *cells)

    line("updates", None, "", lambda row: str(row["steps"]))
    for key in ("quantile error", "CRPS excess"):
        line(key, MARKS[key], key, lambda row, key=key: f"{row[key]:.1%}")
    line("standard deviation", MARKS["deviation error"], "deviation error", lambda row: f"{row['deviation']:+.1%}")
    for name in rows[0]["risk"]:
        line(f"{name}, learned", None, name, lambda row, name=name: f"{row['risk'][name]['read']:.2f}  ")
        line(f"{name}, true", None, name, lambda row, name=name: f"{row['risk'][name]['truth']:.2f}  ")
        line(f"{name}, error", MARKS["risk"], name, lambda row, name=name: f"{row['risk'][name]['error']:.1%}")
    for key in ("crossing", "calibration"):
        line(key, MARKS[key], key, lambda row, key=key: f"{row[key]:.1%}")
    console = Console(width=max(Console().width, 110))  # a log file keeps the table too
    console.print(table)
    found = len(report["failed"])
    verdict = f"[red]{found} figures miss their mark[/red]" if found else "[green]every figure passes[/green]"
    console.print(f"{verdict}; figure and figures are in [bold]{escape(report['run_dir'])}[/bold]", highlight=False)


def episodes(arguments: list[str]) -> int | None:
    """N of `episodes=N`, or None when there is no argument. Raises InputError for anything else."""
    if not arguments:
        return None
    key, _, value = arguments[0].partition("=")
    if len(arguments) > 1 or key != "episodes" or not value.isdecimal() or int(value) < 1:
        raise InputError(f"after a run folder doctor takes episodes=NUMBER only; got {' '.join(arguments)!r}")
    return int(value)


def command(arguments: list[str]) -> int:
    """`ramac doctor ARGUMENTS`: exit status 1 when a figure misses its mark."""
    if arguments in (["--help"], ["-h"]):
        print(f"ramac doctor RUN [episodes=N]      a run's predicted against its realised returns\n{USAGE}")
        return 0
    if arguments and "=" not in arguments[0]:
        from ramac.evaluation import realised

        realised.show(realised.compare(Path(arguments[0]), episodes(arguments[1:])))
        return 0
    report = examine(arguments)
    show(report)
    return 1 if report["failed"] else 0
