"""ramac eval RUN [KEY=VALUE...]: evaluate a finished run again; the run itself is not changed

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

from ramac.cli import run_of, show_table, value_of
from ramac.cli.train import result_rows, warn_of_thin_tails
from ramac.experiment.evaluate import evaluate
from ramac.text import say


def main(arguments: list[str]) -> int:
    """Evaluate a run again. Raises InputError."""
    words = [word for word in arguments if "=" not in word]
    run = run_of(words, "eval")
    pairs = (word.split("=", 1) for word in arguments if "=" in word)
    settings = {key: value if key == "name" else value_of(key, value) for key, value in pairs}  # a name is text: 010
    show(run, evaluate(run, settings))
    return 0


def show(run: Path, summary: dict[str, Any]) -> None:
    """Print the statistics of an evaluation."""
    asked = " ".join(f"{key}={value}" for key, value in summary["settings"].items())
    columns = ("episode return", f"policy ({summary['episodes']} episodes)", "95 % interval")
    score = [("D4RL score", f"{summary['score']:.1f}", "")] if "score" in summary else []
    show_table(f"{run}: {asked or 'again'}", columns, [*result_rows(summary), *score])
    warn_of_thin_tails(summary)
    say(f"everything is in {summary['run_dir']}", bold=summary["run_dir"])
