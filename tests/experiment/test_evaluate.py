"""`ramac eval RUN`: the same policy judged again, under the same or other circumstances."""

import csv
import json
import shutil
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import yaml

import ramac
from ramac.checkpoint import save
from ramac.cli.eval import main
from ramac.errors import InputError
from ramac.experiment import estimate
from ramac.experiment.calibrate import calibrate
from ramac.experiment.evaluate import changed, evaluate
from ramac.experiment.folder import RunFolder
from ramac.registry import hazards, tasks

SHORT = ("critic=qr", "actor=gaussian", "trainer.steps=6", "evaluation.episodes=12", "log_every=2")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch, small_figures):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ramac.train(*SHORT, "evaluation.every=2", "evaluation.keep=true", "run_dir=here")
    return folder / "here"


@pytest.fixture
def run(trained) -> Path:
    """A copy of a finished run, `here`."""
    return Path(shutil.copytree(trained, "here"))


def episodes(path) -> list[dict[str, str]]:
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def test_the_same_settings_give_the_same_episodes(run):
    evaluate(run, {"name": "again"})
    last = [
        {k: v for k, v in row.items() if k != "step"} for row in episodes(run / "episodes.csv") if row["step"] == "6"
    ]
    assert episodes(run / "evaluations/again/episodes.csv") == last


def test_more_episodes_begin_with_the_same_starts(run):
    task = tasks.build("bandit")
    first = evaluate(run, {"episodes": 40})
    assert first["episodes"] == 40
    assert Path(first["run_dir"]).name == "episodes=40"
    assert json.loads((Path(first["run_dir"]) / "summary.json").read_text())["checkpoint"] == {
        "step": None,
        "rule": "last",
    }
    from ramac.evaluation.rollout import Evaluation

    assert Evaluation(episodes=40).starts(0)[:12] == Evaluation(episodes=12).starts(0)[:12]
    assert task.has_environment


def test_an_unfinished_run_is_judged_as_what_it_is(run):
    (run / "summary.json").unlink()
    with (run / "episodes.csv").open("a") as file:
        file.write("600")  # killed in the middle of a row, of gradient step 6000
    with pytest.warns(
        UserWarning, match="here is unfinished, it has no summary.json: its checkpoint is of gradient step 6"
    ):
        found = evaluate(run, {"episodes": 5})
    assert found["checkpoint"] == {"step": 6, "rule": "unfinished run"}
    assert evaluate(run, {"step": 2})["checkpoint"]["rule"] == "asked for"


def test_which_step_an_unfinished_runs_checkpoint_is_of(run):
    folder, parts = RunFolder(run), json.loads((run / "checkpoint/agent.json").read_text())
    assert (folder.step, folder.kept) == (6, [2, 4, 6])
    (run / "summary.json").unlink()
    save(ramac.load(run), parts, folder.checkpoint)  # as version 0.1 wrote it
    assert folder.step is None
    with pytest.warns(UserWarning, match="its checkpoint is of an unknown gradient step"):
        folder.warn_unfinished()
    save(ramac.load(run), parts, folder.checkpoint, step=40)
    assert folder.step == 40
    assert RunFolder(run / "nowhere").step is None


@pytest.mark.parametrize("value", ["episodes=[", "task.hazard={", "episodes=a: b", "episodes=${"])
def test_a_value_that_cannot_be_read_is_named(value):
    key, _, given = value.partition("=")
    with pytest.raises(InputError) as refused:
        main(["here", value])
    assert str(refused.value).startswith(f"{key}: {given!r} is no value: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "foo"}, "config.yaml cannot be used: task must be the name and the arguments of an entry, got 'foo'"),
        ({"task": {"steps": 3}}, "config.yaml cannot be used: task has no name of an entry; choose from bandit"),
        ({"task": {"name": "foo"}}, "no task 'foo'"),
        (
            {"hazard": [1]},
            r"config.yaml cannot be used: hazard must be the name and the arguments of an entry",
        ),
        ({"evaluation": {"episodes": 3}}, "evaluation has no name of an entry; choose from default"),
        ({"seed": "x"}, "seed must be a whole number from 0 to 4294967295, got 'x'"),
    ],
)
def test_damaged_settings_of_a_run_are_refused(change, message, run):
    settings = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(settings | change))
    with pytest.raises(InputError, match=message):
        evaluate(run, {"episodes": 5})
    if "task" in change:
        for judge in (calibrate, estimate.of_run):
            with pytest.raises(InputError):
                judge(run)
    assert not (run / "evaluations").exists()


def test_brackets_in_a_folders_name_are_shown(run, capsys):
    run = run.rename("a[b]c")
    main([str(run), "episodes=5"])
    printed = capsys.readouterr().out
    assert "a[b]c: episodes=5" in printed
    assert "everything is in a[b]c/evaluations/episodes=5" in printed


