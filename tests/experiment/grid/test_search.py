"""Searches: what a trial is compared by, trials that fail or are finished already, refusals before the first trial."""

import json
import math
import re
from pathlib import Path

import pytest
import yaml

from ramac.errors import InputError
from ramac.experiment.compose import compose
from ramac.experiment.objective import chosen, objectives, value
from ramac.reporting import report
from trials.datasets import arrays, write_d4rl
from trials.sweeps import ramac_m

SUMMARY = {"return_mean": 1, "return_cvar": {"0.1": -2.5}, "estimate": {"cvar": {"0.05": -3.0}}, "score": None}
OPTUNA = ("hydra/sweeper=optuna", "actor=gaussian")
OVER = ("risk=choice(cvar0.1,wang)", "loss.risk.weight=interval(0.1,2.0)", "loss=choice([td,bc],[td,bc,risk])")


def summaries(grid: str) -> dict[str, dict]:
    return {path.parent.name: json.loads(path.read_text()) for path in Path(grid).glob("*/summary.json")}


def test_an_objective_is_a_path_into_the_summary():
    assert value(SUMMARY, "return_mean") == 1.0
    assert value(SUMMARY, "return_cvar.0.1") == -2.5
    assert value(SUMMARY, "estimate.cvar.0.05") == -3.0
    for path in ("score", "return_cvar", "return_cvar.0.2", "return_mean.x", "nowhere"):
        assert math.isnan(value(SUMMARY, path)), path


def test_the_default_objective_is_the_mean_of_what_there_is():
    assert compose([]).path_of_objective == "return_mean"
    assert compose(["task=logs", "data=x.npz"]).path_of_objective == "estimate.mean"
    config = compose(["evaluation.alphas=[0.5]", "objective=return_cvar.0.5"])
    assert config.path_of_objective == "return_cvar.0.5"
    assert config.identity == compose(["evaluation.alphas=[0.5]"]).identity, "it does not change a run"
    with pytest.raises(InputError, match=r"objective=return_cvar.0.1 names no number.*choose from return_mean, .*0\.5"):
        compose(["evaluation.alphas=[0.5]", "objective=return_cvar.0.1"])


def test_every_objective_of_a_task_is_in_its_summary(monkeypatch):
    assert ramac_m(monkeypatch, "actor=gaussian", "seed=0,1", "grid_dir=g") == 0
    config = compose([])
    known = set(objectives(config.task, config.evaluation))
    known -= {"ood.rate", "mass_rare"}  # the first needs more data than a bandit's, the second a rare arm
    (summary, _) = summaries("g").values()
    assert not [path for path in known if math.isnan(value(summary, path))]
    assert chosen(None, config.task, config.evaluation) == "return_mean"


def test_a_search_over_risk_weight_and_losses_finds_the_best_of_its_runs(monkeypatch, capfd):
    pytest.importorskip("optuna", reason="the extra `optuna` is not installed")
    command = (*OPTUNA, *OVER, "objective=return_cvar.0.1", "hydra.sweeper.n_trials=4", "grid_dir=g")
    assert ramac_m(monkeypatch, *command) == 0
    found, result = summaries("g"), yaml.safe_load(Path("g/optimization_results.yaml").read_text())
    tails = {name: summary["return_cvar"]["0.1"] for name, summary in found.items()}
    assert result["best_value"] == max(tails.values())
    text = capfd.readouterr().out
    best = Path(re.search(r"^best: .*\n  (.*)$", text, re.M)[1]).name
    assert tails[best] == result["best_value"]
    assert found[best]["risk"].startswith(result["best_params"]["risk"])
    assert found[best]["loss"] == yaml.safe_load(result["best_params"]["loss"])
    cells = json.loads(Path("g/grid.json").read_text())["cells"]
    assert {cell["cell"] for cell in cells} == set(found)
    for cell in cells:  # no weight where there is no term for it
        weighted = any(word.startswith("loss.risk.weight=") for word in cell["overrides"])
        assert weighted == ("risk" in found[cell["cell"]]["loss"])
    report(["g"], [], None, 0.1, Path("page"), True)
    assert Path("page").is_dir()
    # as if it had been interrupted: the same command asks for the same trials, and trains the missing one alone
    before = {path: path.stat().st_mtime_ns for path in Path("g").glob("*/summary.json")}
    lost = Path("g", best, "summary.json")
    lost.unlink()
    assert ramac_m(monkeypatch, *command) == 0
    assert set(summaries("g")) == set(found)
    changed = [path for path, written in before.items() if path.stat().st_mtime_ns != written]
    assert changed == [lost]
    assert yaml.safe_load(Path("g/optimization_results.yaml").read_text()) == result


def test_without_an_environment_the_estimate_is_compared(monkeypatch):
    pytest.importorskip("optuna", reason="the extra `optuna` is not installed")
    file = write_d4rl("logs.hdf5", **arrays(steps=100))
    found = lambda recorder: {"mean": float(recorder.config.seed), "cvar": {"0.1": -1.0}, "verdict": "none"}  # noqa: E731
    monkeypatch.setattr("ramac.experiment.recorder.Recorder.estimate", found)
    command = (*OPTUNA, "task=logs", f"data={file}", "seed=choice(1,2,3)", "hydra/sweeper/sampler=random")
    assert ramac_m(monkeypatch, *command, "hydra.sweeper.n_trials=4", "grid_dir=g") == 0
    best = max(summary["estimate"]["mean"] for summary in summaries("g").values())
    assert yaml.safe_load(Path("g/optimization_results.yaml").read_text())["best_value"] == best > 1


