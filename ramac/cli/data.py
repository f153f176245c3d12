"""ramac data list|show|build|check|convert: the logged data of tasks, and your own

  ramac data list                              tasks whose data we can build, and Minari datasets on disk
  ramac data show TASK|ID|FILE [SETTINGS]      episodes, returns, tail, hazards, size
  ramac data build TASK... [SETTINGS]          collect the tasks' data, e.g. transitions=1000000
  ramac data check ID|FILE [environment=ID]    shapes, numbers, ends of episodes, duplicates; status 1 on an error
  ramac data convert FILE ID [environment=ID]  write a Minari dataset of your own, such as mine/logs-v0

SETTINGS are the task's (transitions=N horizon=N hazard=none ...), written without task. Columns of a FILE or folder are
named by columns.ROLE=NAME, as in a run: columns.actions=[u].
"""

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from ramac import cli
from ramac.data import Log
from ramac.data.check import findings, misfits, shortened
from ramac.data.describe import describe
from ramac.data.sources import choose, load, parts
from ramac.data.sources.minari import ID, on_disk
from ramac.data.spaces import as_vectors
from ramac.data.storage import exists, place
from ramac.environments import made
from ramac.errors import InputError, nearest
from ramac.registry import tasks
from ramac.tasks import Task, configured
from ramac.text import say

OWN = re.compile(r"ramac/(\w+)/([\w-]+?)-(\d+)-v\d+")
OTHER_GROUPS = re.compile(r"data=|hazard\.|hazard=(?!(v\d|\w+-v\d|none)$)")  # settings that are not the task's
SETTING = re.compile(r"[\w.]+=")
COLUMNS = re.compile(r"(data\.)?columns\.\w+=")
Shown = tuple[Log, str, Path | None, Task | None]  # what `data show` prints: the data, a title, their place, their task


def main(arguments: list[str]) -> int:
    """Run `ramac data ARGUMENTS`; returns the exit status. Raises InputError."""
    settings = [word for word in arguments if SETTING.match(word) and not is_place(word)]
    words = [word for word in arguments if word not in settings]
    if not words:
        say(*(__doc__ or "").splitlines())
        return 0
    actions = {"list": show_list, "show": show, "build": build, "check": check, "convert": convert}
    name, *names = words
    if name not in actions:
        raise InputError(f"no command 'data {name}'; choose from {', '.join(actions)}{nearest(name, actions)}")
    if name == "list" and (names or settings):
        raise InputError("data list takes no arguments")
    if name in ("show", "check") and len(names) != 1:
        what = "task, Minari id or file" if name == "show" else "Minari id or file"
        raise InputError(f"data {name} needs one {what}, got {len(names)}")
    if name == "convert" and len(names) != 2:
        raise InputError(f"data convert needs data and a new id, got {len(names)}: data convert FILE mine/logs-v0")
    if name == "build" and not names:
        raise InputError(f"data build needs a task; choose from {', '.join(buildable())}")
    return actions[name](names, settings)


def is_place(word: str) -> bool:
    """Whether data lie there, whatever signs the name has: a path, `NAME:PATH`, or several joined by `+`."""
    try:
        return all(ID.fullmatch(part) or os.path.exists(os.path.expanduser(choose(part)[1])) for part in parts(word))
    except InputError:  # an existing file that none reads, which is refused in words of its own
        return True


def buildable() -> list[str]:
    """Names of the tasks whose data can be built here."""
    return [name for name, entry in tasks.items() if entry.builds_data]


def task_of(name: str, settings: list[str]) -> Task:
    """The task with its settings, as a run would build it. Raises InputError."""
    from ramac.experiment.compose import compose

    words = [f"task={name}", *(w if OTHER_GROUPS.match(w) else f"task.{w}" for w in settings)]
    return configured(compose(words).plain)


def size(path: Path) -> str:
    """MB of a file, or of all files in a folder."""
    return f"{sum(file.stat().st_size for file in (path, *path.rglob('*')) if file.is_file()) / 1e6:.1f}"


