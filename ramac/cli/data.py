"""`ramac data list | show | build | check`: what data there are, what is in them, and whether they can be used."""

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ramac.data import Log
from ramac.data.check import findings, misfits
from ramac.data.sources import ID, load, on_disk
from ramac.data.storage import exists
from ramac.data.storage import place as place_of
from ramac.environments import make
from ramac.errors import InputError, nearest
from ramac.registry import tasks
from ramac.tasks import LoggedTask, Task, configured
from ramac.tasks.mujoco import MuJoCoTask

USAGE = """ramac data: the logged data of tasks, and your own

  ramac data list                              tasks whose data we can build, and Minari datasets on disk
  ramac data show TASK|ID|FILE [SETTINGS]      episodes, returns, tail, hazards, size
  ramac data build TASK... [SETTINGS]          collect the tasks' data, e.g. transitions=1000000
  ramac data check ID|FILE [environment=ID]    shapes, numbers, ends of episodes, duplicates; status 1 on an error

SETTINGS are the task's (transitions=N horizon=N hazard=none ...), written without task."""
OWN = re.compile(r"ramac/(\w+)/([\w-]+?)-(\d+)-v\d+")
OTHER_GROUPS = re.compile(r"data=|hazard\.|hazard=(?!(v\d|\w+-v\d|none)$)")  # settings that are not the task's
MB = 1e6


def command(arguments: list[str]) -> int:
    """Run `ramac data ARGUMENTS`; returns the exit status. Raises InputError for what cannot be done."""
    words = [word for word in arguments if "=" not in word or Path(word).exists()]
    settings = [word for word in arguments if word not in words]
    actions = {"list": show_list, "show": show, "build": build, "check": check}
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0
    name, *rest = words
    if name not in actions:
        raise InputError(f"no command 'data {name}'; choose from {', '.join(actions)}{nearest(name, actions)}")
    if name == "list" and (rest or settings):
        raise InputError("data list takes no arguments")
    if name in ("show", "check") and len(rest) != 1:
        raise InputError(
            f"data {name} needs one {'task, ' if name == 'show' else ''}Minari id or file, got {len(rest)}"
        )
    if name == "build" and not rest:
        raise InputError(f"data build needs a task; choose from {', '.join(own_tasks())}")
    return actions[name](rest, settings)


def own_tasks() -> list[str]:
    """Names of the tasks whose data can be built here."""
    return [name for name, entry in tasks.items() if issubclass(entry, MuJoCoTask)]


def task_of(name: str, settings: list[str]) -> Task:
    """The task with its settings, as a run would build it. Raises InputError."""
    from ramac.cli import compose

    prefixed = [word if OTHER_GROUPS.match(word) else f"task.{word}" for word in settings]
    return configured(compose([f"task={name}", *prefixed]))


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return path.stat().st_size if path.is_file() else sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def show_list(_: list[str], __: list[str]) -> int:
    """Print what can be built and what is on disk."""
    import minari

    local, console = minari.list_local_datasets(), Console()
    table = Table(title=f"Minari datasets in {escape(str(place_of()))}", title_justify="left")
    for column in ("id", "environment", "episodes", "steps", "MB"):
        table.add_column(column, justify="left" if column in ("id", "environment") else "right", overflow="fold")
    for name, metadata in local.items():
        environment = re.search(r'"id": "([^"]+)"', str(metadata.get("env_spec", "")))
        counts = (str(metadata.get(key, "")) for key in ("total_episodes", "total_steps"))
        table.add_row(name, environment[1] if environment else "", *counts, f"{size(place_of(name)) / MB:.0f}")
    console.print(table if local else f"no Minari datasets in {escape(str(place_of()))}")
    table = Table(title="tasks that build their own data (not D4RL)", title_justify="left")
    for column in ("task", "behaviour policies", "of 100 000 steps"):
        table.add_column(column, overflow="fold")
    for name in own_tasks():
        task: MuJoCoTask = tasks.build(name)
        table.add_row(name, str(len(task.behaviour)), "on disk" if exists(task.dataset_id) else "not built")
    console.print(table)
    console.print(
        "build one: ramac data build TASK; public data: data=ID downloads it, e.g. data=mujoco/hopper/expert-v0",
        highlight=False,
    )
    return 0


def build(names: list[str], settings: list[str]) -> int:
    """Collect the data of the named tasks."""
    chosen: list[MuJoCoTask] = []
    for name in names:
        task = task_of(name, settings)
        if not isinstance(task, MuJoCoTask):
            raise InputError(f"task={name} has no data to build; choose from {', '.join(own_tasks())}")
        chosen.append(task)
    for task in chosen:
        there = exists(task.dataset_id)
        print(f"{task.dataset_id}: {'already there' if there else 'built'}, {task.build()}")
    return 0


