"""ramac doctor RUN [episodes=N] | critic=NAME [KEY=VALUE...] | measures: does a critic know return distributions?

RUN [episodes=N]          a run's predicted against its realised returns, in the episodes of its evaluation or N
critic=NAME [KEY=VALUE]   a new critic on problems with known answers; settings of critic, risk, trainer,
                          loss.td.aggregation, loss.td.drop, seed, device, run_dir; exit status 1 when it fails
measures                  bias and deviation of every risk measure as each critic reads it, of known laws; as Markdown
"""

from collections.abc import Iterator
from typing import Any

from ramac.cli import run_of, settings, show_table
from ramac.cli.estimate import miscalibration, predictions
from ramac.evaluation.critic_check import failures
from ramac.evaluation.readouts import readouts
from ramac.experiment.calibrate import calibrate, examine
from ramac.registry import critics
from ramac.statistics import ENOUGH
from ramac.system.runtime import keep_memory
from ramac.text import say, styled


def main(arguments: list[str]) -> int:
    """Check a run's critic, or a new one; exit status 1 when a figure of a new one misses its mark."""
    if arguments == ["measures"]:
        for index, row in enumerate(readouts()):
            say(f"| {' | '.join(row)} |")
            if index == 0:
                say("|" + "---|" * len(row))
        return 0
    if arguments and "=" not in arguments[0]:
        words, given = settings(arguments, "doctor", ("episodes",))
        show_run(calibrate(run_of(words, "doctor"), **given))
        return 0
    keep_memory()
    report = examine(arguments)
    show_critic(report)
    return 1 if report["failed"] else 0


def show_run(report: dict[str, Any]) -> None:
    """Print predicted against realised returns."""
    count = report["episodes"]
    title = "{run_dir}: discounted return from the first step, {episodes} episodes, gamma {gamma:g}".format(**report)
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
