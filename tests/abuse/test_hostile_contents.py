"""Every content of the corpus: each reader of run folders and sweeps reads it or refuses it in one line."""

import os
import shutil
import signal
from pathlib import Path

import pytest

import ramac
from ramac.cli import main
from ramac.errors import InputError
from ramac.experiment.evaluate import evaluate
from ramac.experiment.grid.folder import GridFolder
from ramac.experiment.grid.status import status
from ramac.reporting.runs import gather
from ramac.system.untrusted import JSON_BYTES, YAML_BYTES, read_csv, read_json, read_yaml
from tests.abuse.hostile import CONCERNED, CORPUS, KINDS, listening, moved_out, put, refusals, spoil, write_sound

CONTENTS = [(file, label) for file, contents in CORPUS.items() for label in contents]
CONTENTS = CONTENTS if "RAMAC_CASES" in os.environ else CONTENTS[::3]  # all of them each night


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    write_sound(place := tmp_path_factory.mktemp("sound") / "sweep")
    return place


@pytest.fixture
def folder(sound, tmp_path) -> Path:
    return shutil.copytree(sound, tmp_path / "sweep")


@pytest.fixture(autouse=True)
def ends():
    """A reader that waits for a pipe fails instead of stopping the tests."""

    def late(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(300)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_a_sound_sweep_is_read(folder):
    for file in CORPUS:
        assert not list(refusals(folder, file))
    assert [row.state for row in status(GridFolder(folder))] == ["done", "waiting"]


@pytest.mark.parametrize(("file", "label"), CONTENTS)
def test_hostile_contents_are_read_or_refused(folder, file, label):
    """Any other error than InputError is raised here."""
    spoil(folder, file, CORPUS[file][label])
    assert len(list(refusals(folder, file))) <= len(CONCERNED[file])
    assert not Path("pwned").exists()


@pytest.mark.parametrize("file", ["config.yaml", "summary.json", "episodes.csv"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_a_file_of_the_folder_is_read(folder, file, kind):
    spoil(folder, file, KINDS[kind])
    with pytest.raises(
        InputError, match=r"is a link out of|is not a regular file|does not exist|unfinished|no run folder"
    ):
        gather([str(folder / "run")])


COMMANDS = {
    "config.yaml": (["eval", "run"], ["estimate", "run"], ["doctor", "run"], ["resume", "run"], ["pack", "run", "p"],
                    ["export", "run", "p.pt2"]),
    "summary.json": (["report", "run"], ["pack", "run", "p"]),
    "episodes.csv": (["report", "run"],),
    "grid.json": (["grid", "status", "."],),
}  # fmt: skip


@pytest.mark.parametrize("file", COMMANDS)
@pytest.mark.parametrize("kind", ["a pipe", "a link out", "a link to an endless device"])
def test_commands_end_with_one_line(folder, file, kind, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    spoil(folder, file, KINDS[kind])
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    for command in COMMANDS[file]:
        monkeypatch.setattr("sys.argv", ["ramac", *command])
        with pytest.raises(SystemExit) as ending:
            main()
        found = capsys.readouterr().err.strip().splitlines()
        assert ending.value.code == 2, (command, found)
        assert len(found) == 1, (command, found)
        assert found[0].startswith("ramac: ")
    assert {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} == before, "something was written"


WRITES = {
    "evaluations": lambda: evaluate(Path("run"), {"episodes": 1}),
    "estimate.json": lambda: ramac.estimate("run", steps=1),
    "calibration.png": lambda: ramac.check_critic("run", episodes=1),
    "videos": lambda: evaluate(Path("run"), {"episodes": 1}),
    "report/figures": lambda: ramac.report("run"),
    "report": lambda: ramac.report("run"),
    "plots": lambda: ramac.plot("run"),
    "plots/curves.png": lambda: ramac.plot("run"),
}


@pytest.mark.parametrize("name", WRITES)
def test_nothing_is_written_or_deleted_through_a_link(folder, tmp_path, monkeypatch, name):
    monkeypatch.chdir(folder)
    outside = tmp_path / "mine"
    outside.mkdir()
    for precious in ("losses-mine.pdf", "index.html", "summary.json"):
        (outside / precious).write_text("precious")
    link = folder / "run" / name
    link.parent.mkdir(exist_ok=True)
    if name == "report/figures":
        (link.parent / "index.html").write_text('<meta name="generator" content="ramac 0">')
    link.unlink(missing_ok=True)
    link.symlink_to(outside if "." not in name else outside / "summary.json")
    with pytest.raises(InputError, match=r"is a link out of .*: it is not followed"):
        WRITES[name]()
    assert {path.name: path.read_text() for path in outside.iterdir()} == dict.fromkeys(
        ("losses-mine.pdf", "index.html", "summary.json"), "precious"
    )


@pytest.mark.parametrize("name", ["evaluations", "calibration.png", "traceback.txt"])
def test_nothing_is_written_into_a_pipe(folder, name):
    os.mkfifo(folder / "run" / name)
    with pytest.raises(InputError, match="is not a regular file"):
        evaluate(folder / "run", {"episodes": 1})
    with pytest.raises(InputError, match="is not a regular file"):
        ramac.check_critic(folder / "run", episodes=1)


def test_a_run_folder_may_itself_be_a_link(folder, tmp_path):
    (tmp_path / "short").symlink_to(folder / "run")
    assert evaluate(tmp_path / "short", {"episodes": 1})["seed"] == 0
    assert len(gather([str(tmp_path / "short")]).runs) == 1


@pytest.mark.parametrize("kind", [os.mkfifo, listening, moved_out, Path.mkdir])
def test_a_lock_that_is_no_file_is_refused(folder, kind, monkeypatch):
    monkeypatch.chdir(folder)
    Path("new").mkdir()
    kind(Path("new/.lock").absolute())
    with pytest.raises(InputError, match=r"is a link out of new: it is not followed|is not a regular file"):
        ramac.train("trainer.steps=1", "evaluation.episodes=1", "run_dir=new")
    assert [path.name for path in Path("new").iterdir()] == [".lock"]


def test_a_temporary_name_that_is_a_link_is_not_written_through(tmp_path):
    (tmp_path / "mine").write_text("precious")
    (tmp_path / ".a.json.part").symlink_to(tmp_path / "mine")
    ramac.system.files.write_json(tmp_path / "a.json", {"a": 1})
    assert (tmp_path / "mine").read_text() == "precious"
    assert read_json(tmp_path / "a.json") == {"a": 1}


def test_one_damaged_run_is_a_line_of_the_report(sound, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, (key, label) in enumerate(
        [("summary.json", "half"), ("episodes.csv", "a pipe"), ("config.yaml", "a tag")]
    ):
        shutil.copytree(sound, folder / str(number))
        spoil(folder / str(number), key, CORPUS[key][label])
    found = ramac.report(folder, quiet=True)
    page = (folder / "report/index.html").read_text()
    assert "3 failed, unfinished or damaged" in str(found)
    assert all(f"{number}/run" in page for number in range(3))


def test_a_damaged_run_of_a_sweep_is_a_row(folder):
    spoil(folder, "summary.json", CORPUS["summary.json"]["half"])
    damaged, waiting = status(GridFolder(folder))
    assert (damaged.state, waiting.state) == ("damaged", "waiting")
    assert "summary.json is not valid JSON" in damaged.reason


def test_a_run_of_a_sweep_that_lies_elsewhere_is_damaged(folder, tmp_path):
    (folder / "two").symlink_to(tmp_path)
    assert [row.state for row in status(GridFolder(folder))] == ["done", "damaged"]


def test_limits_of_sizes(tmp_path):
    """Just below the limit a file is read, just above it is not."""
    for name, read, most in (("a.json", read_json, JSON_BYTES), ("a.yaml", read_yaml, YAML_BYTES)):
        (tmp_path / name).write_text('{"a": 1}' + " " * (most - 8))
        assert read(tmp_path / name) == {"a": 1}
        (tmp_path / name).write_text('{"a": 1}' + " " * (most - 7))
        with pytest.raises(InputError, match=r"at most .* are read"):
            read(tmp_path / name)


def test_plain_values_of_json_and_yaml(tmp_path):
    (tmp_path / "a.yaml").write_text("day: 2020-01-01\ntrue: [1, 2.5, null]\n'x': y\n")
    assert read_yaml(tmp_path / "a.yaml") == {"day": "2020-01-01", True: [1, 2.5, None], "x": "y"}
    (tmp_path / "a.json").write_text('{"big": 1' + "0" * 400 + ', "small": -7, "float": 1e400}')
    assert read_json(tmp_path / "a.json") == {"big": float("inf"), "small": -7, "float": float("inf")}


def test_a_table_keeps_its_text(tmp_path):
    (tmp_path / "a.csv").write_bytes('\ufeffa,"b c"\r\n1,"x,\ny"\r\n\r\n2,\r\n'.encode())
    assert read_csv(tmp_path / "a.csv") == (["a", "b c"], [["1", "x,\ny"], ["2", ""]])


def test_the_page_of_hostile_values_is_written(folder):
    """The values that are read reach tables and figures."""
    spoil(folder, "summary.json", put("wall_seconds", 10**400))
    spoil(folder, "summary.json", put("critic", "\ud800"))
    spoil(folder, "calibration.json", put("cvar", 0, "high", 10**400))
    ramac.report(folder / "run", out=folder / "page", quiet=True)
    assert (folder / "page/index.html").exists()
