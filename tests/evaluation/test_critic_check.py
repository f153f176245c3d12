"""The doctor: its scores against closed forms, its problems against simulation, and a broken critic that must fail."""

import json
import math
import shutil

import numpy as np
import pytest
import torch
import yaml
from scipy.stats import kstest, norm

import ramac.critics.implicit as implicit_module
from ramac import train
from ramac.cli import doctor
from ramac.errors import InputError
from ramac.evaluation import critic_check, problems
from ramac.evaluation.calibration import Calibration, Watcher, crps, quantile_levels
from ramac.evaluation.rollout import Evaluation
from ramac.experiment.calibrate import calibrate, examine
from ramac.registry import risks, tasks
from ramac.risk.distortions import CVaR
from ramac.tasks.bandit import reward
from trials.processes import ran

NORMAL = torch.special.ndtri(quantile_levels(400))
FIGURES = ("quantile error", "CRPS excess", "deviation error", "cvar0.05", "cvar0.1", "cvar0.25", "calibration")
SMALL = ["critic.hidden=[32,32]", "trainer.steps=400"]


def test_crps_of_a_normal_has_its_closed_form():
    assert crps(NORMAL, NORMAL).item() == pytest.approx(1 / math.sqrt(math.pi), abs=2e-3)
    for mean, std in ((0.5, 1.0), (0.0, 2.0), (-1.0, 0.3)):
        # E|X - Y| of two normals is that of a folded normal
        spread = math.sqrt(1 + std**2)
        far = spread * math.sqrt(2 / math.pi) * math.exp(-((mean / spread) ** 2) / 2)
        far += mean * (1 - 2 * norm.cdf(-mean / spread))
        assert crps(mean + std * NORMAL, NORMAL).item() == pytest.approx(far - std / math.sqrt(math.pi), abs=5e-3)


def test_pit_of_the_truth_is_the_diagonal():
    calibration = Calibration(NORMAL[None], NORMAL[None], 0.02, bins=20)
    assert calibration.miscalibration < 0.01
    assert calibration.curve[0] == 0
    assert calibration.curve[-1] == pytest.approx(1)


def test_pit_of_a_shifted_prediction_has_its_closed_form():
    """Outcomes N(0, 1) under the prediction N(0.5, 1): P(F(Y) <= v) = Phi(Phi^-1(v) + 0.5)."""
    curve = Calibration(0.5 + NORMAL[None], NORMAL[None], 1e-3, bins=20).curve.numpy()
    assert np.allclose(curve[1:-1], norm.cdf(norm.ppf(np.arange(1, 20) / 20) + 0.5), atol=0.01)


def test_pit_takes_atoms_that_are_nearly_met_as_met():
    truth = torch.where(quantile_levels(400) < 0.05, -70.0, 0.0)[None]
    assert Calibration(truth + 0.1 * torch.randn(1, 400), truth, 0.5, bins=20).miscalibration < 0.01
    assert Calibration(truth + 1, truth, 0.5, bins=20).miscalibration > 0.8


def test_each_row_of_pit_has_its_own_prediction():
    shift = torch.tensor([[-30.0], [0.0], [50.0]])
    assert Calibration(NORMAL + shift, NORMAL + shift, 0.02, bins=20).miscalibration < 0.01


@pytest.mark.parametrize("make", problems.PROBLEMS, ids=lambda make: make.__name__)
def test_problems_have_the_laws_they_claim(make):
    """Episodes are played out of the data; the bandit is asked at actions, its rewards are drawn anew."""
    problem, random = make(), np.random.default_rng(0)
    data, question = problem.transitions, problem.questions[-1]
    if make is problems.bandit:
        ring, _ = reward(np.ones(4000, int), random)
        centre, _ = reward(np.zeros(4000, int), random)
        found = {"bandit centre": centre, "bandit ring": ring}
    else:
        place, total = data["observation"][:, 0].numpy(), np.zeros(4000)
        now = np.full(4000, question.observation.item(), np.float32)
        for _ in range(20):
            start = np.searchsorted(place, now - 1e-3)
            step = start + random.integers(np.searchsorted(place, now + 1e-3) - start)
            total += data["next", "reward"][step, 0].numpy()
            now = data["next", "observation"][step, 0].numpy()
            if data["next", "terminated"][step].all():
                break
        else:
            pytest.fail("the episode does not end")
        found = {question.label: total}
    for asked in problem.questions:
        law = asked.law(quantile_levels(4000)).numpy()
        if make is problems.hazard:
            assert (found[asked.label] == -70).mean() == pytest.approx((law == -70).mean(), abs=0.01)
        else:
            assert kstest(found[asked.label], law).pvalue > 1e-3


