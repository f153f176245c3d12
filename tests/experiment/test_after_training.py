"""What comes after the updates cannot lose them: rewards that are not finite, figures, plug-ins, loggers, terminals."""

import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest

import ramac
from ramac.errors import optional
from ramac.evaluation.rollout import Evaluation
from ramac.experiment import recorder
from ramac.experiment.objective import value
from ramac.experiment.writers.tables import CSV
from ramac.plotting import return_figure
from ramac.system.signals import Interrupted
from ramac.tasks.bandit import Bandit, BanditEnv
from trials.robustness import attempt
from trials.sweeps import ramac_m

TINY = ("actor=gaussian", "actor.hidden=[8]", "critic=mean", "critic.hidden=[8]", "risk=neutral", "trainer.steps=4",
        "trainer.batch_size=8", "task.transitions=100", "evaluation.episodes=5")  # fmt: skip
FIRST = 3  # call of the first evaluation's first step: two environments were tried out before


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def spoil(monkeypatch, *calls: int, reward: float = math.nan) -> None:
    """Let the bandit's reward be this in some of the calls of `step`."""
    sound, count = BanditEnv.step, itertools.count(1)

    def step(self, action):
        found = sound(self, action)
        return (found[0], reward, *found[2:]) if next(count) in calls else found

    monkeypatch.setattr(BanditEnv, "step", step)


def summary_of(run: str) -> dict:
    """summary.json, read as strict JSON."""

    def refuse(token: str):
        raise AssertionError(f"{token} is no JSON")

    return json.loads(Path(run, "summary.json").read_text(), parse_constant=refuse)


def messages(outcome) -> list[str]:
    return [line for line in outcome.lines if line.startswith("ramac: ")]


@pytest.mark.parametrize("reward", [math.nan, -math.inf])
def test_a_reward_that_is_not_finite_is_a_line_and_a_summary_that_says_so(reward, monkeypatch, tmp_path):
    with monkeypatch.context() as context:
        spoil(context, FIRST + 3, reward=reward)
        outcome = attempt([*TINY, "run_dir=r"], tmp_path)
    reason = f"evaluation after gradient step 4 has no result: the reward is {reward:g} (BanditEnv, episode 3, step 1)"
    assert (outcome.status, outcome.trace) == (1, "")
    assert messages(outcome) == [f"ramac: {reason}; the policy is in r, and ramac eval r evaluates it again"]
    summary = summary_of("r")
    where = {"gradient_step": 4, "episode": 3, "step": 1, "reward": f"{reward:g}"}
    assert summary["failure"] == {"reason": reason, **where}
    assert not {"return_mean", "return_cvar", "episodes", "mass_centre"} & set(summary)
    assert (summary["steps"], summary["behaviour"]["episodes"]) == (4, 100)
    assert ramac.load("r").act(np.zeros(1)).shape == (2,)

    assert attempt(["eval", "r"], tmp_path).status == 0
    assert math.isfinite(json.loads(Path("r/evaluations/again/summary.json").read_text())["return_mean"])
    report = attempt(["report", "r"], tmp_path)
    assert (report.status, report.trace) == (2, "")
    assert reason in messages(report)[0]
    again = attempt([*TINY, "run_dir=r"], tmp_path)
    assert (again.status, messages(again)) == (2, ["ramac: run_dir=r already holds a finished run; name a new folder"])


def test_python_warns_and_returns_the_summary(monkeypatch):
    spoil(monkeypatch, FIRST)
    with pytest.warns(UserWarning, match=r"^r: evaluation after gradient step 4 .*; its summary has no returns$"):
        found = ramac.train(*TINY, run_dir="r", quiet=True)
    assert found["failure"]["episode"] == 0
    assert len(found.rows) == 0


def test_an_evaluation_in_between_does_not_stop_the_training(monkeypatch, tmp_path):
    ramac.train(*TINY, run_dir="sound", quiet=True)
    with monkeypatch.context() as context:
        spoil(context, FIRST + 1)
        text = (
            r"gradient step 2 has no result: the reward is nan \(BanditEnv, episode 1, step 1\); the training goes on"
        )
        with pytest.warns(UserWarning, match=text):
            outcome = attempt([*TINY, "run_dir=r", "evaluation.every=2"], tmp_path)
    assert (outcome.status, outcome.trace) == (0, "")
    assert summary_of("r")["return_mean"] == summary_of("sound")["return_mean"]
    assert summary_of("r")["checkpoint"]["best"]["step"] == 4
    assert Path("r/metrics.csv").read_text() == Path("sound/metrics.csv").read_text()


def test_an_average_over_checkpoints_needs_all_of_them(monkeypatch, tmp_path):
    spoil(monkeypatch, FIRST)
    words = [*TINY, "run_dir=r", "evaluation.every=2", "evaluation.average=2"]
    assert attempt(words, tmp_path).status == 1
    assert summary_of("r")["failure"]["gradient_step"] == 2
    assert "return_mean" not in summary_of("r")


def test_a_sweep_tells_it_and_does_not_train_again(monkeypatch, capfd):
    spoil(monkeypatch, FIRST)
    words = (*TINY[1:], "actor=gaussian", "critic=mean", "seed=0,1", "grid_dir=g")
    for _ in range(2):
        assert ramac_m(monkeypatch, *words) == 1
        said = capfd.readouterr().out
        assert "failed: " in said and "the reward is nan" in said
    assert all(path.read_text().count("command: ") == 1 for path in Path("g").glob("*/environment.txt"))
    assert value({"failure": {}, "wall_seconds": 3.0}, "wall_seconds") is math.nan


def fails(*_, **__):
    raise OSError(28, "No space left on device")


