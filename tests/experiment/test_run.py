"""Runs from the outside: the run folder, the command line, and what bad input says."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ramac
from ramac.errors import InputError
from ramac.experiment.compose import compose
from ramac.experiment.run import Build
from trials.processes import ran
from trials.robustness import attempt

ROOT = Path(__file__).parents[2]
SHORT = ("trainer.steps=4", "evaluation.episodes=10", "log_every=2")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    monkeypatch.delenv("RAMAC_POLICIES", raising=False)


def command(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    return ran(*arguments, COLUMNS="160", **variables)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_run_folder_explains_itself():
    summary = ramac.train(*SHORT, "run_dir=here")
    folder = Path("here")
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml", "metrics.csv", "episodes.csv", "summary.json", "checkpoint", "environment.txt", "bandit.png",
    }  # fmt: skip
    written = json.loads((folder / "summary.json").read_text())
    asked = "task actor critic risk seed steps device episodes return_mean return_std return_min"
    asked += " return_trimmed_mean return_cvar intervals checkpoint hazard_rate evaluations_per_update threads"
    asked += " updates_per_second wall_seconds"
    asked += " mass_centre mass_ring mass_off_support"
    assert set(asked.split()) <= set(written)
    assert (written["actor"], written["critic"], written["risk"], written["steps"]) == ("flow", "iqn", "cvar0.1", 4)
    assert list(written["return_cvar"]) == ["0.05", "0.1", "0.25"]
    assert written["mass_centre"] + written["mass_ring"] + written["mass_off_support"] == pytest.approx(1)
    assert {**written, "run_dir": "here"} == dict(summary)
    assert len(rows(folder / "episodes.csv")) == 10
    assert {row["name"] for row in rows(folder / "metrics.csv")} >= {"loss_td", "loss_bc", "loss_risk"}
    assert {row["step"] for row in rows(folder / "metrics.csv")} == {"2", "4"}
    assert "torch: " in (folder / "environment.txt").read_text()
    action = ramac.load("here").act(np.zeros((5, 1), np.float32))
    assert action.shape == (5, 2)


def test_the_same_seed_gives_the_same_numbers():
    one, two, other = (
        ramac.train(*SHORT, f"seed={seed}", f"run_dir={name}") for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert rows(Path("a/metrics.csv")) == rows(Path("b/metrics.csv"))
    assert rows(Path("a/episodes.csv")) == rows(Path("b/episodes.csv"))
    assert one["return_mean"] == two["return_mean"] != other["return_mean"]


def test_evaluation_in_between_does_not_change_training():
    ramac.train(*SHORT, "run_dir=a")
    ramac.train(*SHORT, "run_dir=b", "evaluation.every=2")
    assert rows(Path("a/metrics.csv")) == rows(Path("b/metrics.csv"))
    assert {row["step"] for row in rows(Path("b/episodes.csv"))} == {"2", "4"}


def test_a_run_is_scored_over_its_last_checkpoints():
    summary = ramac.train(*SHORT, "run_dir=a", "evaluation.every=1", "evaluation.average=3").summary
    found = {}
    for row in rows(Path("a/episodes.csv")):
        found.setdefault(row["step"], []).append(float(row["return"]))
    assert list(found) == ["1", "2", "3", "4"]
    last = [found[step] for step in ("2", "3", "4")]
    assert summary["return_mean"] == pytest.approx(np.mean(last))
    assert summary["return_cvar"]["0.1"] == pytest.approx(np.sort(np.ravel(last))[:3].mean())
    assert summary["episodes"] == 30
    means = {step: np.mean(found[step]) for step in ("2", "3", "4")}
    assert summary["checkpoint"].pop("best")["step"] in (1, 2, 3, 4)
    assert summary["checkpoint"] == {
        "step": 4, "rule": "mean over the last 3 evaluated", "return_means": pytest.approx(means),
    }  # fmt: skip


def test_as_many_checkpoints_as_a_run_evaluates_can_be_averaged():
    """4 gradient steps, every 3: evaluated after 3 and, at the end, after 4."""
    summary = ramac.train(*SHORT, "evaluation.every=3", "evaluation.average=2").summary
    assert list(summary["checkpoint"]["return_means"]) == ["3", "4"]


def test_a_loaded_agent_acts_as_the_saved_one():
    import torch

    ramac.train(*SHORT, "run_dir=a", "actor=ddpm", "risk=wang-0.5")
    agent = ramac.load("a/checkpoint")
    assert (type(agent.actor).__name__, agent.risk.eta) == ("DDPM", -0.5)
    again = ramac.load("a")
    torch.manual_seed(0)
    first = agent.act(np.zeros((3, 1)))
    torch.manual_seed(0)
    assert np.array_equal(first, again.act(np.zeros((3, 1))))


def test_default_folders_are_numbered():
    first, second = (ramac.train(*SHORT, "actor=deterministic", "critic=mean", "risk=neutral") for _ in range(2))
    assert first["run_dir"] == "runs/bandit-deterministic-mean-neutral-seed0"
    assert second["run_dir"] == first["run_dir"] + "-2"


def test_behaviour_cloning_needs_no_risk():
    summary = ramac.train(*SHORT, "loss=[bc]", "actor=gaussian", "loss.bc.weight=2", "run_dir=a")
    assert summary["loss"] == ["bc"]


def test_hopper_end_to_end(tmp_path):
    from trials.datasets import write_policy

    for name in ("low", "high"):
        write_policy(tmp_path / f"{name}.npz")
    folder = (f"task.policies={tmp_path}", "task.behaviour=[low,high]")
    task = ("task=hopper-medium-expert", *folder, "task.transitions=300")
    summary = ramac.train(*SHORT, *task, "actor=ddpm", "run_dir=a")
    assert summary["task"] == "hopper-medium-expert"
    assert Path("a/returns.png").stat().st_size > 10_000
    assert {"return_mean", "return_cvar", "episodes"} <= set(summary["behaviour"])
    assert summary["hazard_rate"] >= 0
    assert {"rate", "standard_error", "data", "uniform", "states", "nominal", "paper", "curve"} < set(summary["ood"])
    assert json.loads(Path("a/summary.json").read_text())["ood"] == summary["ood"]
    assert summary["score"] == pytest.approx(100 * (summary["return_mean"] + 20.272305) / (3234.3 + 20.272305))
    assert ramac.load("a").act(np.zeros(11)).shape == (3,)


def test_command_trains_and_ends_with_a_table():
    done = command(*SHORT, "run_dir=here", "risk=cvar", "risk.alpha=0.3")
    assert done.returncode == 0, done.stderr
    assert "CVaR 0.1" in done.stdout
    assert "outside the data" in done.stdout
    assert "ramac report here here-neutral --by risk" in done.stdout
    assert json.loads(Path("here/summary.json").read_text())["risk"] == "cvar0.3"


def test_sweep_runs_every_combination():
    done = command("-m", *SHORT, "actor=flow2,gaussian", "loss=[td,bc],[td,bc,risk]", "critic=qr")
    assert done.returncode == 0, done.stderr
    cells = [json.loads(path.read_text()) for path in Path("runs").glob("grid-*/*/summary.json")]
    found = {(cell["actor"], "+".join(cell["loss"])) for cell in cells}
    assert found == {(a, loss) for a in ("flow2", "gaussian") for loss in ("td+bc", "td+bc+risk")}


BAD = {
    "unknown entry": (["actor=flwo"], "no actor 'flwo'; choose from .*did you mean 'flow'"),
    "unknown entry in a sweep": (["-m", "actor=flow,flwo"], "no actor 'flwo'"),
    "no entry": (["risk=null"], "risk needs an entry; choose from cpw"),
    "ascent": (["trainer.clip=-1"], "clip must be positive, got -1.0"),
    "width": (["actor.hidden=[-3]"], "hidden must be at least 1, got -3"),
    "seed of the evaluation": (["evaluation.seed=-1"], "seed must be at least 0, got -1"),
    "an average of one": (
        ["evaluation.average=5", "trainer.steps=20"],
        "average=5: with evaluation.every=0 and 20 gradient steps a run is evaluated 1 time; .* from 1 to 4$",
    ),
    "an average of too few": (
        ["evaluation.average=4", "evaluation.every=7", "trainer.steps=20"],
        "every=7 and 20 gradient steps a run is evaluated 3 times; choose evaluation.every from 1 to 6$",
    ),
    "an average without steps": (
        ["evaluation.average=4", "evaluation.every=1", "trainer.steps=3"],
        "every=1 and 3 gradient steps a run is evaluated 3 times; choose evaluation.average from 1 to 3$",
    ),
    "no terms": (["loss=[]"], "trains nothing; choose from awr, bc, "),
    "unknown term": (["loss=[td,bcc]"], "no loss 'bcc'; choose from awr, .*did you mean 'bc'"),
    "wrong type": (["risk.alpha=x"], "risk=cvar: alpha must be a number, or two as a range, got 'x'"),
    "wrong type of a setting": (["seed=x"], "seed must be a whole number from 0 to 4294967295, got 'x'"),
    "out of range": (["risk=cvar1.5"], r"alpha must be in \(0, 1\], got 1.5"),
    "zero": (["risk=cvar", "risk.alpha=0"], r"alpha must be in \(0, 1\], got 0.0"),
    "unknown argument": (["actor.stepz=3"], "no setting 'actor.stepz'; actor has steps.*did you mean 'steps'"),
    "argument of another entry": (
        ["actor=gaussian", "actor.steps=3"],
        "no setting 'actor.steps'; actor has beta, hidden",
    ),
    "unknown setting": (["actr=flow"], "no setting 'actr'.*did you mean 'actor'"),
    "unknown choice": (
        ["actor.solver=heun"],
        r"actor.solver: Invalid value 'heun', expected one of \[midpoint, euler, rk4, dopri5, tsit5\]",
    ),
    "grammar": (["risk=cvar(0.1)"], "risk=cvar.0.1.*group=entryNUMBER"),
    "missing policies folder": (
        ["task=hopper-medium-expert", "task.policies=nowhere", "task.behaviour=[low]"],
        "folder 'nowhere' does not exist",
    ),
    "missing data": (["task=hopper-medium-expert", "data=nowhere.hdf5"], "no file 'nowhere.hdf5'"),
    "data without a place": (["data=a/b-v0"], "Bandit makes its own data; data= goes with task=gymnasium"),
    "hazard": (["task=hopper-mixed", "hazard=pose", "hazard.penalty=5"], "hazard=pose: penalty .* at most 0, got 5"),
    "version": (
        ["task=hopper-mixed", "task.hazard=v2"],
        r"task.hazard: Invalid value 'v2', expected one of \[v1, ramac",
    ),
    "device": (["device=meta"], "device=meta cannot be used here"),
    "a grid explained": (["--explain", "sweep=critics"], "sweep=critics is a sweep of runs: ramac -m sweep=critics"),
    "Hydra's settings": (["hydra.rn.dir=x"], "no setting 'hydra.rn'; hydra has .*did you mean 'run'"),
    "unknown command": (["resum", "here"], "no command 'resum'; there are data, .*did you mean 'resume'"),
    "unknown group": (["list", "actr"], "no group 'actr'.*did you mean 'actor'"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_clear_line(kind, tmp_path):
    arguments, message = BAD[kind]
    outcome = attempt(arguments, tmp_path)
    assert (outcome.status, outcome.trace) == (2, "")
    (line,) = outcome.lines
    assert line.startswith("ramac: ")
    assert re.search(message, line), line
    written = {path for path in outcome.left if Path(path).is_file()}
    assert {Path(path).name for path in written} <= ({"multirun.yaml"} if "-m" in arguments else set())


def test_bad_input_ends_a_process_with_status_2():
    done = subprocess.run([sys.executable, "-m", "ramac", "risk=cvar1.5"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "ramac: risk=cvar: alpha must be in (0, 1], got 1.5\n"


def test_a_taken_run_dir_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="already holds something"):
        ramac.train(*SHORT, f"run_dir={tmp_path}")
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_bad_data_write_nothing(tmp_path):
    from trials.datasets import store

    dataset = store(change=lambda parts: parts["rewards"].__setitem__(0, np.nan))
    with pytest.raises(InputError, match="reward is nan"):
        ramac.train(*SHORT, "task=hopper-medium-expert", f"data={dataset}", "run_dir=here")
    assert not Path("here").exists()


def test_a_loss_that_is_gone_stops_the_run():
    with pytest.raises(FloatingPointError, match="loss_risk is nan at gradient step 1; the run in here stops here"):
        ramac.train(*SHORT, "run_dir=here", "trainer.critic_lr=1e20", "critic=mean", "risk=neutral")


def test_a_grid_is_no_run_of_python_either():
    with pytest.raises(InputError, match="sweep=critics is a sweep of runs"):
        ramac.train("sweep=critics")
    assert not Path("runs").exists()


def test_list_shows_arguments_defaults_and_papers():
    done = command("list", "risk", "actor")
    assert done.returncode == 0, done.stderr
    for text in (
        "alpha: float | [LOW,HIGH] = 0.1",
        "(cvarNUMBER)",
        "Rockafellar",
        "midpoint | euler | rk4",
        "tuple[int, ...]",
    ):
        assert text in done.stdout


def test_completion_knows_the_entries():
    query = {"COMP_LINE": "ramac risk=", "COMP_POINT": "11", "COMP_CWORD": "1"}
    done = command("-sc", "query=bash", **query)
    assert "risk=cvar" in done.stdout


def test_the_example_runs_as_a_script_and_as_a_plugin():
    script = ROOT / "examples" / "my_actor.py"
    assert len(script.read_text().splitlines()) < 50
    words = (*SHORT, "actor=mine", "task=bandit", "run_dir=a")
    done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = command(*SHORT, "actor=mine4", "run_dir=b", RAMAC_PLUGINS="examples.my_actor")
    assert done.returncode == 0, done.stderr
    assert json.loads(Path("b/summary.json").read_text())["actor"] == "mine4"


def test_version_needs_no_heavy_imports():
    code = "import sys, ramac; sys.argv[1:] = ['--version']; ramac.main(); print(set(sys.modules) & {'torch', 'hydra'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"ramac {ramac.__version__}", "set()"]


def test_weights_and_batches_have_streams_of_their_own():
    """With one stream for both, the first batch would be made of the numbers that made the first weights."""
    trainers = [Build.of(compose([f"seed={seed}"])).trainer for seed in (0, 0, 1)]
    weights = [next(trainer.agent.actor.parameters()).detach().clone() for trainer in trainers]
    rows = [(trainer.batch(), trainer.rows)[1] for trainer in trainers]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert torch.equal(rows[0], rows[1]) and not torch.equal(rows[0], rows[2])
    weight, batch = (part.generate_state(1)[0] for part in np.random.SeedSequence(0).spawn(2))
    assert weight != batch
    plain = torch.randint(len(trainers[0].data), (256,), generator=torch.Generator().manual_seed(int(batch)))
    assert torch.equal(rows[0], plain)
