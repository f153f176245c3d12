"""Grids from the outside: cells that fail alone, runs that are killed and continued, launchers."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from ramac.cli import main, presets
from ramac.errors import InputError
from ramac.experiment.grid.cores import workers_of
from ramac.experiment.grid.folder import cells, claimed, journal
from ramac.experiment.grid.status import command, in_words, remaining, state
from ramac.experiment.grid.sweep import add
from ramac.registry import GROUPS
from ramac.system.files import write_json

SHORT = ("critic=qr", "trainer.steps=4", "evaluation.episodes=10", "log_every=2")
PROGRAM = [sys.executable, "-c", "import ramac; ramac.main()"]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    GlobalHydra.instance().clear()


def ramac_m(monkeypatch, *arguments) -> int:
    """`ramac -m ...` in this process; returns the exit status."""
    monkeypatch.setattr(sys, "argv", ["ramac", "-m", *SHORT, *arguments])
    GlobalHydra.instance().clear()
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def events(grid) -> Counter:
    return Counter((row["cell"], row["event"]) for row in journal(Path(grid)))


def done(grid) -> list[Path]:
    return [path.parent for path in Path(grid).glob("*/summary.json")]


def test_the_same_command_runs_only_what_is_missing(monkeypatch, capfd):
    arguments = ("actor=gaussian,deterministic", "seed=0,1")
    assert ramac_m(monkeypatch, *arguments) == 0
    (grid,) = Path("runs").iterdir()
    assert len(done(grid)) == 4
    before = {path: (path / "summary.json").stat().st_mtime_ns for path in done(grid)}
    victim = done(grid)[0]
    (victim / "summary.json").unlink()  # as if it had been killed
    assert ramac_m(monkeypatch, *arguments) == 0
    assert list(Path("runs").iterdir()) == [grid], "the same command has the same folder"
    count = events(grid)
    assert all(count[path.name, "done"] == 1 + (path == victim) for path in before)
    assert all((path / "summary.json").stat().st_mtime_ns == t for path, t in before.items() if path != victim)
    assert "4 cells, 1 to run" in capfd.readouterr().out
    assert ramac_m(monkeypatch, "actor=gaussian", "seed=range(3)", f"grid_dir={grid}") == 0, "a larger grid goes on"
    assert len(done(grid)) == 5


def test_the_order_of_a_list_and_machine_settings_make_no_other_cell(monkeypatch):
    assert ramac_m(monkeypatch, "actor=gaussian", "seed=0,1", "grid_dir=g") == 0
    assert ramac_m(monkeypatch, "seed=1,0", "actor=gaussian", "grid_dir=g", "device=cpu", "threads=1") == 0
    assert len(done("g")) == 2


def test_impossible_cells_fail_alone_with_their_reason(monkeypatch, capfd):
    cells = ("actor=flow2,gaussian", "loss=[td,bc],[td,bc,distill]", "risk=cvar0.1,cvar1.5", "grid_dir=g")
    assert ramac_m(monkeypatch, *cells) == 1
    assert len(done("g")) == 2
    said = " ".join(capfd.readouterr().out.split())
    assert "alpha must be in (0, 1], got 1.5" in said
    assert "loss=distill needs the actor's sample_with_teacher; actor=gaussian has none" in said
    reasons = [json.loads(path.read_text())["reason"] for path in Path("g").glob("*/failed.json")]
    assert len(reasons) == 6
    assert not list(Path("g").glob("*/traceback.txt")), "a refusal needs no traceback"


def test_a_setting_that_only_some_entries_have_fails_alone(monkeypatch, capfd):
    assert ramac_m(monkeypatch, "actor=flow,gaussian", "actor.steps=2", "grid_dir=g") == 1
    assert len(done("g")) == 1
    assert "no setting 'actor.steps'; actor has hidden" in capfd.readouterr().out


def test_a_crash_leaves_its_traceback_and_is_tried_again(monkeypatch, capfd):
    from ramac.tasks.bandit import Bandit

    def report(self, act, data, returns, title, folder):
        raise RuntimeError("the pencil broke")

    with monkeypatch.context() as broken:
        broken.setattr(Bandit, "report", report)
        assert ramac_m(monkeypatch, "actor=gaussian", "seed=0,1", "grid_dir=g") == 1
    assert "RuntimeError: the pencil broke" in capfd.readouterr().out
    assert all("the pencil broke" in path.read_text() for path in Path("g").glob("*/traceback.txt"))
    assert ramac_m(monkeypatch, "actor=gaussian", "seed=0,1", "grid_dir=g") == 0
    assert len(done("g")) == 2
    assert not list(Path("g").glob("*/failed.json"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["actor=flow,flwo"], "no actor 'flwo'"),
        (["risk=cvar0.1,cvarx"], "no risk 'cvarx'"),
        (["sweep=actorz"], "no sweep 'actorz'; .*did you mean 'actors'"),
        (["run_dir=here", "seed=0,1"], "run_dir=here is one run's; a grid takes grid_dir=FOLDER"),
        (["run_dir=here,there"], "run_dir=here,there is one run's; a grid takes grid_dir=FOLDER"),
        (["seed=0", "grid_dir=g,h"], "grid_dir=g,h makes no cells; choose one"),
        (["seed=0", "device=cpu,cuda"], "device=cpu,cuda makes no cells; choose one"),
        (["seed=0", "threads=1,2"], "threads=1,2 makes no cells; choose one"),
        (["sweep=risks,actors"], "sweep=risks,actors makes no cells; choose one"),
        (["seed=0,1", "device=cdua"], "device=cdua cannot be used; choose auto, cpu, cuda"),
        (["seed=-1,0"], "seed must be a whole number from 0 to 4294967295, got -1"),
        (["seed=0,1", "log_every=2,0"], "log_every must be a whole number from 1 to 4294967295, got 0"),
        (["seed=0,1", "threads=0"], "threads must be a whole number from 1 to 4096, got 0"),
        (["candidates=0,2"], "candidates must be a whole number from 1.*, got 0"),
        (["seed=0,1", "candidates=2", "temperature=0,-1"], "temperature must be finite and not negative, got -1"),
        (["mode=true,perhaps"], "mode must be true or false, got 'perhaps'"),
        (["hydra/launcher=mine", "hydra.launcher.n_jbos=2"], "no setting 'hydra.launcher.n_jbos'; .*mean 'n_jobs'"),
        (["hydra/launcher=mien"], "no hydra/launcher 'mien'; choose from .*did you mean 'mine'.*the extras joblib"),
        (["hydra/launcher=lacks"], "Could not load 'hydra/launcher/nowhere'; the extras joblib, slurm and ray"),
        (["actor=gaussian", "actor.steps=2,3"], "no setting 'actor.steps'"),
        (["seed=0,1", "grid_dir=file/grid"], "grid_dir=.*file/grid cannot be used"),
        (["seed=0,1", "grid_dir=run"], "grid_dir=.*run is a run's folder"),
    ],
)
def test_a_slip_refuses_the_grid_and_writes_nothing(arguments, words, monkeypatch, capfd, tmp_path_factory):
    import re

    own = tmp_path_factory.mktemp("own")
    (own / "hydra/launcher").mkdir(parents=True)
    (own / "hydra/launcher/mine.yaml").write_text("_target_: nobody\nn_jobs: 1\n")
    (own / "hydra/launcher/lacks.yaml").write_text("defaults: [nowhere]\n")
    monkeypatch.setenv("RAMAC_CONFIG_DIR", str(own))
    Path("file").write_text("")
    Path("run").mkdir()
    Path("run/config.yaml").write_text("")
    assert ramac_m(monkeypatch, *arguments) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert re.search(words, line)
    assert sorted(map(str, Path().rglob("*"))) == ["file", "run", "run/config.yaml"]


def test_sweeps_need_m_and_name_real_entries(monkeypatch, capfd):
    import yaml

    monkeypatch.setattr(sys, "argv", ["ramac", "sweep=risks"])
    with pytest.raises(SystemExit):
        main()
    assert "sweep=risks is a grid: ramac -m sweep=risks" in capfd.readouterr().err
    for name, path in presets("sweep").items():
        sweep = yaml.safe_load(path.read_text())
        assert sweep["sweep"] == name
        for key, values in sweep["hydra"]["sweeper"]["params"].items():
            for spec in str(values).split(",") if key in GROUPS else ():
                GROUPS[key].parse(spec)


def test_folders_of_any_name(monkeypatch):
    place = Path("it's, a (copy) = ü")
    place.mkdir()
    monkeypatch.chdir(place)
    assert ramac_m(monkeypatch, "actor=gaussian", "seed=0,1", "grid_dir=g") == 0
    assert len(done("g")) == 2


def test_a_damaged_journal_is_read_as_far_as_it_goes(monkeypatch, capfd):
    assert ramac_m(monkeypatch, "actor=gaussian", "seed=0,1", "grid_dir=g") == 0
    with Path("g/journal.csv").open("ab") as file:
        file.write(b"17,cell,do\n\xff\xfe,,,\n")
    assert len(journal(Path("g"))) == 4
    assert command(["status", "g"]) == 0
    Path("g/grid.json").write_text("{")
    with pytest.raises(InputError, match=r"grid\.json cannot be read"):
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
    with pytest.raises(InputError, match=r"g/grid\.json (is damaged|cannot be read): .+"):
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

    monkeypatch.setattr("ramac.experiment.grid.sweep.write_json", slowly)
    with ThreadPoolExecutor(2) as both:
        list(both.map(lambda name: add(Path("g"), [{"cell": name, "overrides": []}]), ("one", "two")))
    assert {record["cell"] for record in cells(Path("g"))} == {"one", "two"}


def test_locks_of_another_user_are_named(monkeypatch):
    Path("g/.locks").mkdir(parents=True)
    Path("g/.locks/x.lock").write_text("")
    Path("g/grid.json").write_text('{"cells": [{"cell": "x", "overrides": []}]}')
    refused = OSError(13, "Permission denied")  # what the tests' own user, perhaps root, would not be

    def acquire(self, timeout):
        raise refused

    monkeypatch.setattr("ramac.experiment.grid.folder.FileLock.acquire", acquire)
    with pytest.raises(InputError, match=r"g/\.locks cannot be written \(Permission denied\)"):
        command(["status", "g"])


def test_brackets_in_a_folders_name_are_shown(capsys):
    Path("a[b]c").mkdir()
    Path("a[b]c/grid.json").write_text('{"cells": []}')
    assert command(["status", "a[b]c"]) == 0
    assert "a[b]c" in capsys.readouterr().out


def test_a_ready_sweep_runs_and_takes_other_values(monkeypatch):
    assert ramac_m(monkeypatch, "sweep=eta", "loss.risk.weight=0,0.3", "actor=gaussian") == 0
    (grid,) = Path("runs").iterdir()
    assert grid.name.startswith("grid-eta-")
    assert len(done(grid)) == 2


def test_a_cell_whose_environment_failed_goes_on_and_one_that_lost_its_numbers_begins_anew(monkeypatch):
    def broken(self, action):
        raise OSError("the simulator is gone")

    cells = ("actor=gaussian", "trainer.critic_lr=1e20,1e-3", "critic=mean", "risk=neutral", "grid_dir=g")
    with monkeypatch.context() as context:
        context.setattr("ramac.tasks.bandit.BanditEnv.step", broken)
        assert ramac_m(monkeypatch, *cells) == 1
    found = {json.loads(path.read_text())["goes_on"]: path for path in Path("g").glob("*/failed.json")}
    assert set(found) == {True, False}
    assert (found[False].parent / "nan/nan.json").exists()
    assert ramac_m(monkeypatch, *cells) == 1
    assert list(Path("g").glob("*/failed.json")) == [found[False]]
    said = {key: (path.parent / "environment.txt").read_text() for key, path in found.items()}
    assert {key: "goes on from update" in text for key, text in said.items()} == {True: True, False: False}


def test_killed_in_the_middle_and_started_again(tmp_path):
    """SIGKILL after some of twelve cells: the second start trains the others, none twice."""
    cells = ("actor=gaussian,deterministic", "risk=neutral,cvar0.1", "seed=0,1,2")
    arguments = [*PROGRAM, "-m", *SHORT, "trainer.steps=40", *cells, "grid_dir=g"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while sum(row["event"] == "done" for row in journal(Path("g"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    first = {path.name for path in done("g")}
    assert 4 <= len(first) < 12
    again = subprocess.run(arguments, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert f"12 cells, {12 - len(first)} to run" in again.stdout
    assert len(done("g")) == 12
    count = events("g")
    assert all(count[path.name, "done"] == 1 for path in done("g"))
    assert all(count[name, "started"] == 1 for name in first)


def test_two_processes_share_a_grid():
    arguments = [*PROGRAM, "-m", *SHORT, "actor=gaussian", "seed=range(6)", "trainer.steps=60", "grid_dir=g"]
    both = [subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    count = events("g")
    assert len(done("g")) == 6
    assert all(count[path.name, "done"] == count[path.name, "started"] == 1 for path in done("g"))


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_launchers_of_other_processes(launcher):
    arguments = [
        *PROGRAM,
        "-m",
        f"hydra/launcher={launcher}",
        *SHORT,
        "actor=gaussian",
        "seed=0,1",
        "risk=cvar0.1,cvar9",
    ]
    ran = subprocess.run([*arguments, "grid_dir=g"], capture_output=True, text=True)
    assert ran.returncode == 1, ran.stderr
    assert len(done("g")) == 2
    assert "alpha must be in (0, 1], got 9.0" in ran.stdout
    assert os.getpid() not in {int(row["process"]) for row in journal(Path("g"))}
    threads = {json.loads((path / "summary.json").read_text())["threads"] for path in done("g")}
    assert threads == {max(1, len(os.sched_getaffinity(0)) // (os.cpu_count() or 1))}


def test_ray_spreads_over_the_nodes_of_a_cluster():
    """Two nodes of one core each, on this machine: every cell is done and both nodes did some."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}  # Ray's least
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        address = f"hydra.launcher.ray.init.address={cluster.address}"
        arguments = [*PROGRAM, "-m", "hydra/launcher=ray_cluster", address, *SHORT, "actor=gaussian", "seed=range(4)"]
        ran = subprocess.run([*arguments, "grid_dir=g"], capture_output=True, text=True)
    finally:
        cluster.shutdown()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert len(done("g")) == 4
    assert len({row["where"] for row in journal(Path("g"))}) == 2


