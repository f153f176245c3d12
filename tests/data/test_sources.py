"""Every source gives the same flat arrays: Minari, D4RL files, plain arrays, and mixes of them."""

from pathlib import Path

import h5py
import minari
import numpy as np
import pytest

import ramac
from ramac.data import from_arrays
from ramac.data.sources import Source, load
from ramac.errors import InputError
from ramac.experiment.compose import compose
from ramac.hazards import NoHazard
from ramac.registry import sources, tasks
from trials.datasets import arrays, hopper, store, write_d4rl
from trials.processes import ran


@pytest.mark.parametrize("data_format", ["hdf5", "arrow"])
def test_loaded_data_are_what_minari_stored(data_format):
    if data_format == "arrow":
        pytest.importorskip("pyarrow")
    name = store(lengths=(20, 7, 1, 30), data_format=data_format)
    log, episodes = load(name), list(minari.load_dataset(name).iterate_episodes())
    assert len(log.start) == len(episodes) == 4
    for start, stop, episode in zip(log.start, log.stop, episodes, strict=True):
        rows = slice(start, stop)
        assert np.array_equal(log.observation[rows], episode.observations[:-1])
        assert np.array_equal(log.next_observation[rows], episode.observations[1:])
        assert np.array_equal(log.action[rows], episode.actions)
        assert np.array_equal(log.reward[rows], episode.rewards)
        assert np.array_equal(log.terminated[rows], episode.terminations)
    assert np.abs(log.observation).sum() > 0
    assert {part.dtype for part in (log.observation, log.action, log.reward, log.next_observation)} == {np.dtype("f4")}


def test_a_minari_folder_is_a_source(tmp_path):
    name = store()
    assert np.array_equal(load(str(tmp_path / "datasets" / name)).reward, load(name).reward)


def test_only_termination_is_terminal():
    """Bootstrap through truncation, never through termination: one episode is cut, one falls."""
    batch = load(store(lengths=(5, 5))).transitions()
    assert batch["next", "terminated"].squeeze(-1).tolist() == [False] * 9 + [True]


def test_d4rl_without_next_observations():
    """d4rl's rule written out: the next observation is the next row, the last step of a cut episode is left out."""
    given = arrays(40)
    log = from_arrays(**given)
    rows = [t for t in range(40) if not given["timeouts"][t]]
    assert np.allclose(log.observation, given["observations"][rows])
    assert np.allclose(log.reward, given["rewards"][rows])
    for i, t in enumerate(rows):
        terminal = given["terminals"][t]
        assert log.terminated[i] == terminal
        assert np.allclose(log.next_observation[i], given["observations"][t if terminal else t + 1])
    assert log.start.tolist() == [0, 9, 19, 28]


def test_d4rl_with_next_observations_keeps_every_step():
    given = arrays(40) | {"next_observations": np.ones((40, 11))}
    log = from_arrays(**given)
    assert len(log.reward) == 40
    assert log.start.tolist() == [0, 10, 20, 30]
    assert log.terminated.tolist() == given["terminals"].tolist(), "timeouts bootstrap"


def test_an_unfinished_last_episode_is_cut():
    given = arrays(25)
    assert len(from_arrays(**given).reward) == 25 - 1 - 1, "one timeout, and the last step has no successor"
    given["terminals"][-1] = True
    assert len(from_arrays(**given).reward) == 25 - 1
    assert len(from_arrays(**given, next_observations=given["observations"]).reward) == 25


@pytest.mark.parametrize("following", [False, True])
def test_a_d4rl_file_holds_what_the_arrays_hold(tmp_path, following):
    given = arrays()
    if following:
        given["next_observations"] = np.roll(given["observations"], -1, 0)
    path = write_d4rl(tmp_path / "x.hdf5", **given, infos_qpos=np.zeros(30))
    log, same = load(path), from_arrays(**given)
    for part in ("observation", "action", "reward", "next_observation", "terminated", "start"):
        assert np.array_equal(getattr(log, part), getattr(same, part))


def test_sources_join_in_order(tmp_path):
    path = write_d4rl(tmp_path / "x.hdf5", **arrays())
    one, two = load(store(lengths=(20, 7))), load(path)
    joined = load(f"bad/data-v0+{path}")
    assert np.array_equal(joined.reward, np.concatenate([one.reward, two.reward]))
    assert joined.start.tolist() == [*one.start, *(two.start + 27)]
    with pytest.raises(InputError, match="cannot be joined: actions of 3 and of 6 numbers"):
        load(f"bad/data-v0+{store('bad/wide-v0', act_dim=6)}")


