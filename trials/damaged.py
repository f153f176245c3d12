"""Random damage to D4RL files, Minari datasets, behaviour policies and csv files of episodes."""

import contextlib
import json
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from trials.command_lines import LAST, SMALL
from trials.datasets import arrays, store, write_d4rl, write_policy

SPOILERS = {
    "nan": lambda a: np.where(np.arange(a.size).reshape(a.shape) == a.size // 2, np.nan, a),
    "inf": lambda a: np.where(np.arange(a.size).reshape(a.shape) == a.size // 3, np.inf, a),
    "shorter": lambda a: a[:-3],
    "longer": lambda a: np.concatenate([a, a[:2]]),
    "empty": lambda a: a[:0],
    "one row": lambda a: a[:1],
    "strings": lambda a: np.array([b"x"] * len(a)),
    "words": lambda a: np.array(["north"] * len(a), dtype="S5"),
    "complex": lambda a: a.astype(complex),
    "integers": lambda a: np.nan_to_num(a).astype(int),
    "bytes": lambda a: np.nan_to_num(a).astype(np.uint8),
    "halves": lambda a: a.astype(np.float16),
    "doubles": lambda a: a.astype(np.float64),
    "another axis": lambda a: a[..., None],
    "flat": lambda a: a.reshape(-1),
    "wider": lambda a: np.concatenate([a.reshape(len(a), -1)] * 2, -1),
    "a number": lambda a: a.reshape(-1)[0] if a.size else a,
    "ten times": lambda a: a * 10.0,
    "huge": lambda a: a * 1e38,
    "beyond float32": lambda a: a * 1e300,
    "zeros": lambda a: np.zeros_like(a),
    "twos": lambda a: np.full_like(a, 2, dtype=np.float64),
    "structured": lambda a: np.zeros(len(a), [("x", float)]),
}
KINDS = ("d4rl", "d4rl", "d4rl", "minari", "policy", "episodes")
FILES = ("nothing", "nothing", "nothing", "cut", "flip", "flip", "emptied", "text", "deleted", "folder", "appended")


@dataclass(frozen=True)
class Damage:
    """Changes of good data: first of the arrays in a file, then of its bytes."""

    kind: str
    spoiled: tuple[tuple[int, str], ...]  # index of an array, key of SPOILERS
    dropped: int | None  # index of an array that is left out
    file: str
    which: int  # index of the file, where there are several
    at: float  # place in the file, as a share of its length
    command: int


def damages() -> st.SearchStrategy[Damage]:
    spoiled = st.lists(st.tuples(st.integers(0, 20), st.sampled_from(sorted(SPOILERS))), max_size=2).map(tuple)
    return st.builds(
        Damage, st.sampled_from(KINDS), spoiled, st.none() | st.none() | st.integers(0, 20), st.sampled_from(FILES),
        st.integers(0, 3), st.floats(0, 1), st.integers(0, 5),
    )  # fmt: skip


def spoil(sound: dict, damage: Damage) -> dict:
    """The arrays after the damage: some are changed or left out."""
    kept, names = dict(sound), sorted(sound)
    for index, how in damage.spoiled:
        name = names[index % len(names)]
        with contextlib.suppress(ValueError, TypeError, IndexError, np.exceptions.AxisError), np.errstate(all="ignore"):
            kept[name] = SPOILERS[how](np.asarray(kept[name]))
    if damage.dropped is not None:
        del kept[names[damage.dropped % len(names)]]
    return kept


def hurt(path: Path, damage: Damage) -> None:
    """Damage the bytes of a file."""
    content = path.read_bytes() if path.exists() else b""
    place = min(int(damage.at * len(content)), max(len(content) - 1, 0))
    if damage.file == "cut":
        path.write_bytes(content[:place])
    elif damage.file == "flip" and content:
        path.write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
    elif damage.file == "emptied":
        path.write_bytes(b"")
    elif damage.file == "text":
        path.write_text("observations,actions\n1,2\n")
    elif damage.file == "appended":
        path.write_bytes(content + b"\xff" * 100)
    elif damage.file in ("deleted", "folder"):
        path.unlink()
        if damage.file == "folder":
            path.mkdir()


def write_damaged_d4rl(damage: Damage, folder: Path) -> str:
    """A D4RL file; returns its path. Discards the case where h5py cannot store the arrays."""
    path = folder / "x.hdf5"
    try:
        write_d4rl(path, **spoil(arrays(40, 3, 1), damage))
    except (TypeError, ValueError):
        assume(False)
    hurt(path, damage)
    return str(path)


def write_damaged_minari(damage: Damage, folder: Path) -> str:
    """A Minari dataset; returns its id. Discards the case where Minari refuses to store the arrays."""

    def change(parts: dict) -> None:
        parts |= {k: v for k, v in spoil(parts, damage).items() if np.asarray(v).dtype.kind == "f"}

    with mock.patch.dict(os.environ, {"MINARI_DATASETS_PATH": str(folder / "datasets")}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            store("my/data-v0", (10, 12, 9), 3, 1, change)
        except Exception:
            shutil.rmtree(folder / "datasets", ignore_errors=True)
            assume(False)
    files = sorted(p for p in (folder / "datasets").rglob("*") if p.is_file())
    metadata = next(p for p in files if p.name == "metadata.json")
    if damage.file == "text":
        content = json.loads(metadata.read_text())
        content["total_steps"] = [10**12, -1, "x", 0][damage.which]
        metadata.write_text(json.dumps(content))
    else:
        hurt(files[damage.which % len(files)], damage)
    return "my/data-v0"


def write_damaged_policy(damage: Damage, path: Path) -> None:
    """A behaviour policy."""
    write_policy(path)
    with np.load(path) as file:
        kept = spoil(dict(file), damage)
    np.savez(path, **kept)
    hurt(path, damage)


def write_damaged_episodes(damage: Damage, path: Path) -> None:
    """A csv file of episodes."""
    rows = spoil({"episode": np.arange(9.0), "return": np.linspace(-1, 1, 9), "seed": np.zeros(9)}, damage)
    table = zip(*map(np.atleast_1d, rows.values()), strict=False)
    lines = [",".join(rows), *(",".join(map(str, row)) for row in table)]
    path.write_text("\n".join(lines) + "\n")
    hurt(path, damage)


def prepared(damage: Damage, folder: Path) -> list[str]:
    """Write the damaged data and return a command line that reads them."""
    small = [*SMALL, *LAST]
    if damage.kind == "policy":
        write_damaged_policy(damage, folder / "p.npz")
        own = [f"task.policies={folder}", "task.behaviour=[p]", "task.transitions=20"]
        return ["task=hopper-mixed", *own, *small, "task.horizon=3", "run_dir=run"]
    if damage.kind == "episodes":
        write_damaged_episodes(damage, folder / "x.csv")
        return ["report", "x.csv", "out=page"]
    source = {"d4rl": write_damaged_d4rl, "minari": write_damaged_minari}[damage.kind](damage, folder)
    train = ["task=gymnasium", "task.environment=Pendulum-v1", *small, "task.horizon=3", "run_dir=run"]
    choices = [["data", "check", source], ["data", "show", source], [*train, f"data={source}"]]
    choices += [["task=logs", *small, "run_dir=run", f"data={source}"], [*train, f"data={source}+{source}"]]
    return choices[damage.command % len(choices)]
