"""Sweeps from the outside: runs that fail alone, sweeps that are killed and repeated, launchers."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from ramac.cli import main
from ramac.experiment.folder import RunFolder
from ramac.experiment.grid.cell import tell, threads_of
from ramac.experiment.grid.folder import Cell, GridFolder
from ramac.experiment.grid.sweep import Sweep, launch
from ramac.experiment.presets import presets
from ramac.registry import GROUPS
from ramac.system.workers import QUIET
from trials import processes
from trials.processes import ran, start
from trials.sweeps import SHORT, ramac_m

PROGRAM = [sys.executable, "-m", "ramac", "-m"]  # a fork would wait for the idle processes of joblib
NIGHTLY = pytest.mark.skipif("RAMAC_CASES" not in os.environ, reason="half a minute: RAMAC_CASES=330, each night")


def attempts(run: Path) -> int:
    """Processes that have trained a run."""
    return (run / "environment.txt").read_text().count("command: ")


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
    assert set(done(grid)) == set(before)
    assert all((path / "summary.json").stat().st_mtime_ns == t for path, t in before.items() if path != victim)
    assert "4 runs, 1 to run" in capfd.readouterr().out
    assert ramac_m(monkeypatch, "actor=gaussian", "seed=range(3)", f"grid_dir={grid}") == 0, (
        "a larger sweep runs what it lacks"
    )
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
    assert "no setting 'actor.steps'; actor has beta, hidden" in capfd.readouterr().out


def test_a_crash_leaves_its_traceback_and_is_tried_again(monkeypatch, capfd):
    def update(self, batch):
        raise RuntimeError("the pencil broke")

    with monkeypatch.context() as broken:
        broken.setattr("ramac.training.trainer.Trainer.update", update)
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
        (["run_dir=here", "seed=0,1"], "run_dir=here is one run's; a sweep takes grid_dir=FOLDER"),
        (["run_dir=here,there"], "run_dir=here,there is one run's; a sweep takes grid_dir=FOLDER"),
        (["seed=0", "grid_dir=g,h"], "grid_dir=g,h makes no runs; choose one"),
        (["seed=0", "device=cpu,cuda"], "device=cpu,cuda makes no runs; choose one"),
        (["seed=0", "threads=1,2"], "threads=1,2 makes no runs; choose one"),
        (["sweep=risks,actors"], "sweep=risks,actors makes no runs; choose one"),
        (["seed=0,1", "device=cdua"], "device=cdua cannot be used here; choose auto, cpu, cuda"),
        (["seed=-1,0"], "seed must be a whole number from 0 to 4294967295, got -1"),
        (["seed=0,1", "log_every=2,0"], "log_every must be a whole number from 1 to 4294967295, got 0"),
        (["seed=0,1", "threads=0"], "threads must be a whole number from 1 to 4096, got 0"),
        (["candidates=0,2"], "candidates must be a whole number from 1.*, got 0"),
        (["seed=0,1", "candidates=2", "temperature=0,-1"], "temperature must be finite and not negative, got -1"),
        (["mode=true,perhaps"], "mode must be true or false, got 'perhaps'"),
        (["hydra/launcher=mine", "hydra.launcher.n_jbos=2"], "no setting 'hydra.launcher.n_jbos'; .*mean 'n_jobs'"),
        (["hydra/launcher=mien"], "no hydra/launcher 'mien'; choose from .*did you mean 'mine'.*the extras joblib"),
        (["hydra/launcher=lacks"], "no hydra/launcher 'nowhere'; .*the extras joblib, slurm and ray"),
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
    assert "sweep=risks is a sweep of runs: ramac -m sweep=risks" in capfd.readouterr().err
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


def test_a_ready_sweep_runs_and_takes_other_values(monkeypatch):
    assert ramac_m(monkeypatch, "sweep=eta", "loss.risk.weight=0,0.3", "actor=gaussian") == 0
    (grid,) = Path("runs").iterdir()
    assert grid.name.startswith("grid-eta-")
    assert len(done(grid)) == 2


def test_a_cell_whose_environment_failed_goes_on_and_one_that_lost_its_numbers_begins_anew(monkeypatch):
    def broken(*_):
        raise OSError("the simulator is gone")

    cells = ("actor=gaussian", "trainer.critic_lr=1e20,1e-3", "critic=mean", "risk=neutral", "grid_dir=g")
    with monkeypatch.context() as context:
        context.setattr("ramac.evaluation.rollout.Evaluation.run", broken)  # its first step was sound
        assert ramac_m(monkeypatch, *cells) == 1
    found = {json.loads(path.read_text())["goes_on"]: path for path in Path("g").glob("*/failed.json")}
    assert set(found) == {True, False}
    assert (found[False].parent / "nan/nan.json").exists()
    assert ramac_m(monkeypatch, *cells) == 1
    assert list(Path("g").glob("*/failed.json")) == [found[False]]
    said = {key: (path.parent / "environment.txt").read_text() for key, path in found.items()}
    assert {key: "resumed after gradient step" in text for key, text in said.items()} == {True: True, False: False}


def test_killed_in_the_middle_and_started_again(tmp_path):
    """SIGKILL after some of six cells: the second start trains the others, none twice."""
    cells = ("actor=gaussian,deterministic", "seed=0,1,2")
    arguments = ["-m", *SHORT, "trainer.steps=40", *cells, "grid_dir=g"]
    process = start(processes.ramac, *arguments)
    deadline = time.monotonic() + 120
    while len(done("g")) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.join()
    first = {path: (path / "summary.json").stat().st_mtime_ns for path in done("g")}
    assert 2 <= len(first) < 6
    again = ran(*arguments)
    assert again.returncode == 0, again.stderr
    assert f"6 runs, {6 - len(first)} to run" in again.stdout
    assert len(done("g")) == 6
    assert all((path / "summary.json").stat().st_mtime_ns == written for path, written in first.items())
    assert all(attempts(path) == 1 for path in first)
    assert all(attempts(path) <= 2 for path in done("g"))


def test_two_processes_share_a_grid():
    arguments = ["-m", *SHORT, "actor=gaussian", "seed=range(6)", "trainer.steps=60", "grid_dir=g"]
    both = [start(processes.ramac, *arguments) for _ in range(2)]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert len(done("g")) == 6
    assert all(attempts(path) == 1 for path in done("g"))


@pytest.mark.parametrize("launcher", ["joblib", pytest.param("submitit_local", marks=NIGHTLY)])
def test_launchers_of_other_processes(launcher):
    cells = ("actor=gaussian", "seed=0,1", "risk=cvar0.1,cvar9")
    arguments = [*PROGRAM, f"hydra/launcher={launcher}", *SHORT, *cells, "grid_dir=g"]
    found = subprocess.run(arguments, capture_output=True, text=True)
    assert found.returncode == 1, found.stderr
    assert len(done("g")) == 2
    assert "alpha must be in (0, 1], got 9.0" in found.stdout
    threads = {json.loads((path / "summary.json").read_text())["threads"] for path in done("g")}
    assert threads == {1}


@NIGHTLY
def test_ray_spreads_over_the_nodes_of_a_cluster():
    """Two nodes of one core each, on this machine: every cell is done and both nodes did some."""
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}  # Ray's least
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        address = f"hydra.launcher.ray.init.address={cluster.address}"
        cells = ("actor=gaussian", "seed=range(4)", "grid_dir=g")
        arguments = [*PROGRAM, "hydra/launcher=ray_cluster", address, *SHORT, *cells]
        found = subprocess.run(arguments, capture_output=True, text=True)
    finally:
        cluster.shutdown()
    assert found.returncode == 0, found.stdout + found.stderr
    assert len(done("g")) == 4
    assert len({json.loads((path / "summary.json").read_text())["host"] for path in done("g")}) == 2


def test_processes_of_a_launcher_share_the_cores(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    joblib = OmegaConf.create({"_target_": "hydra_plugins.hydra_joblib_launcher.JoblibLauncher", "n_jobs": 3})
    assert threads_of(joblib) == 2
    joblib.n_jobs = -1
    assert threads_of(joblib) == 1
    joblib.n_jobs = -5
    assert threads_of(joblib) == 2
    assert threads_of(OmegaConf.create({"_target_": "x.submitit.Launcher", "cpus_per_task": 4})) == 4
    assert threads_of(OmegaConf.create({"_target_": "x.ray.Launcher", "ray": {"remote": {"num_cpus": 5}}})) == 5
    assert threads_of(OmegaConf.create({"_target_": "x.BasicLauncher"})) is None


def test_hydras_own_launcher_gets_one_job_at_a_time_and_none_stops_the_others(tmp_path):
    class Launcher(BasicLauncher):
        def launch(self, job_overrides, initial_job_idx):
            asked.append((list(job_overrides), initial_job_idx))
            failed = initial_job_idx == 5
            status = JobStatus.FAILED if failed else JobStatus.COMPLETED
            return [JobReturn(status=status, _return_value=ValueError("no way") if failed else 1.0)]

    asked, cells = [], [Cell([f"seed={seed}"], f"run{seed}") for seed in range(3)]
    config = OmegaConf.create({"hydra": {"sweep": {"dir": ""}}})
    assert launch(Launcher(), config, Sweep(GridFolder(tmp_path), cells), 5) == "ValueError: no way"
    expected = [([[f"seed={seed}", f"run_dir={tmp_path}/run{seed}"]], 5 + seed) for seed in range(3)]
    assert [([[re.sub("['\"]", "", word) for word in job] for job in jobs], at) for jobs, at in asked] == expected


def test_a_quiet_job_prints_nothing_in_its_own_process(tmp_path, monkeypatch, capsys):
    tell(RunFolder(tmp_path / "run"), "mean 1")
    assert capsys.readouterr().err == "run: mean 1\n"
    monkeypatch.setenv(QUIET, "1")
    tell(RunFolder(tmp_path / "run"), "mean 1")
    assert capsys.readouterr().err == ""