def test_returns_stop_at_episode_ends():
    none = np.zeros((5, 1))
    log = from_arrays(none, none, [1, 1, 1, 5, 5], [0, 0, 1, 0, 1], np.zeros(5), none)
    assert np.allclose(log.returns_to_go(0.5), [1.75, 1.5, 1, 7.5, 5])
    assert np.allclose(log.returns(2), [2, 10])
    assert np.allclose(log.returns(), [3, 10])


def test_normalised_scores():
    """D4RL's references; the score of the references themselves is 0 and 100."""
    task = hopper()
    assert task.score(-20.272305) == pytest.approx(0)
    assert task.score(3234.3) == pytest.approx(100)
    assert task.score(1000.0) == pytest.approx(100 * (1000 + 20.272305) / (3234.3 + 20.272305))
    assert tasks.build("gymnasium").score(5.0) is None


# settings of a run that costs next to nothing
SHORT = ("trainer.steps=2", "trainer.batch_size=8", "evaluation.episodes=2", "evaluation.environments=2")
SMALL = ("actor=gaussian", "critic=mean", "risk=neutral")


def test_arrays_from_python_train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = from_arrays(**arrays())
    summary = ramac.train("task=gymnasium", "task.environment=Hopper-v5", *SMALL, *SHORT, data=data)
    assert summary["data"].startswith("arrays from Python: 28 steps in 3 episodes")
    assert summary["return_mean"] != 0
    with pytest.raises(InputError, match="Bandit makes its own data; data= goes with task=gymnasium"):
        ramac.train(*SMALL, *SHORT, data=data)


def test_your_own_file_trains_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_d4rl(tmp_path / "mine.hdf5", **arrays())
    hazard = ("hazard=pose", "hazard.low=-0.01", "hazard.high=0.01", "hazard.probability=1")
    words = ["task=hopper-medium-expert", f"data={path}", *hazard, *SMALL, *SHORT, "run_dir=run"]
    done = ran(*words)
    assert done.returncode == 0, done.stderr
    config = Path("run/config.yaml").read_text()
    assert f"data: {path}" in config
    assert "low: -0.01" in config
    again = ran("doctor", "run", "episodes=4")
    assert again.returncode == 0, again.stderr


def test_a_minari_dataset_names_its_environment():
    store(lengths=(10, 10), env="Hopper-v5")
    task = tasks.build("gymnasium")
    task.use(data="bad/data-v0")
    assert task.environment().unwrapped.spec.id == "Hopper-v5"
    assert isinstance(task.hazard, NoHazard)
    data = task.dataset()
    assert np.allclose(data.returns, data.log.returns())


def refused(message, source=None, task=None):
    task = task or hopper()
    task.use(data=source)
    with pytest.raises(InputError, match=message):
        task.dataset()


def test_data_of_other_shapes_are_refused():
    refused(r"'bad/data-v0' does not fit Hopper-v5: observations have shape \(17,\), not \(11,\)", store(obs_dim=17))
    refused(r"actions have shape \(6,\), not \(3,\)", store("bad/actions-v0", act_dim=6))


def test_data_of_an_environment_of_the_same_shapes_are_refused():
    cheetah = store(obs_dim=17, act_dim=6, env="HalfCheetah-v5")
    refused("collected in HalfCheetah-v5, not in Walker2d-v5", cheetah, tasks.build("walker2d-mixed"))


def test_what_cannot_be_learned_from_is_refused():
    def nan(parts):
        parts["rewards"][7] = np.nan

    def wide(parts):
        parts["actions"][3] = 1.5

    refused("reward is nan or infinite in 1 of 20 steps, first at step 7", store(change=nan))
    refused(
        r"actions outside the box \[-1, 1\] in 1 of 20 steps, first at step 3: \[1.5, 1.5, 1.5\]",
        store("bad/wide-v0", change=wide),
    )


