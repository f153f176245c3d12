"""Which environment judges, and odd environments: open boxes, float64 actions, no end of an episode."""

from typing import ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box

import ramac
from ramac import environments, registry, tasks
from ramac.cli.data import main as data
from ramac.cli.resume import main as resume
from ramac.data import from_arrays
from ramac.errors import InputError, RunStopped
from trials.datasets import arrays, store, write_d4rl

SMALL = ("task=gymnasium", "actor=deterministic", "actor.hidden=[8]", "critic=mean", "critic.hidden=[8]",
         "risk=neutral", "trainer.steps=3", "trainer.batch_size=8", "evaluation.episodes=2")  # fmt: skip
OPEN = Box(np.array([-np.inf, 0, -1]), np.array([np.inf, np.inf, 1]), dtype=np.float64)


class World(gymnasium.Env):
    """Pays `pay` at each step, never ends, and keeps the actions that it gets."""

    taken: ClassVar[list] = []

    def __init__(self, pay=1.0, observations=11, actions=None):
        self.pay, self.observation_space = pay, Box(-np.inf, np.inf, (observations,), np.float64)
        self.action_space = Box(-1, 1, (3,), np.float32) if actions is None else actions

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(self.observation_space.shape), {}

    def step(self, action):
        self.taken.append(action)
        return np.zeros(self.observation_space.shape), self.pay, False, False, {}


@pytest.fixture(autouse=True)
def worlds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(World, "taken", [])
    there = {
        "Collected-v0": {"max_episode_steps": 4}, "Judged-v0": {"max_episode_steps": 4, "kwargs": {"pay": 101.0}},
        "Small-v0": {"max_episode_steps": 4, "kwargs": {"observations": 2}}, "Endless-v1": {},
        "Open-v0": {"max_episode_steps": 4, "kwargs": {"actions": OPEN}},
    }  # fmt: skip
    for name, options in there.items():
        gymnasium.register(name, entry_point=f"{__name__}:World", **options)
    yield
    for name in there:
        del gymnasium.registry[name]


def task_of(source, **arguments):
    task = registry.tasks.build({**registry.tasks.plain("gymnasium"), **arguments})
    task.use(data=source)
    return task


def test_the_evaluation_environment_of_a_dataset_judges(capsys):
    name = store(lengths=(6, 6), env="Collected-v0", eval_env="Judged-v0")
    summary = ramac.train(*SMALL, f"data={name}", "run_dir=run")
    assert summary["return_mean"] == 4 * 101
    assert summary["environment"] == {"id": "Judged-v0", "rule": "the data's evaluation environment"}
    assert "\nenvironment: Judged-v0 (the data's evaluation environment)\n" in capsys.readouterr().err
    chosen = task_of(name, environment="Collected-v0").dataset()
    assert chosen.environment == {"id": "Collected-v0", "rule": "the task's"}
    assert (chosen.log.environment.id, chosen.log.evaluation_environment.id) == ("Collected-v0", "Judged-v0")
    assert data(["check", name]) == 0
    data(["show", name])
    shown = " ".join(capsys.readouterr().out.split())
    assert "collected in │ Collected-v0" in shown and "judged in │ Judged-v0" in shown


def test_without_one_the_environment_of_the_data_judges():
    found = task_of(store(lengths=(6, 6), env="Collected-v0")).dataset()
    assert found.environment == {"id": "Collected-v0", "rule": "the data were collected in it"}


def test_an_evaluation_environment_that_does_not_fit_is_one_line():
    name = store(lengths=(6, 6), env="Collected-v0", eval_env="Small-v0")
    with pytest.raises(InputError, match=r"does not fit Small-v0: observations have shape \(11,\), not \(2,\)"):
        task_of(name).dataset()


def test_an_evaluation_environment_is_not_trusted():
    """Its entry point is the one that is registered here; one that is not registered is refused, or replaced."""
    strange = EnvSpec("Judged-v0", entry_point="os:system", max_episode_steps=4)
    task = task_of(store(lengths=(6, 6), env="Collected-v0", eval_env=strange))
    assert task.loaded()[0].evaluation_environment.entry_point == "os:system"
    assert type(task.environment().unwrapped) is World
    name = store("test/gone-v0", (6, 6), env=EnvSpec("Gone-v0", entry_point=f"{__name__}:World"))
    with pytest.raises(InputError, match="these data are of Gone-v0, which is not registered here"):
        task_of(name).dataset()
    assert task_of(name, environment="Collected-v0").dataset().environment["id"] == "Collected-v0"


def test_open_bounds_of_actions_are_those_of_the_data():
    given = arrays(30)
    given["actions"] = np.random.default_rng(1).uniform([-3, 0.5, -1], [2, 9, 1], (30, 3))
    log = from_arrays(**given)
    task = task_of(log, environment="Open-v0")
    with pytest.warns(UserWarning, match="Open-v0 leaves actions without bounds; the policy's are those of the data"):
        spec = task.dataset().spec
    least, most = log.action.min(0).astype(float), log.action.max(0).astype(float)
    assert spec.low == pytest.approx((least[0], 0, -1))
    assert spec.high == pytest.approx((most[0], most[1], 1))
    with pytest.warns(UserWarning, match="-5 to 20, 0 to 20, -1 to 1"):
        assert task_of(log, environment="Open-v0", low=-5.0, high=20.0).dataset().spec.high == (20, 20, 1)
    with pytest.warns(UserWarning, match="Open-v0 leaves"):
        ramac.train(*SMALL, "task.environment=Open-v0", data=log, quiet=True)
    taken = np.array(World.taken)
    assert {action.dtype for action in World.taken} == {np.dtype(np.float64)}
    assert (taken >= spec.low).all() and (taken <= spec.high).all()