def test_a_claim_is_one_processes_and_dies_with_it():
    folder = Path("g/cell")
    hold = "import sys, time; from pathlib import Path; from ramac.experiment.grid.folder import claimed\n"
    hold += "with claimed(Path('g/cell')) as mine: print(mine, flush=True); time.sleep(60)"
    other = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "True\n"
    with claimed(folder) as mine:
        assert not mine
    folder.mkdir()
    assert state(folder) == "running"
    other.kill()
    other.wait()
    with claimed(folder) as mine:
        assert mine
    assert state(folder) == "interrupted"


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
    with Path("g/journal.csv").open() as file:
        times = sorted(float(row["seconds"]) for row in csv.DictReader(file) if row["event"] == "done")
    assert remaining(Path("g"), {victim.name: "waiting", "x": "interrupted"}) == pytest.approx(2 * times[1])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stats", "g"], "no command 'grid stats'.*did you mean 'status'"),
        (["status"], "needs one folder"),
        (["status", "."], "is no grid: it has no grid.json"),
    ],
)
def test_bad_questions_about_grids(arguments, words):
    with pytest.raises(InputError, match=words):
        command(arguments)


def test_shares_of_the_cores(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # grids that run elsewhere on this machine hold shares too
    assert workers_of(3) == 3
    assert workers_of(-1) == os.cpu_count()
    cores = len(os.sched_getaffinity(0))
    program = "import os, sys; from ramac.experiment.grid.cores import pin\n"
    program += "print(pin(2), *os.sched_getaffinity(0), flush=True); sys.stdin.read()"
    start = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    two = [subprocess.Popen([sys.executable, "-c", program], **start) for _ in range(2)]
    said = [process.stdout.readline().split() for process in two]
    for process in two:
        process.communicate("")
    assert [int(words[0]) for words in said] == [max(1, cores // 2)] * 2
    assert cores < 2 or not set(said[0][1:]) & set(said[1][1:]), "each has cores of its own"


def test_times_in_words():
    assert [in_words(seconds) for seconds in (40, 720, 12240)] == ["40 s", "12 min", "3.4 h"]