def test_an_unknown_id_names_the_download(monkeypatch):
    store("mine/hopper-v0")

    def offline(dataset_id):
        assert dataset_id == "mine/hoper-v0"
        try:
            raise ConnectionError("Name or service not known")
        except ConnectionError as error:
            raise ValueError("no answer") from error

    monkeypatch.setattr(minari, "download_dataset", offline)
    refused(
        r"no dataset 'mine/hoper-v0' on disk, and it cannot be downloaded \(ConnectionError: Name or service not known"
        r"\); on disk: mine/hopper-v0; did you mean 'mine/hopper-v0'\?; .* minari download mine/hoper-v0",
        "mine/hoper-v0",
    )
    refused("'hopper' is no file, no folder of a Minari dataset, and no Minari id such as", "hopper")


def test_an_absent_dataset_is_downloaded_whole(monkeypatch, tmp_path):
    made = []
    monkeypatch.setattr(minari, "download_dataset", lambda name: made.append(store(name, env="Hopper-v5")))
    assert len(load("mujoco/hopper-v0").reward) == 20
    assert len(load("mujoco/hopper-v0").reward) == 20
    assert made == ["mujoco/hopper-v0"]

    def dies(name):
        store(name)
        raise ConnectionError("reset by peer")

    monkeypatch.setattr(minari, "download_dataset", dies)
    refused("cannot be downloaded .ConnectionError: reset by peer", "mujoco/walker-v0")
    assert not list((tmp_path / "datasets").rglob("*walker*"))


def test_damaged_files_are_refused(tmp_path):
    path = Path(write_d4rl(tmp_path / "x.hdf5", **arrays()))
    path.write_bytes(path.read_bytes()[:-500])
    refused("x.hdf5 cannot be read: .*truncated", str(path))
    path.write_bytes(b"nothing")
    refused("x.hdf5 cannot be read", str(path))
    name = store()
    (file,) = (tmp_path / "datasets").rglob("*.hdf5")
    file.write_bytes(file.read_bytes()[:1000])
    refused("dataset 'bad/data-v0' cannot be read", name)


@pytest.mark.parametrize(
    "key, shape",
    [("actions", (20, 1)), ("actions", (1, 3)), ("rewards", (20, 1)), ("terminations", (1,)), ("terminations", ()),
     ("observations", (21, 1)), ("observations", (20, 11))],
)  # fmt: skip
def test_arrays_that_numpy_would_repeat_are_refused(key, shape, tmp_path):
    name = store(lengths=(20, 20))
    (path,) = (tmp_path / "datasets").rglob("*.hdf5")
    with h5py.File(path, "a") as file:
        del file[f"episode_1/{key}"]
        file[f"episode_1/{key}"] = np.ones(shape, bool if key == "terminations" else float)
    refused(rf"dataset 'bad/data-v0': episode 1 has 20 rewards and {key} of shape \({str(shape)[1:-1]}\), not", name)


def test_wrong_keys_are_named(tmp_path):
    given = arrays()
    given["timeoutz"] = given.pop("timeouts")
    path = write_d4rl(tmp_path / "x.hdf5", **given)
    refused(
        "has no 'timeouts'; did you mean 'timeoutz'.*timeouts=null reads without.*it has actions, observ",
        path,
    )
    with h5py.File(path, "r+") as file:
        del file["observations"]
        file["observations/achieved_goal"] = np.zeros((30, 2))
    refused("x.hdf5: 'observations' is a group of arrays, not one array", path)
    store()
    (file,) = (tmp_path / "datasets").rglob("*.hdf5")
    refused("has no 'observations'.*Minari's storage: name the dataset's folder", str(file))
    refused("no file '.*y.hdf5'; did you mean '.*x.hdf5'", str(tmp_path / "y.hdf5"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": np.zeros(29)}, "rewards have 29 steps, observations 30"),
        ({"actions": np.zeros(30)}, r"actions must have shape \[T, n\], got \[30\]"),
        ({"terminals": np.zeros((30, 2))}, r"terminals must have shape \[T\], got \[30, 2\]"),
        ({"observations": [["a"]] * 30}, "observations cannot be used: numbers are needed, got <U1"),
        ({"terminals": np.full(30, np.nan)}, "terminals cannot be used: only 0 and 1 are flags"),
        ({"next_observations": np.zeros((30, 4))}, r"next_observations have shape \[30, 4\], observations \[30, 11\]"),
        ({"timeouts": np.ones(30), "terminals": np.zeros(30)}, "no step has a next observation"),
    ],
)
def test_arrays_that_do_not_fit_are_named(change, message):
    with pytest.raises(InputError, match=message):
        from_arrays(**{**arrays(), **change})