@pytest.mark.parametrize("bound", [np.inf, np.finfo(np.float32).max])
def test_actions_without_bounds_and_without_width_are_refused(bound):
    gymnasium.register("Free-v0", entry_point=World, kwargs={"actions": Box(-bound, bound, (3,), np.float32)})
    given = arrays(30)
    given["actions"][:, 1] = 0.5
    try:
        with pytest.raises(InputError, match=r"coordinate 1 would be bounded by 0\.5 and 0\.5; set task\.low and task"):
            task_of(from_arrays(**given), environment="Free-v0").dataset()
    finally:
        del gymnasium.registry["Free-v0"]


def test_actions_outside_the_bound_that_there_is_are_refused():
    given = arrays(30)
    given["actions"] = np.abs(given["actions"])
    given["actions"][4, 1] = -0.5
    with pytest.raises(InputError, match=r"actions outside the box \[0, inf\] in 1 of 28 steps, first at step 4"):
        task_of(from_arrays(**given), environment="Open-v0").dataset()
    with pytest.raises(InputError, match="low must be below high, got 2 and 1"):
        task_of(None, low=2.0, high=1.0)


def test_environments_that_are_looked_at_are_closed(monkeypatch, capsys):
    closed = []
    monkeypatch.setattr(World, "close", lambda self: closed.append(self))
    path = write_d4rl("x.hdf5", **arrays(20))
    task_of(path, environment="Collected-v0").dataset()
    assert data(["check", path, "environment=Collected-v0"]) == 0
    assert data(["convert", path, "mine/x-v0", "environment=Collected-v0"]) == 0
    with pytest.raises(InputError, match="does not fit Small-v0"):
        task_of(path, environment="Small-v0").dataset()
    assert len(closed) == 4

    def fail(self):
        raise OSError("gone")

    monkeypatch.setattr(World, "close", fail)
    with pytest.warns(UserWarning, match="closing Collected-v0 failed: OSError: gone"):
        task_of(path, environment="Collected-v0").dataset()


def test_what_names_no_environment_of_here_is_said_once():
    name = store("test/gone-v0", (6, 6), env=EnvSpec("Gone-v0", entry_point=f"{__name__}:World"))
    with pytest.raises(InputError, match=r"^these data are of Gone-v0, which is not registered here"):
        task_of(name).dataset()
    gymnasium.register("Class-v0", entry_point=World)
    try:
        with pytest.raises(InputError, match="Class-v0 cannot be named in a dataset: Callable found"):
            data(["convert", write_d4rl("x.hdf5", **arrays(20)), "mine/x-v0", "environment=Class-v0"])
    finally:
        del gymnasium.registry["Class-v0"]


def test_an_environment_that_does_not_end_an_episode_is_stopped(monkeypatch, capsys):
    """The training is kept: `task.horizon` cuts the episodes when the run is resumed."""
    monkeypatch.setattr(tasks, "LEAST_LIMIT", 25)
    words = (*SMALL, "task.environment=Endless-v1", f"data={write_d4rl('x.hdf5', **arrays(20))}", "run_dir=run")
    with pytest.raises(
        RunStopped, match=r"Endless-v1 has not ended an episode after 100 steps.*task\.horizon=STEPS cuts"
    ):
        ramac.train(*words, quiet=True)
    assert len(World.taken) == 2 + 2 * 100  # once before the training; ten times the longest logged episode
    assert resume(["run", "task.horizon=7"]) == 0
    assert "resumed after gradient step 3" in capsys.readouterr().err
    assert ramac.evaluate("run", episodes=2)["return_mean"] == 7


def test_a_limit_begins_anew_with_each_episode():
    env = environments.EpisodeLimit(World(), 2)
    for _ in range(2):
        env.reset()
        env.step(np.zeros(3))
        env.step(np.zeros(3))
    with pytest.raises(RunStopped, match="after 2 steps"):
        env.step(np.zeros(3))


def test_checking_data_finds_the_environments_of_plug_ins(tmp_path, monkeypatch, capsys):
    (tmp_path / "brought.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Brought-v0', entry_point='gymnasium.envs.classic_control.pendulum:PendulumEnv')\n"
    )
    (tmp_path / "broken.py").write_text("raise SystemExit('no\\nlicence')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("RAMAC_PLUGINS", "brought broken")
    registry.load.cache_clear()
    try:
        with pytest.warns(UserWarning, match="^plug-in 'broken' skipped: SystemExit: no licence$"):
            assert data(["check", write_d4rl("x.hdf5", **arrays(30, 3, 1)), "environment=Brought-v0"]) == 0
    finally:
        gymnasium.registry.pop("Brought-v0", None)
        registry.load.cache_clear()
