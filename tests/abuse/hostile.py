"""A corpus of hostile contents of run folders and sweeps, by file, and everything that reads such a folder.

`python -m tests.abuse.hostile` tries each content in a process of its own and counts outcomes.
"""

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ramac.deploy.card import card
from ramac.errors import InputError
from ramac.experiment.folder import RunFolder
from ramac.experiment.grid.folder import GridFolder
from ramac.experiment.grid.status import remaining, status
from ramac.experiment.resume import config_to_resume
from ramac.experiment.writers.tables import read_episodes, read_metrics
from ramac.reporting import tables
from ramac.reporting.groups import chosen_keys, make_groups
from ramac.reporting.runs import gather
from trials.hostile import CONFIG, write_run

Spoil = Callable[[Path], Any]  # makes a file hostile

SUMMARY: dict[str, Any] = {
    "task": "bandit", "actor": "flow2", "critic": "qr", "risk": "cvar0.1", "loss": ["td", "bc"], "seed": 0, "steps": 2,
    "device": "cpu", "checkpoint": {"step": 2, "rule": "last"}, "episodes": 2, "return_mean": 1.5, "return_std": 0.5,
    "return_cvar": {"0.05": 1.0, "0.1": 1.0, "0.25": 1.0}, "intervals": {"mean": [1.0, 2.0], "0.1": [1.0, 2.0]},
    "behaviour": {"episodes": 3, "return_mean": 1.0, "return_cvar": {"0.1": 0.5}},
    "evaluations_per_update": {"actor": 5.0, "critic": 2.0}, "threads": 1, "host": "h", "updates_per_second": 3.0,
    "wall_seconds": 2.0,
}  # fmt: skip
PIT = {"levels": [0.0, 0.5, 1.0], "fractions": [0.0, 0.5, 1.0]}
CALIBRATION: dict[str, Any] = {
    "run_dir": "run", "episodes": 2, "gamma": 0.0, "miscalibration": 0.1, "miscalibration_of_chance": 0.2,
    "cvar": [{"alpha": 1.0, "predicted": 1.0, "realised": 1.5, "low": 1.0, "high": 2.0},
             {"alpha": 0.1, "predicted": 1.0, "realised": 1.0, "low": 0.5, "high": 2.0}], "pit": PIT,
}  # fmt: skip
GRID: dict[str, Any] = {"cells": [{"overrides": ["seed=0"], "cell": "run"}, {"overrides": ["seed=1"], "cell": "two"}]}
FILES: dict[str, str] = {
    "config.yaml": CONFIG + "gamma: 0\nlogger: {csv: {name: csv}}\nobjective: null\n",
    "summary.json": json.dumps(SUMMARY),
    "episodes.csv": "step,episode,return,length,risky_steps,penalties\n2,0,1.0,1,0,0\n2,1,2.0,1,0,0\n",
    "metrics.csv": "step,name,value\n1,loss_td,0.5\n2,loss_td,0.25\n",
    "calibration.json": json.dumps(CALIBRATION),
}
BIG = 10**400


def text(content: str | bytes) -> Spoil:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def put(*keys: Any) -> Spoil:
    """Set a value in a JSON file."""

    def change(path: Path) -> None:
        whole = content = json.loads(path.read_text())
        *way, last, value = keys
        for key in way:
            content = content[key]
        content[last] = value
        path.write_text(json.dumps(whole))

    return change


def setting(line: str) -> Spoil:
    """Replace a setting of config.yaml."""
    key = line.partition(":")[0]

    def change(path: Path) -> None:
        kept = [old for old in path.read_text().splitlines() if not old.startswith(f"{key}:")]
        path.write_text("\n".join([*kept, line]) + "\n")

    return change


def linked(target: str) -> Spoil:
    return lambda path: path.symlink_to(target)


def moved_out(path: Path) -> None:
    """A link to the sound content, outside of the folder."""
    path.symlink_to(outside := path.parent.parent / f"outside-{path.name}")
    outside.write_text(FILES.get(path.name, json.dumps(GRID)))


def listening(path: Path) -> None:
    before = os.getcwd()
    os.chdir(path.parent)  # the path of a socket has at most 107 bytes
    socket.socket(socket.AF_UNIX).bind(path.name)
    os.chdir(before)