def show(names: list[str], settings: list[str]) -> int:
    """Print what a task's data, a Minari dataset or a file holds."""
    (name,), console = names, Console()
    if match := OWN.fullmatch(name):
        task_name = f"{match[1]}-{match[2]}"
        if task_name in tasks and exists(name):
            name, settings = task_name, [f"transitions={match[3]}", *settings]
    if name in tasks:
        task = task_of(name, settings)
        own = task.dataset_id if isinstance(task, MuJoCoTask) and task.source is None else None
        if own and not exists(own):
            raise InputError(f"{own} is not built yet: ramac data build {' '.join([name, *settings])}")
        data = task.dataset()
        log, horizon = data.log, getattr(task, "horizon", None)
        place = place_of(own) if own else None
        score = task.score if isinstance(task, LoggedTask) else None
        title = data.origin
    else:
        if not Path(name).exists() and not ID.fullmatch(name) and "+" not in name:
            raise InputError(f"{name!r} is no task, no Minari id and no file{nearest(name, [*tasks, *on_disk()])}")
        if settings:
            raise InputError(f"{settings[0]!r} goes with a task; choose from {', '.join(own_tasks())}")
        log, horizon, score, title = load(name), None, None, name
        place = Path(name) if Path(name).exists() else place_of(name) if exists(name) else None
    console.print(table_of(describe(log, horizon, score), title, place))
    console.print(histogram(log.returns(horizon)), highlight=False)
    return 0


def describe(log: Log, horizon: int | None, score: Any = None) -> dict[str, Any]:
    """Figures of a log: sizes, returns over `horizon` steps with hazards, their tail, and the clean whole returns."""
    from ramac.statistics import tails

    returns, lengths = log.returns(horizon), log.stop - log.start
    figures = {
        "episodes": len(returns), "steps": len(log.reward), "horizon": horizon,
        "length_mean": float(lengths.mean()), "length_min": int(lengths.min()), "length_max": int(lengths.max()),
        "terminal": int(log.terminated.sum()),
        "return_mean": float(returns.mean()), "return_std": float(returns.std()),
        "return_min": float(returns.min()), "return_max": float(returns.max()),
        "return_cvar": tails(returns, (0.05, 0.1, 0.25)),
    }  # fmt: skip
    if log.clean_reward is not None and log.risky is not None and log.penalty is not None:
        total = np.add.reduceat(log.clean_reward.astype(np.float64), log.start)
        figures["hazard_rate"], figures["penalties"] = float(log.risky.mean()), int((log.penalty != 0).sum())
        figures["clean_return_mean"] = float(total.mean())
        figures["clean_score"] = None if score is None else score(float(total.mean()))
    return figures


def table_of(figures: dict[str, Any], title: str, place: Path | None) -> Table:
    """The figures of `describe` as a table."""
    table = Table(title=escape(title), title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    table.add_row("episodes", "{episodes}, {terminal} end in a terminal state".format(**figures))
    table.add_row("episode length", "{length_mean:.0f} steps ({length_min} to {length_max})".format(**figures))
    over = "whole episode" if figures["horizon"] is None else f"first {figures['horizon']} steps"
    hazards = ", hazards included" if "hazard_rate" in figures else ""
    table.add_row(f"return ({over}{hazards})", "{return_mean:.1f}, sd {return_std:.1f}".format(**figures))
    for alpha, value in figures["return_cvar"].items():
        table.add_row(f"CVaR {alpha}", f"{value:.1f}")
    table.add_row("worst to best", "{return_min:.1f} to {return_max:.1f}".format(**figures))
    if "hazard_rate" in figures:
        table.add_row("risky steps", "{hazard_rate:.1%}, {penalties} penalties".format(**figures))
        score = figures["clean_score"]
        shown = "" if score is None else f", D4RL score {score:.1f}"
        table.add_row("clean return (whole episode)", f"{figures['clean_return_mean']:.1f}{shown}")
    if place is not None:
        table.add_row("size", f"{figures['steps']} steps, {size(place) / MB:.1f} MB in {escape(str(place))}")
    return table


def histogram(returns: np.ndarray, bins: int = 12, width: int = 50) -> str:
    """Episodes per interval of the return, one line each, the worst first."""
    counts, edges = np.histogram(returns, bins)
    marks = [f"{left:>9.0f} to {right:>7.0f}" for left, right in itertools.pairwise(edges)]
    bars = ["█" * round(width * count / counts.max()) or ("▏" if count else "") for count in counts]
    lines = [f"{mark} {bar} {count}" for mark, bar, count in zip(marks, bars, counts, strict=True)]
    return "\n".join(["return of an episode, and how many episodes", *lines])


def check(names: list[str], settings: list[str]) -> int:
    """Print one line per finding; 1 when the data cannot be learned from."""
    environment = None
    for setting in settings:
        key, _, environment = setting.partition("=")
        if key != "environment":
            raise InputError(f"data check has no setting {key!r}; choose from environment")
    log = load(names[0])
    judge, size_of_action = environment or log.environment, log.action.shape[1]
    low, high = np.full(size_of_action, -1.0), np.full(size_of_action, 1.0)
    if judge:
        env = make(judge)
        if wrong := list(misfits(log, env)):
            print("\n".join(f"error    this dataset {text}" for text in wrong))
            return 1
        assert isinstance(env.action_space, Box)
        low, high = env.action_space.low, env.action_space.high
    found = list(findings(log, low, high))
    if not judge:
        print("the box of actions is taken to be [-1, 1]; environment=ID names another")
    for finding in found:
        print(f"{finding.level:<8} {finding.text}")
    return int(any(finding.level == "error" for finding in found))
