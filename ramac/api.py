"""The Python API: what the commands do, as functions that return data and leave the process as they found it.

Settings are words of the command line ("actor=flow"), mappings ({"trainer.steps": 20}) or keyword arguments
(trainer={"steps": 20}, loss=["td", "bc"]); later ones win.
"""

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ramac.data import as_log
from ramac.errors import warn
from ramac.experiment.compose import compose
from ramac.experiment.config import flat
from ramac.experiment.grid.folder import GridFolder
from ramac.experiment.grid.status import status
from ramac.experiment.resume import config_to_resume
from ramac.experiment.run import train as train_run
from ramac.experiment.words import text_of
from ramac.experiment.writers.tables import episodes_of
from ramac.system.runtime import restored

if TYPE_CHECKING:
    import pandas as pd

    from ramac.reporting.page import Report

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Result(Mapping[str, Any]):
    """What a call came to: the folder it wrote, its summary (also by `result[key]`), and rows as a DataFrame."""

    folder: Path
    summary: dict[str, Any]
    rows: "pd.DataFrame" = field(repr=False)

    def __getitem__(self, key: str) -> Any:
        return self.summary[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.summary)

    def __len__(self) -> int:
        return len(self.summary)


def leaves_the_process(function: Callable[Arguments, Returned]) -> Callable[Arguments, Returned]:
    """The function with `ramac.system.runtime.restored` around it."""

    @wraps(function)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned:
        with restored():
            return function(*args, **kwargs)

    return wrapped


def words_of(words: Sequence[str | Mapping[str, Any]], settings: Mapping[str, Any]) -> list[str]:
    """Words of the command line for words, mappings and keyword arguments."""
    found = []
    for part in (*words, settings):
        found += [part] if isinstance(part, str) else [f"{key}={text_of(value)}" for key, value in flat(part).items()]
    return found


def frame(rows: Sequence[Mapping[str, Any]]) -> "pd.DataFrame":
    """Rows as a DataFrame."""
    import pandas as pd  # half a second, which a program without results need not wait for

    return pd.DataFrame(list(rows))


def result_of(summaries: list[dict[str, Any]]) -> Result:
    """Result of a run, or of several seeds, with `runs` in the first one's summary. Rows: evaluation episodes."""
    import pandas as pd

    for summary in summaries:
        if "failure" in summary:
            warn(f"{summary['run_dir']}: {summary['failure']['reason']}; its summary has no returns")
    folders = [Path(summary["run_dir"]) for summary in summaries]
    tables = [episodes_of(folder) for folder in folders]
    if len(summaries) == 1:
        return Result(folders[0], summaries[0], tables[0])
    rows = pd.concat([table.assign(seed=one["seed"]) for table, one in zip(tables, summaries, strict=True)])
    return Result(folders[0], {**summaries[0], "runs": summaries}, rows)


@leaves_the_process
def train(
    *words: str | Mapping[str, Any], data: Any = None, columns: Mapping[str, Any] | None = None, quiet: bool = False,
    **settings: Any,
) -> Result:  # fmt: skip
    """Train and evaluate a run: `train("actor=flow", "risk=cvar0.1")`, `train(actor="flow", trainer={"steps": 20})`.

    An interrupted run in `run_dir` is resumed. With `seeds=N` the summaries of all seeds are in `result["runs"]`.
    `data`: a place, or whatever `ramac.data.as_log` takes (arrays, a frame, episodes, a Log), for a task such as
    `task=gymnasium task.environment=Hopper-v5`. `columns`: names of its columns by role, `{"actions": ["u"]}`.
    Raises as `ramac.experiment.run.train`.
    """
    named: dict[str, Any] = {"columns": dict(columns)} if columns else {}
    if data is None or isinstance(data, str | PathLike):
        log, named = None, named | ({} if data is None else {"data": str(data)})
    else:
        log, named = as_log(data, columns), {}
    return result_of(train_run(compose(words_of(words, settings | named)), log, quiet))


@leaves_the_process
def resume(run: str | Path, *, quiet: bool = False, **settings: Any) -> Result:
    """Resume an interrupted run; `threads`, `device`, `save_every` and `save_last` may change.

    `data`: where its data are now; `task={"horizon": STEPS}` cuts evaluation episodes. Raises InputError.
    """
    return result_of(train_run(config_to_resume(run, settings), None, quiet))


@leaves_the_process
def evaluate(run: str | Path, *, quiet: bool = False, **settings: Any) -> Result:
    """Evaluate a finished run again: `evaluate(RUN, episodes=200, task={"hazard": "none"})`; rows are its episodes.

    The settings are those of `ramac eval`; of several values of a dial, `risk={"alpha": [0.05, 0.1]}`, rows are the
    points of the frontier. Raises InputError before anything is written.
    """
    from ramac.experiment.evaluate import evaluate as evaluate_run
    from ramac.experiment.frontier import asked_for, frontier

    if asked_for(asked := flat(settings)):
        return Result(Path(run), found := frontier(Path(run), asked), frame(found["rows"]))
    summary = evaluate_run(Path(run), asked)
    folder = Path(summary["run_dir"])
    return Result(folder, summary, episodes_of(folder))