KINDS: dict[str, Spoil] = {
    "a pipe": os.mkfifo, "a socket": listening, "a folder": Path.mkdir, "a link out": moved_out,
    "a link to an endless device": linked("/dev/zero"), "a link to nothing": linked("nothing"),
    "a link to a terminal": linked("/dev/tty"), "a link to this process": linked("/proc/self/mem"),
}  # fmt: skip
JSON: dict[str, Spoil] = {
    "nothing": text(""), "NUL": text(b"\0" * 100),
    "UTF-16": text('{"a": 1}'.encode("utf-16")), "Latin-1": text(b"{\xe9"),
    "a list": text("[]"), "a number": text("1"), "null": text("null"), "half": text('{"a": '), "a text": text('"a"'),
    "a key twice": text('{"seed": 1, "seed": 2}'), "lists without end": text("[" * 100_000),
    "mappings without end": text('{"a":' * 100_000), "deep lists": text('{"a": ' + "[" * 900 + "]" * 900 + "}"),
    "a million digits": text('{"seed": ' + "9" * 10**6 + "}"), "many lists": text('{"a": [' + "[]," * 300_000 + "[]]}"),
    "lists up to the limit": text('{"a": [' + "[]," * 80_000 + "[]]}"),
    "many mappings": text('{"a": [' + "{}," * 300_000 + "{}]}"), "100 MiB": lambda path: os.truncate(path, 100 * 2**20),
}  # fmt: skip
YAML: dict[str, Spoil] = {
    "nothing": text(""), "NUL": text(b"\0" * 100),
    "UTF-16": text("a: 1".encode("utf-16")), "Latin-1": text(b"a: \xe9"),
    "a list": text("- 1"), "a tab": text("a:\n\t- 1"), "many documents": text("---\n" * 10**6),
    "a tag": text("!!set {a}"),
    "a tag of Python": text("!!python/object/apply:os.system [touch pwned]"), "a list as a key": text("? [a]\n: 1\n"),
    "a mapping that is a list": text("!!map [1]"), "a mapping that is a text": text("a: !!map x"),
    "a number that is a text": text("seed: !!int x"), "a bool that is a text": text("mode: !!bool x"),
    "a date that is none": text("seed: !!timestamp x"), "references": text("a: &a [1]\nb: *a"),
    "a merge": text("a: &a {b: 1}\nc: {<<: *a}"), "deep lists": text("a: " + "[" * 200 + "]" * 200),
    "lists without end": text("a: " + "[" * 60_000),
    "deep blocks": text("".join(" " * n + "a:\n" for n in range(1000))),
    "a long text": text("a: " + "x" * 10**7), "a long key": text("? " + "x" * 60_000 + "\n: 1"),
    "many numbers": text("a: [" + "1," * 30_000 + "1]"), "numbers up to the limit": text("a: [" + "1," * 16_000 + "1]"),
    "many keys": text("\n".join(f"a{n}: 1" for n in range(7_000))),
    "hexadecimal digits": text("seed: 0x" + "f" * 60_000), "in sixties": text("seed: 1" + ":1" * 30_000),
    "many quotes": text("a: '" + "''" * 30_000 + "'"), "many comments": text("# a\n" * 15_000),
    "a comma": text("a: [,"),
    "an anchor for each": text("\n".join(f"a{n}: &a{n} 1" for n in range(5_000))),
    "100 MiB": lambda path: os.truncate(path, 100 * 2**20),
}  # fmt: skip
SETTINGS = (
    "seed: []", "seed: {a: 1}", "seed: -1", "seed: 1.5", "seed: 99999999999999999999", "seed: 0x" + "f" * 5000,
    "seed: 2020-01-01", "task: []", "task: {name: []}", "task: {name: ../x}", "task: {name: bandit, steps: x}",
    "task: {name: gymnasium, environment: [1]}", "task: {name: logs, environment: 'evil:X-v0'}", "loss: []", "loss: 1",
    "loss: {td: []}", "loss: {td: {name: []}}", "loss: {td: {name: td, gamma: []}}", "loss: {}", "logger: 5",
    "logger: {csv: {name: ../csv}}", "data: [1]", "data: {a: 1}", "data: 2020-01-01", "recipe: {a: 1}", "recipe: [1]",
    "run_dir: [a]", "run_dir: {a: 1}", "grid_dir: [a]", "objective: [a]", "objective: {a: 1}", "gamma: x", "gamma: []",
    "gamma: .nan", "temperature: {}", "temperature: .inf", "candidates: '5'", "mode: 1", "device: []", "device: '../x'",
    "threads: {}", "seeds: []", "evaluation: {name: default, alphas: x}", "evaluation: {name: default, alphas: [[]]}",
    "evaluation: {name: default, alphas: [2]}", "trainer: {name: default, steps: .inf}", "hazard: 1", "risk: null",
    "actor: {name: flow, hidden: [[1]]}", "actor: {name: flow, hidden: 1}", "critic: {name: qr, quantiles: 1e99}",
    "evaluation: {name: default, episodes: 1000000000000}", "'\\e[2J': 1", "seed: \"\\e]0;x\\a\"", "deterministic: {}",
)  # fmt: skip
VALUES: tuple[tuple[Any, ...], ...] = (
    ("return_mean", "x"), ("return_mean", [1]), ("return_mean", BIG), ("return_mean", None), ("return_mean", True),
    ("return_cvar", []), ("return_cvar", {"0.1": "x"}), ("return_cvar", {"x": 1.0}), ("return_cvar", {"0.1": BIG}),
    ("intervals", []), ("intervals", {"mean": "x"}), ("intervals", {"mean": [1]}), ("intervals", {"0.1": [{}, None]}),
    ("seed", {}), ("seed", "x"), ("seed", -1), ("seed", BIG), ("steps", "x"), ("steps", []), ("steps", BIG),
    ("wall_seconds", BIG), ("wall_seconds", "x"), ("wall_seconds", {}), ("wall_seconds", -1), ("wall_seconds", 1e308),
    ("updates_per_second", "x"), ("updates_per_second", 0), ("behaviour", None), ("behaviour", []), ("behaviour", "x"),
    ("behaviour", "return_cvar", [1]), ("behaviour", "return_mean", "x"), ("behaviour", "episodes", BIG),
    ("evaluations_per_update", []), ("evaluations_per_update", {"actor": "x"}),
    ("evaluations_per_update", {"actor": BIG}),
    ("checkpoint", []), ("checkpoint", {"return_means": {"1": 1, "2": 1, "3": 1}}),
    ("checkpoint", {"return_means": []}),
    ("task", []), ("task", {"a": 1}), ("task", ""), ("task", "../x/../y"), ("actor", 1), ("actor", "\x1b[2J"),
    ("loss", "td"), ("loss", [[]]), ("loss", [{"a": 1}]), ("loss", []), ("recipe", 5), ("recipe", {}), ("risk", None),
    ("episodes", "x"), ("episodes", BIG), ("ood", []), ("ood", {"curve": []}), ("ood", {"curve": {"nominal": "x"}}),
    ("ood", {"rate": "x"}), ("ood", {"curve": [{"nominal": 0.1, "policy": "x"}]}), ("score", "x"), ("score", BIG),
    ("estimate", []), ("estimate", {"mean": "x"}), ("estimate", {"cvar": [1]}), ("data", {"a": 1}),
    ("critic", "\ud800"),
    ("run_dir", []), ("data_sha256", 5), ("mass_ring", "x"), ("data_mass_ring", []), ("return_cvar", {"0.1": {"a": 1}}),
)  # fmt: skip
PREDICTED: tuple[tuple[Any, ...], ...] = (
    ("cvar", {}), ("cvar", "x"), ("cvar", [1]), ("cvar", [{}]), ("cvar", 0, "alpha", "x"), ("cvar", 0, "alpha", BIG),
    ("cvar", 0, "predicted", "x"), ("cvar", 0, "realised", []), ("cvar", 0, "low", None), ("cvar", 0, "high", BIG),
    ("miscalibration", "x"), ("miscalibration_of_chance", {}), ("episodes", []), ("pit", []), ("pit", {"levels": "x"}),
    ("cvar", 1, "alpha", 1.0), ("cvar", 0, "alpha", -1), ("cvar", []), ("gamma", "x"), ("run_dir", {}),
)  # fmt: skip
CELLS: tuple[tuple[Any, ...], ...] = (
    ("cells", 3), ("cells", None), ("cells", {}), ("cells", [1]), ("cells", [[]]), ("cells", [{}]), ("cells", "x"),
    ("cells", 0, "overrides", 3), ("cells", 0, "overrides", [1]), ("cells", 0, "overrides", None),
    ("cells", 0, "cell", "../x"), ("cells", 0, "cell", ".."), ("cells", 0, "cell", "."), ("cells", 0, "cell", ""),
    ("cells", 0, "cell", "/etc"), ("cells", 0, "cell", "a/b"), ("cells", 0, "cell", "a\0b"), ("cells", 0, "cell", 5),
    ("cells", 0, "cell", "x" * 5000), ("cells", 0, "cell", None), ("cells", 0, "refused", 5), ("cells", 0, "cell", []),
    ("cells", 0, "refused", {}), ("cells", 0, "cell", "\ud800"), ("cells", 0, "cell", "\x1b[2J"), ("other", 1),
)  # fmt: skip
REASONS: tuple[tuple[Any, ...], ...] = (
    ("reason", {}), ("reason", []), ("reason", 5), ("reason", None), ("reason", "\x1b[2J"), ("reason", "x" * 10**6),
    ("goes_on", "x"), ("goes_on", []), ("reason", "\ud800"),
)  # fmt: skip
ROWS = {
    "nothing": "", "NUL": "\0" * 100, "a header": "{head}\n", "a word": "hello", "a quote": '{head}\n"',
    "commas": "," * 10**6,
    "a short row": "{head}\n1\n", "a long row": "{head}\n" + "1," * 50 + "\n", "texts": "{head}\nx,x,x,x,x,x\n",
    "no number": "{head}\nnan,nan,nan,nan,nan,nan\n", "infinity": "{head}\ninf,inf,inf,inf,inf,inf\n",
    "a huge step": "{head}\n1e300,0,1,1,0,0\n1e300,1,1,1,0,0\n", "a huge value": "{head}\n2,0,1e400,1,0,0\n",
    "digits": "{head}\n" + "9" * 5000 + ",0,1,1,0,0\n", "a long field": "{head}\n2,0," + "x" * 10**6 + ",1,0,0\n",
    "a column twice": "step,step,episode,return,name,value\n1,2,3,4,5,6\n", "names alone": "a,b,c\n1,2,3\n",
    "many columns": ",".join(f"a{n}" for n in range(10**5)) + "\n", "empty fields": "{head}\n,,,,,\n",
    "half a step": "{head}\n1.5,0,1,1,0,0\n", "negative": "{head}\n-1,-1,-1,-1,-1,-1\n",
    "binary": b"\xff\xfe\0\1\2" * 100,
    "blank lines": "\n" * 10**6, "carriage returns": "{head}\r2,0,1,1,0,0\r",
    "one value": "{head}\n2,0,1,1,0,0\n3,0,1,1,0,0\n",
}  # fmt: skip


