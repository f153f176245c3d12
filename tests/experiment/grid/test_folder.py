"""The folder of a sweep: what it lists, what damages are told, how its runs stand."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ramac.cli.grid import in_words
from ramac.cli.grid import main as command
from ramac.errors import InputError
from ramac.experiment.folder import RunFolder, Taken
from ramac.experiment.grid.folder import Cell, GridFolder
from ramac.experiment.grid.status import Row, remaining
from ramac.system.files import write_json
from trials.processes import SERVER, start
from trials.sweeps import ramac_m


def done(grid) -> list[Path]:
    return [path.parent for path in Path(grid).glob("*/summary.json")]


def test_a_damaged_list_is_refused_and_its_runs_are_kept(monkeypatch):
    assert ramac_m(monkeypatch, "actor=gaussian", "seed=0,1", "grid_dir=g") == 0
    assert command(["status", "g"]) == 0
    Path("g/grid.json").write_text("{")
    with pytest.raises(InputError, match=r"grid\.json is not valid JSON"):
        command(["status", "g"])
    assert ramac_m(monkeypatch, "actor=gaussian", "seed=0,1", "grid_dir=g") == 2
    assert len(done("g")) == 2


DAMAGED = (
    "[]",
    '{"cells": {}}',
    '{"cells": null}',
    '{"cells": [1]}',
    '{"cells": [{"cell": "x"}]}',
    '{"cells": [{"cell": 3, "overrides": []}]}',
    '{"cells": [{"cell": "", "overrides": []}]}',
    '{"cells": [{"cell": "../x", "overrides": []}]}',
    '{"cells": [{"cell": null, "overrides": ["a"]}]}',
    '{"cells": [{"cell": "x", "overrides": [1]}]}',
)


@pytest.mark.parametrize("content", DAMAGED)
def test_wrong_contents_of_a_grid_are_refused_and_kept(content, monkeypatch, capfd):
    Path("g").mkdir()
    Path("g/grid.json").write_text(content)
    with pytest.raises(InputError, match=r"g/grid\.json (is damaged|holds no settings).*"):
        command(["status", "g"])
    assert ramac_m(monkeypatch, "actor=gaussian", "seed=0,1", "grid_dir=g") == 2
    assert capfd.readouterr().err.count("\n") == 1
    assert Path("g/grid.json").read_text() == content
    assert not done("g")


def test_commands_add_their_cells_one_after_the_other(monkeypatch):
    """Both read `grid.json` before either has written it, were it not for the lock."""

    def slowly(path, content):
        time.sleep(0.3)
        write_json(path, content)

    monkeypatch.setattr("ramac.experiment.grid.folder.write_json", slowly)
    with ThreadPoolExecutor(2) as both:
        list(both.map(lambda name: GridFolder(Path("g")).add([Cell([], name)]), ("one", "two")))
    assert {cell.name for cell in GridFolder(Path("g")).cells} == {"one", "two"}


def test_a_run_of_another_user_is_not_called_running(monkeypatch, capsys):
    Path("g/x").mkdir(parents=True)
    Path("g/x/.lock").write_text("")
    Path("g/x/config.yaml").write_text("")
    Path("g/grid.json").write_text('{"cells": [{"cell": "x", "overrides": []}]}')
    refused = OSError(13, "Permission denied")  # what the tests' own user, perhaps root, would not be told

    def acquire(self, timeout=None):
        raise refused

    monkeypatch.setattr("ramac.experiment.folder.FileLock.acquire", acquire)
    assert command(["status", "g"]) == 0
    assert "│ 0 │ 0 │ 0 │ 1 │ 0 │" in " ".join(capsys.readouterr().out.split())


def test_brackets_in_a_folders_name_are_shown(capsys):
    Path("a[b]c").mkdir()
    Path("a[b]c/grid.json").write_text('{"cells": []}')
    assert command(["status", "a[b]c"]) == 0
    assert "a[b]c" in capsys.readouterr().out


def hold(path, begun):
    lock = RunFolder(path).hold()
    begun.set()
    time.sleep(600)
    lock.release()


def test_a_lock_belongs_to_one_process_and_dies_with_it():
    folder = RunFolder(Path("g/cell"))
    begun = SERVER.Event()
    other = start(hold, Path("g/cell"), begun)
    assert begun.wait(120)
    with pytest.raises(Taken, match="another process is writing into it"):
        folder.hold()
    assert folder.state == "running"
    other.kill()
    other.join()
    folder.config_file.write_text("")
    assert folder.state == "interrupted"
    with folder.hold():
        assert folder.hold().is_locked, "the process that holds it may take it again"


def test_status_counts_and_expects(monkeypatch, capsys):
    assert ramac_m(monkeypatch, "actor=gaussian", "seed=0,1,2", "risk=cvar0.1,cvar7", "grid_dir=g") == 1
    capsys.readouterr()
    victim = done("g")[0]
    (victim / "summary.json").unlink()
    assert command(["status", "g"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "│ 2 │ 0 │ 3 │ 1 │ 0 │" in text
    assert "expected remaining time: about" in text
    assert "ramac report g" in text
    grid = GridFolder(Path("g"))
    cells = [cell for cell in grid.cells if "cvar0.1" in str(cell.name)]
    times = sorted(row.seconds for row in map(Row.of, [grid] * 3, cells) if row.seconds is not None)
    rows = [*map(Row.of, [grid] * 3, cells), Row(cells[0], "waiting")]
    assert remaining(rows) == pytest.approx(2 * sum(times) / 2), "one interrupted, one waiting, the median of two"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stats", "g"], "no command 'grid stats'.*did you mean 'status'"),
        (["status"], "needs one folder"),
        (["status", "."], "is no sweep: it has no grid.json"),
    ],
)
def test_bad_questions_about_grids(arguments, words):
    with pytest.raises(InputError, match=words):
        command(arguments)


def test_times_in_words():
    assert [in_words(seconds) for seconds in (40, 720, 12240)] == ["40 s", "12 min", "3.4 h"]
