"""The commands that a run and a sweep end with: three that fit what was run, each of which is accepted."""

import shlex
from pathlib import Path

import pytest

from ramac.cli import chosen, plot, report, settings
from ramac.cli.train import FIRST, main
from ramac.deploy.export import SETTINGS as EXPORT
from ramac.errors import InputError
from ramac.experiment.compose import compose
from ramac.experiment.evaluate import SETTINGS as EVALUATE
from ramac.experiment.next_commands import after_run, after_sweep
from ramac.experiment.regret import SETTINGS as REGRET

ALLOWED = {"eval": (*EVALUATE, "risk."), "estimate": ("seed",), "doctor": ("run", *REGRET), "export": EXPORT}
LOGS = ["task=logs", "data=logs.npz"]


def accept(command: str) -> str:
    """The command's name. Raises InputError for a setting that it does not have."""
    first, *words = shlex.split(command)
    assert first == "ramac"
    name, rest = chosen(words)
    if name == "train":
        compose(rest)
    elif name == "report":
        report.parsed(rest)
    elif name == "plot":
        plot.parsed(rest)
    else:
        settings(rest, name, ALLOWED[name])
    return name


def following(*words: str, run: str = "", there: tuple[str, ...] = ()) -> list[str]:
    config = compose(words)
    run = run or f"runs/{config.name}"
    return list(after_run(config, run, words, lambda name: name in there, lambda path: path in there))


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (FIRST, ["train", "report", "doctor"]),
        (["risk=neutral", "loss=[td,bc,risk]", "run_dir=mine"], ["train", "report", "doctor"]),
        (["recipe=bc", "seed=3"], ["train", "report", "doctor"]),
        (["recipe=idql", "seeds=2"], ["train", "doctor", "eval"]),
        (["risk=cvar", "risk.alpha=[0.05,1]"], ["eval", "doctor", "export"]),
        (["task=chain", "recipe=rafmac", "risk.horizon=episode"], ["train", "report", "doctor"]),
        (["task=hopper-mixed", "actor=ddpm"], ["eval", "doctor", "export"]),
        (["task=hopper-mixed", "evaluation.every=100"], ["plot", "eval", "doctor"]),
        (["task=gymnasium", "task.environment=Hopper-v5", "data=x.npz"], ["eval", "doctor", "export"]),
        (LOGS, ["estimate", "train", "export"]),
        ([*LOGS, "recipe=bc"], ["estimate", "train", "export"]),
    ],
)
def test_they_fit_what_was_run(words, names):
    assert [accept(command) for command in following(*words)] == names


def test_the_rival_differs_in_its_attitude_to_risk_alone():
    again, both, _ = following(*FIRST)
    changed = compose(shlex.split(again)[1:])
    assert compose(FIRST).difference(changed) == "risk.name=neutral, not cvar"
    assert shlex.split(both)[2:4] == ["runs/bandit-flow-iqn-cvar0.1-seed0", f"runs/{changed.name}"]
    averse = compose(shlex.split(following("risk=neutral")[0])[1:])
    assert averse.names["risk"] == "cvar0.1"


def test_a_rival_that_is_there_is_not_trained_again():
    both, regret, more = following(*FIRST, there=("runs/bandit-flow-iqn-neutral-seed0",))
    assert [accept(command) for command in (both, regret, more)] == ["report", "doctor", "eval"]


def test_a_named_folder_has_its_rival_beside_it():
    again, both, _ = following("run_dir=my run", run="my run")
    assert Path(str(compose(shlex.split(again)[1:]).run_dir)).name == "my run-neutral"
    assert shlex.split(both)[2:4] == ["my run", "my run-neutral"]


def test_a_run_without_an_estimate_is_estimated_first():
    assert following(*LOGS, "estimate=none", run="r")[0] == "ramac estimate r"
    assert following(*LOGS, run="r")[0] == "ramac estimate r seed=1"


def test_a_film_and_onnx_where_their_packages_are():
    film, _, export = following("task=hopper-mixed", there=("moviepy", "onnx"))
    assert "video=3" in film and export.endswith("policy.onnx")
    assert following("task=hopper-mixed")[2].endswith("policy.pt2")


def test_a_sweep_is_grouped_by_what_was_swept():
    runs = [["actor=flow", f"risk={risk}", f"seed={seed}"] for risk in ("neutral", "cvar0.1") for seed in (0, 1)]
    best, config = Path("g/best"), compose([])
    found = list(after_sweep(Path("g"), runs, best, config, lambda _: False))
    assert [accept(command) for command in found] == ["report", "eval", "export"]
    assert found[0] == "ramac report g --by risk"
    assert list(after_sweep(Path("g"), runs[:2], None, None, lambda _: False)) == ["ramac report g"]
    assert accept(list(after_sweep(Path("g"), runs, best, compose(LOGS), lambda _: False))[1]) == "estimate"


def test_ramac_alone_says_the_run_that_it_trains(monkeypatch, capsys):
    trained = []
    monkeypatch.setattr("ramac.cli.train.execute", lambda config, words: trained.append((config, words)))
    assert main([]) == 0
    (_, _, said) = capsys.readouterr().err.strip().rpartition(": ")
    ((config, words),) = trained
    assert shlex.split(said) == ["ramac", *words]
    assert config.identity == compose(shlex.split(said)[1:]).identity
    with pytest.raises(InputError):
        accept("ramac eval run episods=3")