def test_a_failed_trial_does_not_end_the_search(monkeypatch, capfd):
    pytest.importorskip("optuna", reason="the extra `optuna` is not installed")
    over = ("critic=mean", "risk=neutral", "trainer.critic_lr=choice(1e20,1e-3)", "hydra/sweeper/sampler=random")
    command = (*OPTUNA, *over, "hydra.sweeper.n_trials=6", "hydra.sweeper.direction=minimize")
    assert ramac_m(monkeypatch, *command, "grid_dir=g") == 0
    (summary,) = summaries("g").values()
    assert len(list(Path("g").glob("*/failed.json"))) == 1
    result = yaml.safe_load(Path("g/optimization_results.yaml").read_text())
    assert result["best_value"] == summary["return_mean"]
    capfd.readouterr()
    assert ramac_m(monkeypatch, *command, "grid_dir=h", "hydra.sweeper.max_failure_rate=0") == 1
    assert "max_failure_rate=0; the same command continues the search in" in capfd.readouterr().err.replace("0.0", "0")


def test_without_any_result_a_search_fails(monkeypatch, capfd):
    pytest.importorskip("optuna", reason="the extra `optuna` is not installed")
    over = ("critic=mean", "risk=neutral", "trainer.critic_lr=choice(1e20,1e21)", "hydra.sweeper.n_trials=2")
    assert ramac_m(monkeypatch, *OPTUNA, *over, "grid_dir=g") == 1
    assert "no trial has a result" in capfd.readouterr().out


def test_a_stopped_search_says_how_to_go_on(monkeypatch, capfd):
    pytest.importorskip("optuna", reason="the extra `optuna` is not installed")

    def stopped(*args, **kwargs):
        raise KeyboardInterrupt("stopped by SIGINT")

    monkeypatch.setattr("ramac.experiment.grid.cell.train", stopped)
    assert ramac_m(monkeypatch, *OPTUNA, *OVER, "grid_dir=g") == 130
    assert re.search(r"stopped by SIGINT; the same command continues the search in .*/g\n", capfd.readouterr().err)


def test_hydras_own_sweeper_gives_its_runs_folders_too(monkeypatch):
    assert ramac_m(monkeypatch, "hydra/sweeper=basic", "actor=gaussian", "seed=0,1", "grid_dir=g") == 0
    assert {summary["seed"] for summary in summaries("g").values()} == {0, 1}
    assert len(json.loads(Path("g/grid.json").read_text())["cells"]) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["risk=choice(cvar0.1,wng)"], "no risk 'wng'; .*did you mean 'wang'"),
        (["task=logs", "data=x.npz", "estimate=none", "risk=choice(cvar,wang)"], "a search compares estimates here"),
        (["risk=cvar0.2"], "a search needs values to choose from"),
        (["risk=choice(cvar,wang)", "objective=return_cvar.0.2"], "objective=return_cvar.0.2 names no number"),
        (["risk=choice(cvar,wang)", "risk.alfa=interval(0.1,0.2)"], "no setting 'risk.alfa'; risk has alpha"),
        (["actor=choice(gaussian,flow)", "actor.stepz=choice(1,2)"], "no setting 'actor.stepz'"),
        (["seed=choice(0,-1)"], "seed must be a whole number from 0 to 4294967295, got -1"),
        (["device=choice(cpu,cuda)"], r"device=choice\(cpu,cuda\) makes no runs; choose one"),
        (["seed=choice(0,1)", "run_dir=here"], "run_dir=here is one run's; a sweep takes grid_dir=FOLDER"),
        (["risk.alpha=interval(0.2,0.1)"], "hydra/sweeper=optuna: .*low"),
        (["seed=choice(0,1)", "hydra.sweeper.direction=up"], "direction must be maximize or minimize, got up"),
        (["seed=choice(0,1)", "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials must be a whole number from 1"),
        (["risk=choice(cvar,wang)", "hydra.sweeper.n_trals=3"], "no setting 'hydra.sweeper.n_trals'; .*'n_trials'"),
        (["seed=choice(0,1)", "hydra.sweeper.max_failure_rate=2"], r"max_failure_rate must be in \[0, 1\], got 2"),
        (["seed=choice(0,1)", "hydra.sweeper.storage=x"], "storage=x: a search keeps its trials in grid_dir"),
        (["seed=choice(0,1)", "hydra/sweeper/sampler=tp"], "no hydra/sweeper/sampler 'tp'; .*'tpe'"),
    ],
)
def test_a_slip_refuses_the_search_and_writes_nothing(arguments, words, monkeypatch, capfd):
    pytest.importorskip("optuna", reason="the extra `optuna` is not installed")
    assert ramac_m(monkeypatch, "hydra/sweeper=optuna", *arguments) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert re.search(words, line), line
    assert not list(Path().iterdir())


def test_an_interval_and_an_unknown_sweeper_are_refused(monkeypatch, capfd):
    assert ramac_m(monkeypatch, "risk.alpha=interval(0.1,0.2)") == 2
    assert "is for a search: ramac -m hydra/sweeper=optuna" in capfd.readouterr().err
    assert ramac_m(monkeypatch, "hydra/sweeper=opttuna") == 2
    assert "no hydra/sweeper 'opttuna'" in capfd.readouterr().err