def two_problems(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(critic_check, "PROBLEMS", (problems.gaussian, problems.hazard))


def test_a_right_critic_passes_and_a_broken_one_fails(monkeypatch, tmp_path):
    """The mistake of the released code: the level stands on the target axis."""
    two_problems(monkeypatch, tmp_path)
    right = examine(["critic=iqn", *SMALL, "risk=wang-0.75", "run_dir=right"])
    gaussian = right["questions"][0]
    assert set(right["failed"]) & {f"gaussian: {figure}" for figure in FIGURES} == set()
    assert gaussian["risk"]["cvar0.1"]["truth"] == pytest.approx(-17.55, abs=0.01)
    assert gaussian["risk"]["wang-0.75"]["truth"] == pytest.approx(-7.5, abs=0.01)
    assert {file.name for file in (tmp_path / "right").iterdir()} == {"doctor.json", "doctor.png", "environment.txt"}
    assert json.loads((tmp_path / "right/doctor.json").read_text())["questions"][0] == gaussian

    def broken(value, level, target, kappa):
        error = target.expand(-1, level.shape[-1]).unsqueeze(-2) - value.unsqueeze(-1)  # as many targets as levels
        return ((level.unsqueeze(-2) - (error.detach() < 0).float()).abs() * error.abs()).mean((-2, -1))

    monkeypatch.setattr(implicit_module, "quantile_huber", broken)
    assert doctor.main(["critic=iqn", *SMALL, "run_dir=broken"]) == 1
    failed = json.loads((tmp_path / "broken/doctor.json").read_text())["failed"]
    assert {f"gaussian: {figure}" for figure in FIGURES} <= set(failed)
    assert {"hazard: deviation error", "hazard: cvar0.05", "hazard: cvar0.1", "hazard: cvar0.25"} <= set(failed)


def test_a_scalar_critic_knows_the_mean_only(monkeypatch, tmp_path, capsys):
    two_problems(monkeypatch, tmp_path)
    assert doctor.main(["critic=mean", *SMALL]) == 1
    assert "figures miss their mark" in capsys.readouterr().out
    assert (tmp_path / "runs/doctor-mean-seed0/doctor.json").exists()


def test_the_entropic_measure_counts_per_deviation():
    """Of N(0, 10^2), standardised: -10 beta / 2."""
    risk = risks.build("entropic1")
    problem = problems.gaussian()
    assert critic_check.true_risk(risk, problem.questions[0].law, problem) == pytest.approx(-5, abs=0.02)
    assert critic_check.true_risk(CVaR(), problem.questions[0].law, problem) == pytest.approx(-17.55, abs=0.01)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doctor") / "run"
    train("critic=qr", "critic.hidden=[32,32]", "actor=gaussian", "risk=neutral", "trainer.steps=60",
          "evaluation.episodes=60", f"run_dir={folder}")  # fmt: skip
    return folder


def test_a_run_is_held_against_its_own_episodes(run):
    report = calibrate(run)
    summary = json.loads((run / "summary.json").read_text())
    assert report["cvar"][0]["realised"] == pytest.approx(summary["return_mean"]), "gamma 0: the reward itself"
    assert [row["alpha"] for row in report["cvar"]] == [1.0, 0.05, 0.1, 0.25]
    assert all(row["low"] <= row["realised"] <= row["high"] for row in report["cvar"])
    assert {"calibration.json", "calibration.png"} <= {file.name for file in run.iterdir()}
    assert doctor.main([str(run), "episodes=80"]) == 0
    assert json.loads((run / "calibration.json").read_text())["episodes"] == 80


def test_realised_returns_are_discounted():
    from ramac.agent import Agent
    from ramac.spec import Spec

    agent = Agent.build({"actor": "gaussian", "critic": "qr", "risk": "neutral"}, Spec.unit(11, 3))
    watcher = Watcher(1.0)
    rows = Evaluation(episodes=3, environments=2).run(agent, tasks.build("hopper-medium-expert"), 0, watcher)
    assert np.concatenate(watcher.returns).tolist() == pytest.approx([row["return"] for row in rows])
    assert np.concatenate(watcher.observation).shape == (3, 11)
    half = Watcher(0.5)
    for step, value in enumerate((8.0, 4.0, 2.0)):
        half(step, np.zeros((1, 2)), np.zeros((1, 1)), np.array([value]), np.array([False]))
    assert half.returns[0].tolist() == [8 + 2 + 0.5]
    assert half.horizon == 0, "nothing was cut off"
    half(499, np.zeros((1, 2)), np.zeros((1, 1)), np.array([0.0]), np.array([True]))
    assert half.horizon == 500


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["actor=flow"], "doctor takes a run folder, or settings of critic, risk, trainer"),
        (["critic=iqm"], "no critic 'iqm'.*did you mean 'iqn'"),
        (
            ["critic=c51", "critic.low=0", "critic.high=10"],
            r"atoms from 0 to 10 leave out logged returns from -38.* to 38",
        ),
        (["++trainer.steps=3"], "doctor takes a run folder"),
        (["~critic=iqn"], "doctor takes a run folder"),
        (["trainer.batch_size=0"], "batch_size must be at least 1"),
        (["run_dir=/proc/x"], "run folder /proc/x cannot be made"),
        (["risk=cvar0"], r"alpha must be in \(0, 1\], got 0"),
        (["nowhere"], "nowhere is no run folder"),
        (["nowhere", "episodes=x"], "episodes must be a whole number from 1 to 1000000, got 'x'"),
        (["nowhere", "episodes=0"], "episodes must be a whole number from 1 to 1000000, got 0"),
        (["nowhere", "episods=3"], "doctor has no setting 'episods'; choose from episodes; did you mean 'episodes'"),
        (["nowhere", "other"], "doctor takes one run folder, got 2"),
        (["loss.td.aggregation=min"], "loss.td.aggregation: Invalid value 'min'"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(arguments, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        doctor.main(arguments)
    assert not list(tmp_path.iterdir())


def test_an_unfinished_run_is_told_from_a_finished_one(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "a[b]c")
    (copy / "summary.json").unlink()
    with pytest.warns(
        UserWarning, match="is unfinished, it has no summary.json: its checkpoint is of gradient step 60"
    ):
        assert doctor.main([str(copy), "episodes=20"]) == 0
    assert "a[b]c/calibration.*" in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("a: 1\n", "no setting 'a'; there are actor, critic"),
        ("seed: 0\n", "is missing: a run needs it"),
        ("a: [\n", "is no run folder"),
        ("- a\n", "holds no settings, but list"),
        ({"seed": "x"}, "seed must be a whole number"),
        ({"gamma": "x", "loss": {"td": {"name": "td"}}}, r"gamma must be in \[0, 1\], got 'x'"),
        ({"seed": "${nope}"}, "is an interpolation; a saved setting is a plain value"),
        ({"loss": {"bc": {"name": "bc"}}}, "its critic predicts nothing"),
        ({}, "no usable checkpoint"),
    ],
)
def test_a_folder_of_another_kind_is_refused(change, message, run, tmp_path):
    text = (
        change
        if isinstance(change, str)
        else yaml.safe_dump(yaml.safe_load((run / "config.yaml").read_text()) | change)
    )
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        calibrate(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


def test_the_command_line_ends_with_status_2():
    done = ran("doctor", "actor=flow")
    assert done.returncode == 2
    assert done.stderr.startswith("ramac: doctor takes")
    assert done.stderr.count("\n") == 1
