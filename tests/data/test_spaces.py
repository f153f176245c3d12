"""Nested observations become one vector, in the data and in the environment alike, as gymnasium flattens them."""

import gymnasium
import minari
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple, flatdim, flatten
from minari.data_collector import EpisodeBuffer

from ramac.data import concatenate, from_arrays
from ramac.data.check import findings
from ramac.data.convert import convert
from ramac.data.sources import load
from ramac.data.spaces import Flattened, Parts, as_vectors, outermost
from ramac.errors import InputError
from ramac.registry import tasks
from trials.datasets import arrays

BOX = Box(-np.inf, np.inf, (3,), np.float64)
GOALS = Dict(observation=BOX, goal=Dict(position=Box(-1, 1, (2,), np.float64), mode=Discrete(3, start=1)))
ABOUT = dict.fromkeys(("algorithm_name", "author", "author_email", "code_permalink", "description"), "none")
OBSERVATION = {
    "observation": np.arange(3.0), "goal": {"position": np.array([7.0, 8.0]), "mode": 2},
}  # fmt: skip


class Goals(gymnasium.Env):
    """Observations are OBSERVATION; an episode is 4 steps."""

    def __init__(self, observation_space=GOALS):
        self.observation_space, self.action_space = observation_space, Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return OBSERVATION, {}

    def step(self, action):
        return OBSERVATION, 1.0, False, False, {}


@pytest.fixture(scope="module", autouse=True)
def registered():
    gymnasium.register("Goals-v0", entry_point=f"{__name__}:Goals", max_episode_steps=4)
    yield
    del gymnasium.registry["Goals-v0"]


def goals(space=GOALS, actions=None, name="test/goals-v0", steps=6, **options):
    """A Minari dataset of 3 episodes of `space`; the id, and what was stored."""
    actions, stored = Box(-1, 1, (2,), np.float32) if actions is None else actions, []
    for part in (space, actions):
        part.seed(0)
    for _ in range(3):
        rows = [space.sample() for _ in range(steps + 1)]
        stored.append((rows, [actions.sample() for _ in range(steps)]))
    buffers = [
        EpisodeBuffer(
            observations=gather(space, rows), actions=np.array(taken), rewards=np.ones(steps),
            terminations=np.zeros(steps, bool), truncations=np.arange(steps) == steps - 1,
        )
        for rows, taken in stored
    ]  # fmt: skip
    minari.create_dataset_from_buffers(name, buffers, observation_space=space, action_space=actions, **ABOUT, **options)
    return name, stored


def gather(space, rows):
    if isinstance(space, Dict):
        return {key: gather(part, [row[key] for row in rows]) for key, part in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(gather(part, [row[i] for row in rows]) for i, part in enumerate(space.spaces))
    return np.array(rows)


@pytest.mark.parametrize(
    "space",
    [
        GOALS,
        Tuple([BOX, Tuple([Discrete(2), Box(0, 1, (2, 2))])]),
        Dict(a=MultiBinary(3), b=MultiDiscrete([2, 3]), c=Box(0, 1, ())),
    ],
)
def test_rows_are_as_gymnasium_flattens_them(space):
    space.seed(0)
    rows, parts = [space.sample() for _ in range(5)], Parts(space, outermost(space))
    flat = parts.flatten(gather(space, rows))
    assert np.allclose(flat, [flatten(space, row) for row in rows])
    assert len(parts.coordinates) == len(set(parts.coordinates)) == flatdim(space) == flat.shape[1]
    env = as_vectors(Goals(space), outermost(space))
    assert all(np.array_equal(env.observation(row), line) for row, line in zip(rows, flat, strict=True))
    assert env.observation_space.shape == (flatdim(space),)


def test_names_choose_and_order_the_parts():
    parts = Parts(GOALS, ["observation", "goal.position"])
    assert parts.names == ("observation", "goal.position")
    assert parts.coordinates == (*(f"observation[{i}]" for i in range(3)), "goal.position[0]", "goal.position[1]")
    assert Parts(GOALS, ["goal"]).coordinates[:3] == ("goal.position[0]", "goal.position[1]", "goal.mode=1")
    env = Flattened(Goals(), ["goal.mode", "observation"])
    assert env.reset()[0].tolist() == [0, 1, 0, 0, 1, 2]
    assert env.step(np.zeros(2))[0].tolist() == [0, 1, 0, 0, 1, 2]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (["goals"], "observations have no part 'goals'; there are observation, goal.position, goal.mode; did you mean"),
        (["goal", "goal.mode"], r"the part 'goal\.mode' of observations is named twice"),
        ([], "observations need at least one part; there are observation"),
    ],
)
def test_parts_that_are_not_there_are_refused(chosen, message):
    with pytest.raises(InputError, match=message):
        Parts(GOALS, chosen)


