"""ramac eval RUN [KEY=VALUE...]: evaluate a finished run again; the run itself is not changed

risk.alpha=0.1            a value of its dial: a run of risk=cvar 'risk.alpha=[0.05,1]', or of another measure's range
risk.alpha=0.05,0.1,1     the frontier: mean against CVaR at several values, as RUN/frontier.json and frontier.png;
                          beside=RUN,RUN adds runs of one level on the same task, alpha=0.25 is the level of CVaR (0.1)
episodes=500              how many (also evaluation.seed=1 evaluation.environments=10 evaluation.alphas=[0.05,0.1])
task.hazard=none          the standard environment without hazards; or another version, task.horizon=1000
hazard=velocity hazard.high=5                another hazard than the task's
task=hopper-mixed         another task with the same sizes
candidates=16 temperature=0.5 mode=true      another acting rule
step=2000                 a checkpoint kept by evaluation.keep=true instead of the last
seed=1                    other starts and hazard draws than those of the run's own evaluation
video=3                   videos of that many episodes (needs ffmpeg's Python package: pip install 'ramac[video]')
name=LABEL                folder RUN/evaluations/LABEL; by default it lists the settings
"""

from pathlib import Path
from typing import Any

from ramac.cli import dial_of, run_of, show_table, value_of
from ramac.cli._results import result_rows, warn_of_thin_tails
from ramac.experiment.evaluate import evaluate
from ramac.experiment.frontier import asked_for, frontier
from ramac.statistics import thin_tails
from ramac.text import say


def main(arguments: list[str]) -> int:
    """Evaluate a run again. Raises InputError."""
    words = [word for word in arguments if "=" not in word]
    run = run_of(words, "eval")
    pairs = (word.split("=", 1) for word in arguments if "=" in word)
    settings = {key: read(key, value) for key, value in pairs}
    if asked_for(settings):
        show_frontier(frontier(run, settings))
    else:
        show(run, evaluate(run, settings))
    return 0


def read(key: str, text: str) -> Any:
    """The value of a setting; a name is text (010), and so are runs. Raises InputError."""
    if key == "beside":
        return text.split(",")
    several = key.startswith("risk.") and "," in text and not text.startswith("[")
    return text if key == "name" else value_of(key, f"[{text}]" if several else text)


def show_frontier(report: dict[str, Any]) -> None:
    """Print mean and CVaR at each value of a dial, and of the runs beside it."""
    title = "{run_dir}: {episodes} episodes at each value of {dial}".format(**report)
    columns = (report["dial"], "mean", "95 % interval", f"CVaR {report['alpha']:g}", "95 % interval")
    rows = []
    for row in report["rows"]:
        name = f"{row['dial']:g}" if row["dial"] is not None else f"{row['risk']}: {row['run']}"
        ends = ("" if row[f"{key}_low"] is None else span(row, key) for key in ("mean", "cvar"))
        rows.append((name, f"{row['mean']:.2f}", next(ends), f"{row['cvar']:.2f}", next(ends)))
    show_table(title, columns, rows)
    if text := thin_tails(report["episodes"], [report["alpha"]]):
        say(f"ramac: {text}", error=True)
    say(f"figure and numbers: {(files := report['run_dir'] + '/frontier.*')}", bold=files)


def span(row: dict[str, Any], key: str) -> str:
    """An interval as text."""
    return f"{row[f'{key}_low']:.2f} to {row[f'{key}_high']:.2f}"


def show(run: Path, summary: dict[str, Any]) -> None:
    """Print the statistics of an evaluation."""
    others = (f"{key}={value}" for key, value in summary["settings"].items() if not key.startswith("risk."))
    asked = " ".join(filter(None, [dial_of(summary), *others]))
    columns = ("episode return", f"policy ({summary['episodes']} episodes)", "95 % interval")
    score = [("D4RL score", f"{summary['score']:.1f}", "")] if "score" in summary else []
    show_table(f"{run}: {asked or 'again'}", columns, [*result_rows(summary), *score])
    warn_of_thin_tails(summary)
    say(f"everything is in {summary['run_dir']}", bold=summary["run_dir"])