@leaves_the_process
def estimate(
    run: str | Path, *, seed: int | None = None, steps: int | None = None, fits: int | None = None,
    data: str | None = None, quiet: bool = False,
) -> Result:  # fmt: skip
    """Off-policy evaluation of a run by logged data alone; rows are mean and CVaR of the policy and the behaviour.

    Where episodes are short, rows of `importance` are those of the policy by importance weighting.
    `data`: where the run's data are now. Raises InputError when the folder cannot be used, FloatingPointError when a
    fit diverges.
    """
    from ramac.experiment.estimate import of_run

    found = of_run(Path(run), seed, steps, fits, quiet, data)
    parts = ("policy", "behaviour", "importance")
    rows = [{"of": who, **row} for who in parts for row in found[who].get("cvar", ())]
    return Result(Path(run), found, frame(rows))


@leaves_the_process
def check_critic(
    run: str | Path | None = None, *words: str | Mapping[str, Any], quiet: bool = False, **settings: Any
) -> Result:
    """Does a critic know return distributions? `check_critic(critic="iqn")`: fits on problems with known answers.

    `check_critic(RUN, episodes=500)`: what a run's critic predicted against what its episodes returned. Rows are the
    problems' questions, or mean and CVaR.
    """
    from ramac.experiment.calibrate import calibrate, examine

    if run is not None and "=" not in str(run):
        found = calibrate(Path(run), **settings)
        return Result(Path(run), found, frame(found["cvar"]))
    found = examine(words_of([*([] if run is None else [str(run)]), *words], settings), quiet)
    return Result(Path(found["run_dir"]), found, frame(found["questions"]))


@leaves_the_process
def check_policy(run: str | Path, **settings: Any) -> Result:
    """The regret of a run's policy where the best one is known: `check_policy(RUN, alpha=0.1, episodes=5000)`.

    Settings: alpha, episodes, seed, arguments of the task. Rows are the objectives. Raises InputError.
    """
    from ramac.experiment.regret import regret_of

    found = regret_of(Path(run), flat(settings))
    return Result(Path(run), found, frame(found["rows"]))


@leaves_the_process
def report(
    *paths: str | Path, by: Sequence[str] = (), baseline: str = "", alpha: float = 0.1, out: str | Path | None = None,
    quiet: bool = False,
) -> "Report":  # fmt: skip
    """Compare runs on one page with tables and figures. Returns `folder`, `tables` (DataFrames) and `warnings`."""
    from ramac.reporting import report as write  # matplotlib and pandas

    return write([str(path) for path in paths], by, baseline, alpha, None if out is None else Path(out), quiet)


@leaves_the_process
def export(run: str | Path, target: str | Path, **settings: Any) -> dict[str, Any]:
    """Write a policy to one file: `export(RUN, "policy.onnx")`, also `.pt2`, `deterministic=True`, `candidates=16`.

    The settings are those of `ramac export`. Returns what was measured: `parity` and `latency_ms` by batch size, the
    width of `noise`, and `bytes`. Raises InputError before anything is written.
    """
    from ramac.deploy.export import export as write  # torch.export takes a second to import

    return write(run, target, settings)


@leaves_the_process
def pack(run: str | Path, out: str | Path) -> Path:
    """Write a finished run's policy, with a model card, to the new folder `out`. Raises InputError."""
    from ramac.deploy.pack import pack as write

    return write(run, out)


@leaves_the_process
def sweep(*words: str | Mapping[str, Any], quiet: bool = False, **settings: Any) -> Result:
    """Run every combination: `sweep(actor=["flow", "gaussian"], seed=[0, 1], grid_dir="mine")`, as `ramac -m` does.

    A list in a keyword argument holds the values that are swept (of a setting that is a list, lists); a mapping fixes
    settings of all runs. Only missing runs are run. Rows: the runs, their state, reason of a failure, and the summary's
    numbers.
    """
    from ramac.cli.grid import FOLDERS
    from ramac.cli.train import with_hydra

    def swept(value: Any) -> str:
        return ",".join(map(text_of, value)) if isinstance(value, list | tuple) else text_of(value)

    given = [*words_of(words, {}), *(f"{key}={swept(value)}" for key, value in flat(settings).items())]
    with contextlib.ExitStack() as stack:
        if quiet:  # Hydra and the lines of a sweep; tables and bars of a notebook are displayed past these streams
            stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        stack.enter_context(contextlib.suppress(SystemExit))  # some runs failed: the rows say which
        with_hydra(["--multirun"], given, quiet)
    grid = GridFolder(FOLDERS.pop())
    rows = []
    for row in status(grid):
        summary = grid.run(row.cell).summary if row.state == "done" else {}
        numbers = {key: value for key, value in summary.items() if isinstance(value, int | float | str)}
        rows.append({"run": row.cell.name, "state": row.state, "reason": row.reason, **numbers})
    return Result(grid.path, {"runs": len(rows)}, frame(rows))