def show_list(_: list[str], __: list[str]) -> int:
    """Print what can be built and what is on disk."""
    rows = []
    for name, about in on_disk():
        if isinstance(about, InputError):
            say(f"left out: {name}: {about}", error=True)
            continue
        environment = re.search(r'"id": "([^"]+)"', str(about.get("env_spec", "")))
        counts = about.get("total_episodes", ""), about.get("total_steps", "")
        rows.append((name, environment[1] if environment else "", *counts, size(place(name))))
    title, columns = f"Minari datasets in {place()}", ("id", "environment", "episodes", "steps", "MB")
    if rows:
        cli.show_table(title, columns, rows)
    else:
        say(f"no {title}")
    states = ((name, "on disk" if exists(tasks.build(name).dataset_id) else "not built") for name in buildable())
    cli.show_table("tasks that build their own data (not D4RL)", ("task", "data"), states)
    say("build one: ramac data build TASK; public data: data=ID downloads it, e.g. data=mujoco/hopper/expert-v0")
    return 0


def build(names: list[str], settings: list[str]) -> int:
    """Collect the data of the named tasks, once all of them are known to be right."""
    chosen = [task_of(name, settings) for name in names]
    for name, task in zip(names, chosen, strict=True):
        if not task.builds_data:
            raise InputError(f"task={name} has no data to build; choose from {', '.join(buildable())}")
    for task in chosen:
        there = task.dataset_id is not None and exists(task.dataset_id)
        say(f"{task.dataset_id}: {'already there' if there else 'built'}, {task.build()}")
    return 0


def show(names: list[str], settings: list[str]) -> int:
    """Print what a task's data, a Minari dataset or a file holds."""
    (name,) = names
    if (match := OWN.fullmatch(name)) and (task := f"{match[1]}-{match[2]}") in tasks and exists(name):
        name, settings = task, [f"transitions={match[3]}", *settings]
    log, title, path, task = of_task(name, settings) if name in tasks else of_source(name, settings)
    horizon = task.horizon if task else None
    rows = described(log, describe(log, horizon), path, task)
    cli.show_table(title, ("", ""), rows, others="left", show_header=False)
    say(*histogram(log.returns(horizon)).splitlines())
    return 0


def of_task(name: str, settings: list[str]) -> Shown:
    """The data of a task, which are not built for this. Raises InputError."""
    task = task_of(name, settings)
    own = task.dataset_id if task.source is None else None
    if own and not exists(own):
        raise InputError(f"{own} is not built yet: ramac data build {' '.join([name, *settings])}")
    data = task.dataset()
    return data.log, data.origin, place(own) if own else None, task


def of_source(name: str, settings: list[str]) -> Shown:
    """A Minari dataset, a file, or what else `data=` takes. Raises InputError."""
    path = (
        Path(full) if os.path.exists(full := os.path.expanduser(name)) else place(name) if ID.fullmatch(name) else None
    )
    if not path and not set("+:") & set(name):
        raise InputError(f"{name!r} is no task, no Minari id and no file{nearest(name, [*tasks, *dict(on_disk())])}")
    if other := [word for word in settings if not COLUMNS.match(word)]:
        raise InputError(f"{other[0]!r} goes with a task; choose from {', '.join(buildable())}")
    return load(name, columns_of(settings)[0]), name, path, None


def columns_of(settings: list[str]) -> tuple[dict[str, Any] | None, list[str]]:
    """Names of columns by role, and the other settings. Raises InputError."""
    pairs = [word.partition("=") for word in settings if COLUMNS.match(word)]
    named = {key.rpartition(".")[2]: cli.value_of(key, value) for key, _, value in pairs}
    return named or None, [word for word in settings if not COLUMNS.match(word)]