def of_rows(content: str | bytes) -> Spoil:
    """The rows of a table, below the names of its own columns."""

    def change(path: Path) -> None:
        head, sound = FILES[path.name].split("\n")[:2]
        filled = content if isinstance(content, bytes) else content.replace("{head}", head).encode()
        if path.name == "metrics.csv" and isinstance(content, str):  # it has three columns
            filled = b"\n".join(line if line == head.encode() else b",".join(line.split(b",")[:3]) or sound.encode()
                                if line.count(b",") == 5 else line for line in filled.split(b"\n"))  # fmt: skip
        path.write_bytes(filled)

    return change


def changes(values: tuple[tuple[Any, ...], ...]) -> dict[str, Spoil]:
    return {f"{keys!r:.60} {number}": put(*keys) for number, keys in enumerate(values)}


CORPUS: dict[str, dict[str, Spoil]] = {
    "config.yaml": YAML | {f"{line:.50}": setting(line) for line in SETTINGS} | KINDS,
    "summary.json": JSON | changes(VALUES) | KINDS,
    "episodes.csv": {name: of_rows(content) for name, content in ROWS.items()} | KINDS,
    "metrics.csv": {name: of_rows(content) for name, content in ROWS.items()} | KINDS,
    "calibration.json": JSON | changes(PREDICTED) | KINDS,
    "failed.json": JSON | changes(REASONS) | KINDS,
    "grid.json": JSON | changes(CELLS) | KINDS,
}


