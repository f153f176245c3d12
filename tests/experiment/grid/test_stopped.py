"""A sweep of several processes that is killed: its jobs save their state, stop, and are resumed by the same command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import ramac
from ramac.experiment.folder import RunFolder
from ramac.system.workers import has_left
from trials import processes
from trials.survival import SMALL, numbers

LONG = ("actor=gaussian", *SMALL[:2], "critic=mean", "risk=neutral", "trainer.batch_size=4", "task.transitions=60",
        "evaluation.episodes=2", "log_every=1", "save_every=0", "trainer.steps=800")  # fmt: skip
JOBLIB = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
SECONDS = 300  # for what takes a few on an idle machine


def until(condition) -> bool:
    """Whether a condition holds before the time is over."""
    end = time.monotonic() + SECONDS
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return bool(found)


def test_a_job_of_a_killed_sweep_saves_its_state_and_is_resumed():
    """SIGKILL, which no process can answer: the job of joblib notices it by itself."""
    process = processes.start(processes.ramac, "-m", *LONG, *JOBLIB, "grid_dir=g")
    begun = lambda: [file.parent for file in Path("g").glob("*/metrics.csv") if file.stat().st_size > 500]  # noqa: E731
    assert until(lambda: begun() or not process.is_alive()) and process.is_alive()
    process.kill()
    process.join()
    (run,) = map(RunFolder, begun())
    assert until(lambda: run.state == "interrupted")
    assert len(list(run.states.iterdir())) == 1
    ramac.sweep(*LONG, grid_dir="g", quiet=True)  # the same one, in this process
    assert "resumed after gradient step" in run.environment_file.read_text()
    ramac.train(*LONG, run_dir="alone", quiet=True)
    assert numbers(run.path) == numbers(Path("alone"))


LEADER = """
import os, sys, time
from ramac.system.workers import leading
with leading("again") as leader:
    print(leader, flush=True)
    time.sleep(60)
"""
JOB = """
import sys, time
from ramac.system.workers import led
with led():
    print("begun", flush=True)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print("saved", flush=True)
"""


def start(code: str, **environment: str) -> "subprocess.Popen[str]":
    """A process of this code."""
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


def test_a_leader_tells_its_jobs_before_it_stops():
    leader = start(LEADER)
    assert leader.stdout is not None
    place = leader.stdout.readline().strip()
    job, stranger = start(JOB, RAMAC_LEADER=place), start(JOB, RAMAC_LEADER="elsewhere" + place)
    for process in (job, stranger):
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
    folder = Path(place.split(":", 2)[2])
    assert not has_left(folder)
    leader.send_signal(signal.SIGTERM)
    assert "Interrupted: stopped by SIGTERM; again" in leader.communicate(timeout=SECONDS)[1]
    assert job.communicate(timeout=SECONDS)[0] == "saved\n"
    assert job.returncode == 143
    assert not folder.exists() and has_left(folder)
    assert stranger.poll() is None, "a leader on another machine cannot be watched"
    stranger.kill()
    stranger.communicate()
    late = start(JOB, RAMAC_LEADER=place)
    assert late.communicate(timeout=SECONDS)[0] == "", "a job that begins after its leader has gone does nothing"
    assert late.returncode == 143
