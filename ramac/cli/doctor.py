"""ramac doctor RUN [episodes=N] | critic=NAME [KEY=VALUE...] | task=NAME [run=RUN] | measures: known answers

RUN [episodes=N]          a run's predicted against its realised returns, in the episodes of its evaluation or N
critic=NAME [KEY=VALUE]   a new critic on problems with known answers; settings of critic, risk, trainer,
                          loss.td.aggregation, loss.td.drop, seed, device, run_dir; exit status 1 when it fails
task=NAME [run=RUN]       the best mean and CVaR of a task where they are known, and the regret of a run's policy; also
                          alpha=0.25 task.context=true, and with a run episodes=5000 seed=1 risk.eta=-0.5; a run
                          whose dial is the level of a CVaR plays at alpha
measures                  bias and deviation of every risk measure as each critic reads it, of known laws; as Markdown
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ramac.cli import dial_of, run_of, settings, show_table
from ramac.cli.estimate import miscalibration, predictions, span
from ramac.errors import InputError
from ramac.evaluation.critic_check import failures
from ramac.evaluation.readouts import readouts
from ramac.experiment.calibrate import calibrate, examine
from ramac.experiment.regret import SETTINGS, optima_of, regret_of
from ramac.registry import critics
from ramac.statistics import ENOUGH
from ramac.system.runtime import keep_memory
from ramac.text import say, styled

POLICY = ("run", *SETTINGS)  # settings of doctor task=NAME
WORDS = {"mean": "mean", "nested": "nested CVaR", "static": "static CVaR"}


def main(arguments: list[str]) -> int:
    """Check a run's critic, or a new one; exit status 1 when a figure of a new one misses its mark."""
    if arguments == ["measures"]:
        for index, row in enumerate(readouts()):
            say(f"| {' | '.join(row)} |")
            if index == 0:
                say("|" + "---|" * len(row))
        return 0
    if any(word.startswith(("task=", "run=")) for word in arguments):
        check_policy(arguments)
        return 0
    if arguments and "=" not in arguments[0]:
        words, given = settings(arguments, "doctor", ("episodes",))
        show_run(calibrate(run_of(words, "doctor"), **given))
        return 0
    keep_memory()
    report = examine(arguments)
    show_critic(report)
    return 1 if report["failed"] else 0


def check_policy(arguments: list[str]) -> None:
    """Print what is known of a task, or the regret of a run. Raises InputError."""
    words, given = settings(arguments, "doctor", POLICY)
    if words:
        raise InputError(f"doctor task=NAME takes settings, got {words[0]!r}; a run is named by run={words[0]}")
    runs = [word.partition("=")[2] for word in arguments if word.startswith("run=")]  # text: 010
    given.pop("run", None)
    if runs and not runs[-1]:
        raise InputError("run must be a run folder, got ''")
    if runs:
        show_regret(regret_of(Path(runs[-1]), given))
        return
    if alone := [key for key in given if key in ("episodes", "seed") or key.startswith("risk.")]:
        raise InputError(f"{alone[0]}= goes with run=RUN: without a run no episode is played")
    show_optima(optima_of(given))


def show_optima(report: dict[str, Any]) -> None:
    """Print what the best policy of each objective reaches."""
    columns = ("best policy for", "mean", "grid error", f"CVaR {report['alpha']:g}", "grid error")
    rows = []
    for objective, row in report["optima"].items():
        numbers = (row.get(key) for key in ("mean", "mean_error", "cvar", "cvar_error"))
        rows.append((WORDS[objective], *("" if number is None else f"{number:z.3f}" for number in numbers)))
    show_table(f"task={report['task']}: best mean and CVaR of the whole return", columns, rows)


def show_regret(report: dict[str, Any]) -> None:
    """Print optimum, what the run reached, and the regret."""
    columns = ("objective", "optimum", "grid error", "reached", "95 % interval", "regret")
    title = f"{report['run_dir']}: {report['episodes']} episodes, CVaR at {report['alpha']:g}"
    title += f", played at {dial}" if (dial := dial_of(report)) else ""
    rows = []
    for row in report["rows"]:
        cells = (f"{row[key]:z.3f}" for key in ("optimum", "grid_error", "reached"))
        rows.append((WORDS[row["objective"]], *cells, span(row), f"{row['regret']:z.3f}"))
    show_table(title, columns, rows)
    if report["alpha"] * report["episodes"] < ENOUGH:
        say(f"CVaR rests on {report['alpha'] * report['episodes']:.1f} episodes; more: episodes=5000")
    say(f"numbers: {(file := report['run_dir'] + '/regret.json')}", bold=file)


def show_run(report: dict[str, Any]) -> None:
    """Print predicted against realised returns."""
    count = report["episodes"]
    title = "{run_dir}: discounted return from the first step, {episodes} episodes, gamma {gamma:g}".format(**report)
    title += f", played at {dial}" if (dial := dial_of(report)) else ""
    columns = ("", "predicted", "realised", "95 % interval of realised")
    show_table(title, columns, predictions(report["cvar"]))
    if (worst := min(row["alpha"] for row in report["cvar"])) * count < ENOUGH:
        say(f"CVaR {worst:g} rests on {worst * count:.1f} episodes; more: ramac doctor RUN episodes=1000")
    say(miscalibration(report))
    if (beyond := report["beyond_horizon"]) > 0.01:
        say(f"episodes end at the horizon, predictions do not: {beyond:.0%} of a steady reward is beyond it")
    say(f"figure and numbers: {(files := report['run_dir'] + '/calibration.*')}", bold=files)


def show_critic(report: dict[str, Any]) -> None:
    """Print a table with a column per question; a figure that misses its mark has a red cross."""
    title = f"critic={critics.label(report['critic'])} seed={report['seed']}"
    columns = ("figure (passes up to)", *(row["problem"] for row in report["questions"]))
    show_table(title, columns, figures(report), width=110)  # a log file gets the whole table too
    found, folder = len(report["failed"]), report["run_dir"]
    verdict = f"{found} figures miss their mark" if found else "every figure passes"
    say(f"{verdict}; everything is in {folder}", **{"red" if found else "green": verdict, "bold": folder})


def figures(report: dict[str, Any]) -> Iterator[list[Any]]:
    """Name, mark and values of each figure of the questions."""
    rows, marks = report["questions"], report["marks"]
    failed = [failures(row) for row in rows]

    def judged(name: str, key: str, values: list[str]) -> list[Any]:
        pairs = zip(values, failed, strict=True)
        cells = (styled(f"{x} ✗", "red") if key in missed else styled(f"{x} ✓", "green") for x, missed in pairs)
        return [f"{name} ({marks.get(key, marks['risk']):.0%})", *cells]

    yield ["gradient steps", *(str(row["steps"]) for row in rows)]
    for key in ("quantile error", "CRPS excess"):
        yield judged(key, key, [f"{row[key]:.1%}" for row in rows])
    yield judged("standard deviation", "deviation error", [f"{row['deviation']:+.1%}" for row in rows])
    for name in rows[0]["risk"]:
        read = [row["risk"][name] for row in rows]
        for key, word in (("read", "learned"), ("truth", "true")):
            yield [f"{name}, {word}", *(f"{risk[key]:.2f}  " for risk in read)]
        yield judged(f"{name}, error", name, [f"{risk['error']:.1%}" for risk in read])
    for key in ("crossing", "calibration"):
        yield judged(key, key, [f"{row[key]:.1%}" for row in rows])