def write_sound(folder: Path) -> Path:
    """A sweep of a finished run, `folder/run`, and of one that waits."""
    run = write_run(folder / "run")
    for name, content in FILES.items():
        (run / name).write_text(content)
    (folder / "grid.json").write_text(json.dumps(GRID))
    return run


def spoil(folder: Path, file: str, change: Spoil) -> None:
    """Make one file of a sound sweep hostile."""
    path = folder / file if file == "grid.json" else folder / "run" / file
    if file == "failed.json":
        (folder / "run/summary.json").unlink()
        path.write_text('{"reason": "x", "goes_on": false}')
    if change in KINDS.values():
        path.unlink()
    change(path)


def readers(folder: Path) -> dict[str, Callable[[], Any]]:
    """Everything that reads a run or a sweep; the heavy ones, which draw or train, are left out."""
    run = RunFolder(folder / "run")

    def tabulated() -> Any:
        groups = make_groups((runs := gather([str(run)]).runs), chosen_keys(runs, ())[0])
        return tables.results(groups, 0.1), tables.compute(groups)

    return {
        "config": lambda: run.config,
        "summary": lambda: (run.state, run.summary),
        "steps": lambda: (run.step, run.kept, run.fails_again),
        "card": lambda: card(run.config, run.summary, {}),
        "resume": lambda: config_to_resume(run.path, {}),
        "resumable": lambda: run.resumable(run.config),
        "episodes": lambda: read_episodes(run.episodes_file, run.path),
        "metrics": lambda: read_metrics(run.metrics_file, run.path),
        "sweep": lambda: remaining(status(GridFolder(folder))),
        "tables": tabulated,
    }


