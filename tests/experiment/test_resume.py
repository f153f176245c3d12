"""Interrupted runs that are resumed: with the numbers of a run that was never interrupted, byte for byte."""

import os
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

import ramac
from ramac.cli.resume import main as command
from ramac.errors import InputError, RunStopped
from ramac.experiment.progress import Progress
from ramac.system.signals import Interrupted
from ramac.tasks.bandit import BanditEnv
from ramac.training.trainer import Trainer
from trials import processes, survival
from trials.datasets import arrays, write_d4rl

SHORT = (*survival.SMALL, "trainer.steps=12", "evaluation.episodes=5", "log_every=2", "save_every=4",
         "evaluation.every=6")  # fmt: skip


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch, small_figures):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """`alone`, a finished run of SHORT, and `run`, the same one interrupted after gradient step 7."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ramac.train(*SHORT, "run_dir=alone")
        end(patch, 7, *SHORT)
    return folder


@pytest.fixture
def alone(made) -> dict[str, bytes]:
    """Numbers of a run of SHORT that was never interrupted."""
    return survival.numbers(made / "alone")


@pytest.fixture
def interrupted(made) -> Path:
    """A run of SHORT that was interrupted after gradient step 7, here as `run`."""
    return shutil.copytree(made / "run", Path("run"))


def after(monkeypatch, count: int, event) -> None:
    """Let something happen at the end of an update, once."""
    update, calls = Trainer.update, [0]

    def watched(self, batch):
        metrics = update(self, batch)
        calls[0] += 1
        if calls[0] == count:
            event(self)
        return metrics

    monkeypatch.setattr(Trainer, "update", watched)


def end(monkeypatch, count: int, *overrides: str, number: int = signal.SIGTERM) -> str:
    """Interrupt `run_dir=run` after so many updates; returns what is said."""
    with monkeypatch.context() as context:
        after(context, count, lambda _: os.kill(os.getpid(), number))
        with pytest.raises(Interrupted) as caught:
            ramac.train(*overrides, "run_dir=run")
    assert caught.value.status == 128 + number
    return str(caught.value)


CELLS = {
    "a bit of everything": survival.CELL,
    "the defaults": (),
    "a delay and no actor yet": ("recipe=td3bc", "trainer.delay=5"),
    "a value network": ("recipe=iql",),
    "multipliers": ("recipe=cql",),
    "denoising": ("recipe=dql", "loss.risk.warmup=0"),
    "a student": ("recipe=fql",),
    "constant rates": ("trainer.schedule=constant", "actor=gaussian", "critic=fqf"),
    "renewed thresholds of a dial": (
        "task=chain",
        "actor=gaussian",
        "critic=qr8",
        "risk=cvar",
        "risk.alpha=[0.1,0.5]",
        "risk.horizon=episode",
        "risk.renewals=3",
    ),
    "a mean over checkpoints": ("actor=gaussian", "evaluation.average=2"),
    "several seeds": ("seeds=2", "recipe=td3bc", "trainer.delay=3", "loss.bc.budget=0.1"),
}


@pytest.mark.parametrize("kind", CELLS)
def test_an_interrupted_run_ends_with_the_same_numbers(kind, monkeypatch):
    small = [o for o in SHORT if not o.startswith("critic.head") or kind in ("a bit of everything", "the defaults")]
    overrides = (*CELLS[kind], *small)
    ramac.train(*overrides, "run_dir=alone")
    said = end(monkeypatch, 7, *overrides)
    assert said.startswith("stopped by SIGTERM; the same command") and said.endswith("resumes after gradient step 7")
    ramac.train(*overrides, "run_dir=run")
    expected, found = survival.numbers(Path("alone")), survival.numbers(Path("run"))
    assert len(expected) == (12 if kind == "several seeds" else 6)
    assert found == expected
    assert not list(Path("run").rglob("states")), "a finished run needs no states"


def test_a_resumed_run_is_scored_over_checkpoints_it_has_not_seen(monkeypatch):
    """Interrupted after the evaluations at 6 and 9 of 12 gradient steps, of which it averages three."""
    overrides = (*SHORT, "actor=gaussian", "evaluation.every=3", "evaluation.average=3")
    alone = ramac.train(*overrides, "run_dir=alone").summary
    end(monkeypatch, 10, *overrides)
    resumed = ramac.train(*overrides, "run_dir=run").summary
    assert list(alone["checkpoint"]["return_means"]) == ["6", "9", "12"]
    took = {"threads", "host", "updates_per_second", "wall_seconds", "run_dir"}
    assert {k: v for k, v in resumed.items() if k not in took} == {k: v for k, v in alone.items() if k not in took}


def test_the_folder_of_an_interrupted_run_is_found_without_its_name(monkeypatch, capsys):
    with monkeypatch.context() as context:
        after(context, 5, lambda _: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted):
            ramac.train(*SHORT, "actor=gaussian")
    other = ramac.train(*SHORT, "actor=gaussian", "risk=cvar", "risk.alpha=0.1", "trainer.clip=4")
    assert other["run_dir"].endswith("-2"), "another configuration takes another folder"
    assert ramac.train(*SHORT, "actor=gaussian")["run_dir"] == "runs/bandit-gaussian-iqn-cvar0.1-seed0"
    assert "resumed after gradient step 5; run_dir=NEW starts anew" in capsys.readouterr().err


def test_other_settings_are_another_run(interrupted):
    before = survival.numbers(Path("run"))
    with pytest.raises(InputError, match=r"already holds another run, with actor.steps=5, not 6; name a new folder"):
        ramac.train(*SHORT, "run_dir=run", "actor.steps=6")
    with pytest.raises(InputError, match="already holds another run, with seed=0, not 1"):
        ramac.train(*SHORT, "run_dir=run", "seed=1")
    assert survival.numbers(Path("run")) == before
    ramac.train(*SHORT, "run_dir=run", "save_last=1", "threads=1")
    with pytest.raises(InputError, match="already holds a finished run"):
        ramac.train(*SHORT, "run_dir=run")


def test_of_several_seeds_the_finished_ones_are_not_trained_again(monkeypatch):
    several = (*SHORT, "seeds=2", "actor=deterministic")
    ramac.train(*SHORT, "actor=deterministic", "seed=0", "run_dir=alone/seed0")
    ramac.train(*SHORT, "actor=deterministic", "seed=1", "run_dir=alone/seed1")
    assert "seed1 resumes after gradient step 5" in end(monkeypatch, 12 + 5, *several)
    written = Path("run/seed0/summary.json").stat().st_mtime_ns
    found = ramac.train(*several, "run_dir=run")
    assert [run["seed"] for run in found["runs"]] == [0, 1]
    assert Path("run/seed0/summary.json").stat().st_mtime_ns == written
    assert survival.numbers(Path("run")) == survival.numbers(Path("alone")), "each as if it had been trained alone"
    assert ramac.train(*several, "run_dir=run")["runs"] == found["runs"]
    with pytest.raises(InputError, match="run_dir=run/seed0 already holds a finished run"):
        ramac.train(*several, "run_dir=run", "trainer.clip=4")


def test_a_state_of_seeds_that_were_trained_as_one_is_used_with_a_warning(monkeypatch):
    with monkeypatch.context() as context:
        context.setattr("ramac.experiment.run.Progress", partial(Progress, together=2))  # as version 0.1 did
        end(monkeypatch, 7, *SHORT)
    with pytest.warns(UserWarning, match="began with 2 seeds as one, now alone: numbers may round differently"):
        assert command(["run"]) == 0


DAMAGE = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "a bit of the header": lambda content: flipped(content, 40),
    "a bit of the numbers": lambda content: flipped(content, len(content) * 3 // 4),
}


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("which", ["the last", "all"])
def test_a_damaged_state_is_told_and_the_one_before_is_used(kind, which, alone, interrupted, capsys):
    assert sorted(path.name for path in Path("run/states").iterdir()) == ["6.safetensors", "7.safetensors"]
    for name in ("7", "6")[: 1 if which == "the last" else 2]:
        path = Path("run/states", f"{name}.safetensors")
        path.write_bytes(DAMAGE[kind](path.read_bytes()))
    with pytest.warns(UserWarning, match="a training state cannot be used, the one before it is: .*7.safetensors"):
        ramac.train(*SHORT, "run_dir=run")
    assert ("resumed after gradient step 6" in capsys.readouterr().err) == (which == "the last")
    assert survival.numbers(Path("run")) == alone


def test_rows_that_are_lost_make_a_state_useless(alone, interrupted):
    os.truncate("run/metrics.csv", 30)
    with pytest.warns(UserWarning, match="metrics.csv has lost rows"):
        ramac.train(*SHORT, "run_dir=run")
    assert survival.numbers(Path("run")) == alone


@pytest.mark.parametrize("seed", [0, 1] if "RAMAC_CASES" in os.environ else [0])  # each night, each day
def test_kills_at_random_moments(seed):
    """`python scripts/survival.py kills` makes fifty."""
    found = survival.kills(count := 15 if "RAMAC_CASES" in os.environ else 8, seed)
    assert sum(found.values()) == count
    early = found["before the folder was ready"] + found["before the first state"]
    assert found["after a state"] > count // 5 and early > 0, found


def test_a_full_disk_while_a_state_is_written(alone, monkeypatch):
    write = Path.write_bytes

    def fill(_: Trainer) -> None:
        context.setattr(Path, "write_bytes", lambda path, data: write(Path("/dev/full"), data))

    with monkeypatch.context() as context:
        after(context, 7, fill)
        with pytest.raises(
            RunStopped, match=r"run cannot be written: No space left on device; .* after gradient step 6$"
        ):
            ramac.train(*SHORT, "run_dir=run")
    assert sorted(path.name for path in Path("run/states").iterdir()) == ["4.safetensors", "6.safetensors"]
    ramac.train(*SHORT, "run_dir=run")
    assert survival.numbers(Path("run")) == alone


def test_an_environment_that_raises(alone, monkeypatch):
    sound, steps = BanditEnv.step, []

    def broken(self, action):
        steps.append(action)
        if len(steps) <= 2:  # before the first update, one step of two environments
            return sound(self, action)
        raise OSError("the simulator is gone")

    with monkeypatch.context() as context:
        context.setattr(BanditEnv, "step", broken)
        with pytest.raises(
            RunStopped, match=r"step 6 failed: OSError: the simulator is gone \(BanditEnv, episode 0, step 1\); .* 6$"
        ):
            ramac.train(*SHORT, "run_dir=run")
    assert "in broken" in Path("run/traceback.txt").read_text()
    ramac.train(*SHORT, "run_dir=run")
    assert not Path("run/traceback.txt").exists()
    assert survival.numbers(Path("run")) == alone


def test_a_loss_that_is_nan_names_its_term_and_keeps_its_batch(monkeypatch):
    def spoiled(trainer: Trainer) -> None:  # data that went bad after they were read
        trainer.data["next", "reward"][:] = float("nan")

    after(monkeypatch, 8, spoiled)
    with pytest.raises(
        FloatingPointError, match="loss_td is nan at gradient step 9; the run in run stops here, that batch"
    ):
        ramac.train(*SHORT, "run_dir=run", "log_every=100")
    batch = load_file("run/nan/batch.safetensors")
    assert batch["action"].shape == (32, 2) and batch["next.reward"].isnan().all()
    assert '"name": "loss_td"' in Path("run/nan/nan.json").read_text()
    assert sorted(path.stem for path in Path("run/states").iterdir()) == ["6", "8"]
    for path in Path("run/states").iterdir():
        with safe_open(path, "pt") as file:
            assert all(file.get_tensor(name).isfinite().all() for name in file.keys())  # noqa: SIM118


def test_data_that_have_changed_or_are_gone_leave_the_run_alone(monkeypatch):
    path = Path(write_d4rl(Path("mine.hdf5"), **arrays(60, 3, 1)))
    task = ("task=gymnasium", "task.environment=Pendulum-v1", "task.horizon=3", f"data={path}")
    task += tuple(override for override in SHORT if not override.startswith("task."))
    ramac.train(*task, "run_dir=alone")
    end(monkeypatch, 7, *task)
    before, sound = {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()}, path.read_bytes()
    path.rename("away.hdf5")
    with pytest.raises(InputError, match=r"run: its data are not in /.*/mine\.hdf5; ramac resume run data=PLACE"):
        command(["run"])
    write_d4rl(path, **{**arrays(60, 3, 1), "rewards": np.ones(60, np.float32)})
    with pytest.raises(InputError, match="run_dir=run: gradient step 7 was reached with other data than there are now"):
        ramac.train(*task, "run_dir=run")
    assert {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()} == before
    path.write_bytes(sound)
    assert command(["run"]) == 0
    assert survival.numbers(Path("run")) == survival.numbers(Path("alone"))


def test_two_processes_cannot_train_one_run():
    overrides = [*SHORT, "trainer.steps=100000", "task.steps=100000", "run_dir=run"]
    first = processes.start(processes.ramac, *overrides, output=("out.txt", "err.txt"))
    until = time.time() + 120
    while not Path("run/states").exists() and time.time() < until:
        time.sleep(0.05)
    with pytest.raises(InputError, match="run_dir=run: another process is writing into it"):
        ramac.train(*overrides)
    assert first.is_alive()
    os.kill(first.pid, signal.SIGINT)
    first.join(60)
    assert first.exitcode == 130
    said = Path("err.txt").read_text().splitlines()[-1]
    assert said.startswith(
        "ramac: stopped by SIGINT; the same command or ramac resume run resumes after gradient step "
    )


def test_the_best_policy_is_kept_beside_the_last(monkeypatch):
    returns = {6: 1.0, 12: 3.0, 18: 2.0}

    def step(self, action):
        return [0.0], returns[current[0]], True, False, {}

    current = [6]
    monkeypatch.setattr(BanditEnv, "step", step)
    for count, now in ((7, 12), (13, 18)):
        after(monkeypatch, count, lambda _, now=now: current.__setitem__(0, now))
    summary = ramac.train(*SHORT, "run_dir=run", "trainer.steps=18")
    assert summary["checkpoint"] == {"step": 18, "rule": "last", "best": {"step": 12, "risk": pytest.approx(3)}}
    assert [path.name for path in Path("run/checkpoints").iterdir()] == ["12"]
    assert ramac.load("run/checkpoints/12").act([[0.0]]).shape == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is no run folder: nowhere/config.yaml does not exist"),
        (["run"], "run is a finished run: nothing is left to do"),
        (["run", "actor=ddpm"], "resume has no setting 'actor'; choose from threads, device, save_every, save_last"),
        (["run", "thread=2"], "resume has no setting 'thread'; .*did you mean 'threads'"),
        (["grid"], "grid is a sweep: its own command"),
        (["run", "threads=["], r"threads: '\[' is no value"),
    ],
)
def test_what_cannot_be_resumed_is_refused(arguments, message, made):
    shutil.copytree(made / "alone", "run")
    Path("grid").mkdir()
    Path("grid/grid.json").write_text("{}")
    with pytest.raises(InputError, match=message):
        command(arguments)


def test_evaluation_and_states_do_not_change_training():
    plain = [override for override in SHORT if not override.startswith(("evaluation.every", "save_every"))]
    ramac.train(*plain, "save_every=0", "run_dir=a")
    ramac.train(*plain, "save_every=1", "evaluation.every=1", "run_dir=b")
    assert Path("a/metrics.csv").read_bytes() == Path("b/metrics.csv").read_bytes()
    assert Path("a/checkpoint/agent.safetensors").read_bytes() == Path("b/checkpoint/agent.safetensors").read_bytes()


def test_deterministic_algorithms_are_asked_for(monkeypatch):
    found = []
    after(monkeypatch, 3, lambda _: found.append(torch.are_deterministic_algorithms_enabled()))
    ramac.train(*SHORT, "deterministic=true", "run_dir=a")
    assert found == [True]
    with pytest.raises(InputError, match="deterministic must be true or false, got 'x'"):
        ramac.train(*SHORT, "deterministic=x", "run_dir=b")
