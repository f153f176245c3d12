"""A sweep of several processes that is killed: its jobs save their state, stop, and are resumed by the same command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ramac.experiment.folder import RunFolder
from ramac.system.workers import has_left
from trials.survival import SMALL, numbers

RUN = [sys.executable, "-m", "ramac"]
LONG = ("actor=gaussian", *SMALL[:2], "critic=mean", "risk=neutral", "trainer.batch_size=4", "task.transitions=60",
        "evaluation.episodes=2", "log_every=1", "save_every=0", "trainer.steps=1500")  # fmt: skip
JOBLIB = ("seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "grid_dir=g")
SECONDS = 60  # for what takes two on an idle machine


def until(condition) -> bool:
    """Whether a condition holds before the time is over."""
    end = time.monotonic() + SECONDS
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return bool(found)


def folders() -> list[RunFolder]:
    return [RunFolder(path.parent) for path in Path("g").glob("*/config.yaml")]


def test_jobs_of_a_killed_sweep_save_their_state_and_are_resumed():
    """SIGKILL, which no process can answer: the jobs notice it by themselves."""
    process = subprocess.Popen([*RUN, "-m", *LONG, *JOBLIB], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    begun = lambda: len([run for run in folders() if run.metrics_file.stat().st_size > 500]) == 2  # noqa: E731
    assert until(begun)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert until(lambda: all(run.state == "interrupted" for run in folders())), [run.state for run in folders()]
    assert all(len(list(run.states.iterdir())) == 1 for run in folders())
    again = subprocess.run([*RUN, "-m", *LONG, *JOBLIB[:1], JOBLIB[-1]], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    for run in folders():
        assert "resumed after gradient step" in run.environment_file.read_text()
    subprocess.run([*RUN, *LONG, "run_dir=alone"], check=True, capture_output=True)
    (first,) = (run for run in folders() if "seed0" in run.path.name)
    assert numbers(first.path) == numbers(Path("alone"))


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