def test_tasks_without_data_or_environment_say_so():
    refused("this task has no data of its own; set data=ID", task=tasks.build("gymnasium"))
    refused("do not say what environment they are of; set task.environment=ID", store(), tasks.build("gymnasium"))
    task = tasks.build({**tasks.plain("gymnasium"), "environment": "Hoper-v5"})
    refused("no environment 'Hoper-v5'.*Hopper", "bad/data-v0", task)
    discrete = tasks.build({**tasks.plain("gymnasium"), "environment": "CartPole-v1"})
    refused("cannot be used in CartPole-v1: its actions are Discrete", "bad/data-v0", discrete)


def test_joined_data_are_of_one_environment():
    store("one/cheetah-v0", obs_dim=17, act_dim=6, env="HalfCheetah-v5")
    store("one/walker-v0", obs_dim=17, act_dim=6, env="Walker2d-v5")
    refused("different environments cannot be joined: Walker2d and HalfCheetah", "one/walker-v0+one/cheetah-v0")


def test_a_folder_that_cannot_hold_datasets_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "file"))
    refused("the folder of datasets cannot be used: .*File exists.*set MINARI_DATASETS_PATH", "some/hopper-v0")


@pytest.fixture
def counting(monkeypatch):
    """A source of a plug-in: `counting:N` has N steps."""
    monkeypatch.setattr(sources, "entries", {**sources.entries, **dict(sources)})
    monkeypatch.setattr(sources, "suffix", dict(sources.suffix))

    @sources.register("counting")
    class Counting(Source):
        """Steps of its own."""

        def load(self, place):
            return from_arrays(**arrays(int(place)))


def test_a_source_of_a_plug_in_is_chosen_by_name(counting, tmp_path):
    assert len(load("counting:28").reward) == len(from_arrays(**arrays(28)).reward)
    path = write_d4rl(tmp_path / "x.hdf5", **arrays())
    assert len(load(f"counting:28+{path}").start) == len(load("counting:28").start) + len(load(path).start)
    task = tasks.build({**tasks.plain("gymnasium"), "environment": "Hopper-v5"})
    task.use(data="counting:30")
    assert task.dataset().origin == "dataset counting:30: 28 steps in 3 episodes"
    refused(r"data='countin:30' is no file, and there is no source 'countin'; choose from counting, csv, .*; "
            "did you mean 'counting'", "countin:30")  # fmt: skip


def test_the_command_line_takes_the_name_of_a_source(counting):
    assert compose(["task=gymnasium", "data=counting:30"]).data == "counting:30"
    assert compose(["task=gymnasium", "data=s3://bucket/x"]).data == "s3://bucket/x"


def test_built_in_sources_are_chosen_by_name_too(tmp_path):
    path, odd = write_d4rl(tmp_path / "x.hdf5", **arrays()), write_d4rl(tmp_path / "a+b.data", **arrays(20))
    assert np.array_equal(load(f"d4rl:{path}").reward, load(path).reward)
    assert np.array_equal(load(f"d4rl:{odd}").reward, load(odd).reward)
    name = store()
    assert np.array_equal(load(f"minari:{name}").reward, load(name).reward)
    assert len(load(f"minari:{name}+d4rl:{path}").reward) == 20 + 28
    refused("no file 'nowhere.hdf5'", "d4rl:nowhere.hdf5")


def test_an_existing_file_needs_no_name_whatever_it_is_called(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("run:3.hdf5", "minari:x", "12:30"):
        write_d4rl(tmp_path / name, **arrays())
        assert len(load(name).reward) == 28


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("C:/data/x.hdf5", "no file 'C:/data/x.hdf5'"),
        ("logs/12:30.hdf5", "no file 'logs/12:30.hdf5'"),
        ("https://host/x.hdf5", "data='https://host/x.hdf5' is no file, and there is no source 'https'; choose from"),
        ("run:3.hdf5", "is no file, and there is no source 'run'; choose from csv, .*minari"),
        ("minari:", "data='minari:' is no file, no folder of a Minari dataset, and no Minari id"),
        ("x" * 300 + ".hdf5", "no file 'xxx"),
        ("x" * 300, "'xxx.* is no file, no folder of a Minari dataset"),
    ],
)
def test_colons_that_name_no_source(source, message):
    refused(message, source)