def test_kept_checkpoints_can_be_asked(run):
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["2", "4", "6"]
    found = evaluate(run, {"step": 2})
    assert found["checkpoint"] == {"step": 2, "rule": "asked for"}
    second = [row["return"] for row in episodes(run / "episodes.csv") if row["step"] == "2"]
    assert [row["return"] for row in episodes(Path(found["run_dir"]) / "episodes.csv")] == second
    with pytest.raises(InputError, match="no checkpoint of gradient step 3; there are 2, 4, 6"):
        evaluate(run, {"step": 3})


def test_a_name_belongs_to_its_settings(run):
    evaluate(run, {"name": "010", "episodes": 5})
    evaluate(run, {"name": "010", "episodes": 5})
    with pytest.raises(InputError, match="holds an evaluation with other settings"):
        evaluate(run, {"name": "010", "episodes": 6})
    assert len(episodes(run / "evaluations/010/episodes.csv")) == 5
    main([str(run), "name=020", "episodes=4"])
    assert (run / "evaluations/020").is_dir()


def test_another_acting_rule(run):
    assert evaluate(run, {"candidates": 4})["settings"] == {"candidates": 4}
    assert evaluate(run, {"mode": True})["settings"] == {"mode": True}
    one = {row["return"] for row in episodes(run / "evaluations/mode=True/episodes.csv")}
    assert len(one) > 1, "the environment is random even where the policy is not"
    with pytest.raises(InputError, match="temperature=1 chooses among candidates"):
        evaluate(run, {"temperature": 1})


def test_standard_and_hazardous_environment():
    """An environment whose hazard always strikes: eval with another hazard, and with none."""
    task = tasks.config("hopper-medium-expert")
    plain = changed(tasks, tasks.plain(task), {"task.hazard": "none", "task.horizon": 7})
    assert (plain.hazard, plain.horizon) == ("none", 7)
    other = changed(hazards, None, {"hazard": "pose", "hazard.high": 0.5})
    assert (other.name, other.high) == ("pose", 0.5)
    kept = changed(hazards, {**hazards.plain("pose"), "penalty": -7}, {"hazard.high": 0.5})
    assert (kept.penalty, kept.high) == (-7, 0.5)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["episods=3"], "eval has no setting 'episods'; .*did you mean 'episodes'"),
        (["episodes=0"], "episodes must be at least 1, got 0"),
        (["episodes=x"], "evaluation: Value 'x' .*could not be converted to Integer"),
        (["task=hopper-mixed"], "the policy takes observations of 1 numbers, task=hopper-mixed"),
        (["task.hzard=none"], "no setting 'task.hzard'; task=bandit has"),
        (["hazard=velocity"], "Bandit makes its own hazard"),
        (["hazard.high=3"], "hazard= must be named too"),
        (["name=../up"], "must be letters, digits"),
        (["seed=-1"], "seed must be a whole number from 0"),
        (["video=2"], "task=bandit has nothing to film"),
        (["candidates=0"], "candidates must be a whole number from 1"),
        (["device=meta"], "device=meta cannot be used here"),
        (["evaluation.average=2"], "eval evaluates one checkpoint; evaluation.average is a setting of a run"),
        (["more"], "eval takes one run folder, got 2"),
    ],
)
def test_bad_requests_are_refused_and_leave_nothing(run, settings, words):
    before = sorted(path.name for path in run.iterdir())
    with pytest.raises(InputError, match=words):
        main([str(run), *settings])
    assert sorted(path.name for path in run.iterdir() if path.name != "evaluations") == before
    assert not (run / "evaluations").exists() or not list((run / "evaluations").iterdir())


def test_a_folder_that_is_no_run():
    Path("empty").mkdir()
    with pytest.raises(InputError, match="empty is no run folder"):
        main(["empty"])


def test_films_are_written(run, monkeypatch):
    """An environment that draws itself: one file per film, with a picture per step."""
    imageio = pytest.importorskip("imageio.v3", reason="the extra `video` is not installed")
    pytest.importorskip("moviepy", reason="the extra `video` is not installed")

    class Drawn(gymnasium.Env):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
        observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        render_mode = "rgb_array"

        def reset(self, *, seed=None, options=None):
            self.count = 0
            return np.zeros(1, np.float32), {}

        def step(self, action):
            self.count += 1
            return np.zeros(1, np.float32), 1.0, self.count == 9, False, {"risky": False, "penalty": 0.0}

        def render(self):
            return np.full((64, 64, 3), 20 * self.count, np.uint8)

    from ramac.tasks.bandit import Bandit

    monkeypatch.setattr(Bandit, "environment", lambda self, render_mode=None: Drawn())
    found = evaluate(run, {"video": 2, "episodes": 3})
    films = sorted((Path(found["run_dir"]) / "videos").glob("*.mp4"))
    assert len(films) == 2
    frames = imageio.imread(films[0])
    assert frames.shape[1:] == (64, 64, 3)
    assert 9 <= len(frames) <= 11
    assert frames[-1].mean() > frames[0].mean() + 100
    assert found["return_mean"] == 9