def described(log: Log, found: dict[str, Any], path: Path | None, task: Task | None) -> Iterator[tuple[str, str]]:
    """Rows of the table: the statistics of `describe`, and where the data lie."""
    yield "episodes", "{episodes}, {terminal} end in a terminal state".format(**found)
    yield "episode length", "{length_mean:.0f} steps ({length_min} to {length_max})".format(**found)
    over = "whole episode" if found["horizon"] is None else f"first {found['horizon']} steps"
    hazards = ", hazards included" if "hazard_rate" in found else ""
    yield f"return ({over}{hazards})", "{return_mean:.1f}, sd {return_std:.1f}".format(**found)
    for alpha, value in found["return_cvar"].items():
        yield f"CVaR {alpha}", f"{value:.1f}"
    yield "worst to best", "{return_min:.1f} to {return_max:.1f}".format(**found)
    if "hazard_rate" in found:
        yield "risky steps", "{hazard_rate:.1%}, {penalties} penalties".format(**found)
        score = task.score(found["clean_return_mean"]) if task else None
        with_score = "" if score is None else f", D4RL score {score:.1f}"
        yield "clean return (whole episode)", f"{found['clean_return_mean']:.1f}{with_score}"
    yield from origins(log)
    if path:
        yield "size", f"{found['steps']} steps, {size(path)} MB in {path}"


def origins(log: Log) -> Iterator[tuple[str, str]]:
    """Rows of the table: names of the observation's numbers, and the environments that the data name."""
    if log.names:
        yield "observation", shortened(log.names)
    if log.environment:
        yield "collected in", log.environment.id
    if log.evaluation_environment:
        yield "judged in", log.evaluation_environment.id


def histogram(returns: np.ndarray, bins: int = 12, width: int = 50) -> str:
    """Episodes per interval of the return, one line each, the worst first."""
    if not np.isfinite(returns).all():  # rewards so large that their sum overflows
        return f"{(~np.isfinite(returns)).sum()} of {len(returns)} returns are non-finite"
    counts, edges = np.histogram(returns, bins)
    lines = ["return of an episode, and how many episodes"]
    for count, (left, right) in zip(counts, itertools.pairwise(edges), strict=True):
        bar = "█" * round(width * count / counts.max()) or ("▏" if count else "")
        lines.append(f"{left:>9.0f} to {right:>7.0f} {bar} {count}")
    return "\n".join(lines)


def check(names: list[str], settings: list[str]) -> int:
    """Print one line per finding; 1 when the data cannot be learned from."""
    columns, others = columns_of(settings)
    _, given = cli.settings(others, "data check", ["environment", "columns."])
    log = load(names[0], columns)
    if judge := given.get("environment") or log.judge:
        with made(judge) as plain:
            env = as_vectors(plain, log.parts)
            wrong = list(misfits(log, env))
        if wrong:
            say(*(f"error    this dataset {text}" for text in wrong))
            return 1
        assert isinstance(env.action_space, Box)  # otherwise a misfit
        low, high = env.action_space.low, env.action_space.high
    else:
        say("the box of actions is taken to be [-1, 1]; environment=ID names another")
        high = np.ones(log.action.shape[1])
        low = -high
    found = list(findings(log, low, high))
    for finding in found:
        say(f"{finding.level:<8} {finding.text}")
    return int(any(finding.level == "error" for finding in found))


def convert(names: list[str], settings: list[str]) -> int:
    """Write what `data=` takes as a Minari dataset."""
    from ramac.data.convert import convert as write  # imports minari
    from ramac.data.convert import refuse_id

    origin, dataset_id = names
    columns, others = columns_of(settings)
    _, given = cli.settings(others, "data convert", ["environment", "columns."])
    refuse_id(dataset_id)  # before the data are read
    log = load(origin, columns)
    folder = write(log, dataset_id, origin, given.get("environment"))
    say(f"{dataset_id}: {len(log.reward)} steps in {len(log.start)} episodes, {folder}; use it by data={dataset_id}")
    return 0