def test_a_dataset_of_dictionaries_says_how_to_join_its_parts():
    name, stored = goals()
    with pytest.raises(
        InputError,
        match=r"the parts goal, observation, not one vector; data\.columns\.observations=\[goal,observ",
    ):
        load(name)
    log = load(name, {"observations": ["observation", "goal.position"]})
    wanted = [np.hstack([row["observation"], row["goal"]["position"]]) for rows, _ in stored for row in rows[:-1]]
    assert np.allclose(log.observation, wanted)
    assert log.parts == ("observation", "goal.position")
    assert log.start.tolist() == [0, 6, 12]
    assert log.names is not None and len(log.names) == log.observation.shape[1] == 5
    lines = [finding.text for finding in findings(log, -np.ones(2), np.ones(2))]
    assert "the numbers of an observation are observation[0], observation[1], observation[2], goal.position[0], " in (
        lines[1].replace("goal.position[1]", "")
    )


def test_the_environment_gives_the_parts_in_the_order_of_the_data():
    name, _ = goals(env="Goals-v0")
    task = tasks.build("gymnasium")
    task.use(data=load(name, {"observations": ["observation", "goal.position"]}))
    assert task.dataset().spec.obs_dim == 5
    assert task.environment().reset()[0].tolist() == [0, 1, 2, 7, 8]
    arrays_of_goals = tasks.build({**tasks.plain("gymnasium"), "environment": "Goals-v0"})
    arrays_of_goals.use(data=from_arrays(**arrays(30, 8, 2)))
    with pytest.warns(
        UserWarning, match=r"Goals-v0: observations are joined in the order observation, goal\.position, goal\.mode;"
    ):
        assert arrays_of_goals.dataset().spec.obs_dim == flatdim(GOALS)


def test_a_conversion_of_parts_names_no_environment(capsys):
    """Its own order of the parts may be another than that of the data."""
    name, _ = goals(env="Goals-v0")
    log = load(name, {"observations": ["observation", "goal.position"]})
    convert(log, "mine/flat-v0", name)
    assert (
        "mine/flat-v0 does not name Goals-v0: it cannot say that observations are the parts observation, goal.pos"
        in (capsys.readouterr().err)
    )
    same = load("mine/flat-v0")
    assert same.judge is None
    assert np.array_equal(same.observation, log.observation)


def test_data_of_other_parts_are_not_joined():
    name, _ = goals()
    logs = [load(name, {"observations": order}) for order in (["goal", "observation"], ["observation", "goal"])]
    with pytest.raises(InputError, match="observations differ in parts cannot be joined: goal"):
        concatenate(logs)
    assert concatenate(logs[:1] * 2).names == logs[0].names


PIXELS = Box(0, 255, (8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("space", "actions", "columns", "message"),
    [
        (PIXELS, None, None, "images are not learned from; encode them as vectors first"),
        (Dict(camera=PIXELS, x=BOX), None, ["camera"], "the part 'camera' of observations is Box.*images are not"),
        (Tuple([BOX, BOX]), None, None, r"the parts 0, 1, not one vector; data\.columns\.observations=\[0,1\]"),
        (BOX, None, ["goal"], "which has no parts to choose"),
        (BOX, Discrete(3), None, r"actions are Discrete\(3\); no actor here has a distribution over choices"),
        (BOX, MultiDiscrete([2, 3]), None, "write each choice one-hot in a box, and wrap the environment by argmax"),
        (BOX, MultiBinary(2), None, r"actions are MultiBinary\(2\); no actor"),
        (BOX, Box(0, 9, (2,), np.int64), None, "no actor here has a distribution over choices"),
        (BOX, Box(0, 1, (2, 2)), None, "they must be vectors of real numbers"),
    ],
)
def test_what_is_no_vector_is_refused_with_a_way_on(space, actions, columns, message):
    name, _ = goals(space, actions, steps=1)
    with pytest.raises(InputError, match=message):
        load(name, columns and {"observations": columns})


def test_an_environment_of_images_is_refused():
    with pytest.raises(InputError, match="images are not learned from"):
        as_vectors(Goals(PIXELS), None)


def test_only_parts_of_observations_are_chosen_from_a_minari_dataset():
    with pytest.raises(InputError, match=r"a Minari dataset has its own rewards; columns\.observations chooses parts"):
        load("test/goals-v0", {"rewards": "r"})


@pytest.mark.parametrize("shape", [(30,), (30, 1)])
def test_integer_actions_are_choices(shape):
    given = arrays() | {"actions": np.zeros(shape, np.int64)}
    with pytest.raises(InputError, match=r"are choices, and no actor here has a distribution over choices.*as floats"):
        from_arrays(**given)
    assert from_arrays(**arrays() | {"actions": np.zeros((30, 1))}).action.shape == (28, 1)
    assert from_arrays(**arrays() | {"actions": np.eye(3, dtype=int)[np.arange(30) % 3]}).action.shape == (28, 3)