CONCERNED = {  # readers of each file
    "config.yaml": ("config", "card", "resume", "resumable", "sweep", "tables"),
    "summary.json": ("summary", "card", "sweep", "tables"), "episodes.csv": ("episodes", "tables"),
    "metrics.csv": ("metrics", "tables"), "calibration.json": ("tables",), "failed.json": ("steps", "sweep", "tables"),
    "grid.json": ("sweep",),
}  # fmt: skip


def refusals(folder: Path, file: str) -> Iterator[str]:
    """What the readers of a file refuse; another error is raised."""
    for name, read in readers(folder).items():
        try:
            if name in CONCERNED[file]:
                read()
        except InputError as error:
            yield f"{name}: {error}"


def trial(folder: Path, file: str, label: str) -> str:
    """How a process of its own ends that reads one content."""
    child = os.fork()
    if child:
        waits = 0
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            time.sleep(0.02)
            state = Path(f"/proc/{child}/stat").read_text().rpartition(") ")[2][0]
            waits = waits + 1 if state == "S" else 0  # not merely without a processor
            if waits > 100:
                os.kill(child, signal.SIGKILL)
        status = ended[1]
        return "hang" if os.WIFSIGNALED(status) else ("refused or read", "traceback", "slow")[os.WEXITSTATUS(status)]
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
    try:
        spoil(folder, file, CORPUS[file][label])
        os._exit(2 if slowest(folder, file) > 1 else 0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def slowest(folder: Path, file: str) -> float:
    """Seconds on a processor of the slowest reader of a file."""
    warnings.simplefilter("ignore")
    found = 0.0
    for name in CONCERNED[file]:
        began = time.process_time()
        with contextlib.suppress(InputError):
            readers(folder)[name]()
        found = max(found, time.process_time() - began)
    return found


def main() -> None:
    """Count the outcomes of every content; name those that are no refusal, or take a reader more than a second."""
    with tempfile.TemporaryDirectory() as place:
        write_sound(sound := Path(place, "sound"))
        for file in CONCERNED:  # everything is imported once
            slowest(sound, file)
        for file, contents in CORPUS.items():
            found = Counter[str]()
            for label in contents:
                folder = Path(shutil.copytree(sound, Path(place, "tried")))
                found[ending := trial(folder, file, label)] += 1
                if ending != "refused or read":
                    print(f"{file} {label}: {ending}", flush=True)
                shutil.rmtree(folder)
            print(f"{file}: {len(contents)} contents, {dict(found)}", flush=True)


if __name__ == "__main__":
    main()