LEFT_OUT = {  # what fails, what is said, what is missing in the summary
    "figure": ((Bandit.report.__globals__, "figure"), r"^bandit.png left out: OSError: ", set()),
    "report": (
        (Bandit, "report"),
        "^figures of task=bandit, and mass_centre, mass_ring, mass_off_support, mass_rare of summary.json left out: OS",
        {"mass_centre", "mass_ring", "mass_off_support", "data_mass_centre", "data_mass_ring", "data_mass_off_support"},
    ),
    "statistics": (
        (Evaluation, "summary"),
        "^the statistics of the returns left out: OSError",
        {"episodes", "intervals", "hazard_rate", "penalties"}
        | {f"return_{name}" for name in ("mean", "std", "min", "trimmed_mean", "cvar")},
    ),
    "cost": (
        (recorder, "evaluations_per_update"),
        "^evaluations_per_update of summary.json left out: OSError",
        {"evaluations_per_update"},
    ),
    "finish of csv": ((CSV, "finish"), "^the summary of the loggers left out: OSError", set()),
    "close of csv": ((CSV, "close"), "^the end of a logger left out: OSError", set()),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> set[str]:
    """The keys of a sound run's summary."""
    return set(ramac.train(*TINY, run_dir=str(tmp_path_factory.mktemp("sound") / "r"), quiet=True).summary)


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_fails_after_the_updates_is_left_out(kind, monkeypatch, sound):
    (where, name), text, missing = LEFT_OUT[kind]
    (monkeypatch.setitem if isinstance(where, dict) else monkeypatch.setattr)(where, name, fails)
    with pytest.warns(UserWarning, match=text):
        found = ramac.train(*TINY, run_dir="r", quiet=True)
    assert sound - set(found.summary) == missing
    assert {**summary_of("r"), "run_dir": "r"} == found.summary
    assert not Path("r/states").exists()


def test_a_figure_that_fails_leaves_nothing_half_written(monkeypatch):
    def savefig(self, path, **_):
        Path(path).write_bytes(b"x")
        raise ZeroDivisionError

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    with pytest.warns(UserWarning, match="bandit.png left out: ZeroDivisionError"):
        ramac.train(*TINY, run_dir="r", quiet=True)
    assert not [path.name for path in Path("r").iterdir() if "png" in path.name]


@pytest.mark.parametrize("error", [UnicodeEncodeError("ascii", "±", 0, 1, "no"), OSError(28, "full"), KeyError("x")])
def test_a_terminal_that_fails_does_not_fail_the_run(error, monkeypatch, tmp_path):
    def show(_):
        raise error

    monkeypatch.setattr("ramac.cli._results.show", show)
    with pytest.warns(UserWarning, match=f"^the result of r cannot be shown: {type(error).__name__}: .*json has it$"):
        outcome = attempt([*TINY, "run_dir=r"], tmp_path)
    assert (outcome.status, outcome.trace) == (0, "")
    assert "return_mean" in summary_of("r")


def test_an_environment_that_fails_its_first_step_leaves_nothing(monkeypatch, tmp_path):
    spoil(monkeypatch, 1)
    outcome = attempt([*TINY, "run_dir=r"], tmp_path)
    line = "ramac: the environment cannot be used: the reward is nan (BanditEnv, episode 0, step 1)"
    assert (outcome.status, messages(outcome), outcome.left) == (2, [line], set())


def test_numbers_of_a_summary_are_plain():
    found = recorder.plain(
        {1: np.float32(2), "a": [np.inf, np.nan, (np.int64(3), np.True_)], "b": np.ones(2), "c": Path("x")}
    )
    assert found == {"1": 2.0, "a": [None, None, [3, True]], "b": [1.0, 1.0], "c": "x"}
    assert type(found["1"]) is float and type(found["a"][2][0]) is int


BACKENDS = """
import os, pathlib, sys
import numpy
import ramac.system.files  # slow to import, and without matplotlib
assert "matplotlib" not in sys.modules
for backend in sys.argv[1:]:
    if os.fork() == 0:
        os.environ["MPLBACKEND"] = backend
        from ramac.plotting import return_figure
        return_figure(numpy.arange(9.), numpy.arange(9.), 3, "title", pathlib.Path("x.png"))
        import matplotlib
        start = pathlib.Path("x.png").read_bytes()[1:4]
        print(os.environ["MPLBACKEND"], matplotlib.get_backend(auto_select=False), start)
        break
    assert os.wait()[1] == 0
"""


def test_an_unusable_backend_does_not_matter_and_is_left_as_it_is():
    backends = ["TkAgg", "module://gone.backend", "Qt4Agg"]
    done = subprocess.run([sys.executable, "-c", BACKENDS, *backends], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept = [*backends[:2], None]  # matplotlib does not know Qt4Agg
    assert done.stdout.splitlines() == [f"{name} {left} b'PNG'" for name, left in zip(backends, kept, strict=True)]


def test_figures_do_not_depend_on_the_users_style():
    returns = np.random.default_rng(0).normal(size=50)
    with matplotlib.rc_context({"text.usetex": True, "figure.dpi": 10, "savefig.bbox": "tight", "lines.linewidth": 9}):
        return_figure(returns, returns, 3, "title", Path("a.png"))
        assert matplotlib.rcParams["text.usetex"]
    return_figure(returns, returns, 3, "title", Path("b.png"))
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_a_signal_is_not_left_out():
    with pytest.raises(Interrupted), optional("a figure"):
        raise Interrupted("stopped", 2)


@pytest.mark.filterwarnings("error")
def test_a_warning_that_is_an_error_loses_nothing_either(capsys):
    with optional("a figure"):
        raise OSError("gone")
    assert capsys.readouterr().err == "ramac: a figure left out: OSError: gone\n"
