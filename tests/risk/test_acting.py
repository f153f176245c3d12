"""Best of several actions by what is known when acting: the value of a dial, the reward so far, the discount."""

import gymnasium
import numpy as np
import pytest
import torch
from tensordict import TensorDict

from ramac.actors import Actor
from ramac.agent import Acting, Agent
from ramac.critics import Critic
from ramac.environments import RewardSoFar
from ramac.errors import InputError
from ramac.registry import risks
from ramac.risk import edges
from ramac.risk.context import Context
from ramac.spec import Spec

# the crossroads of task=chain: an action above 0 is a gamble for 10 that is lost in a fifth, any other pays 1
SAFE, GAMBLE = np.ones(10), np.array([-10.0] * 2 + [10.0] * 8)
GAMMA, MEAN, STD = 0.5, 3.0, 4.0
Z = torch.tensor((np.stack([SAFE, GAMBLE]) - MEAN) / STD, dtype=torch.float32)


class Alternating(Actor):
    """Safe, gamble, safe, ..."""

    def sample(self, observation):
        sign = 2.0 * (torch.arange(observation.shape[0]) % 2) - 1
        return 0.5 * sign.unsqueeze(-1)


class Crossroads(Critic):
    """Two members that know both laws; the second is too high, and must not count."""

    def features(self, tensordict):
        return tensordict["action"].reshape(-1, 1).expand(2, -1, 1)

    def measure(self, features, risk):
        value = torch.where(features > 0, Z[1], Z[0]) + torch.tensor([0.0, 5.0])[:, None, None]
        return risk.of_cells(value, edges(10, value))


def agent(risk, *, candidates: int = 2, temperature: float = 0.0) -> Agent:
    """An agent at the crossroads whose thresholds are 10 at alpha=0.1 and 20 at alpha=0.9, linear in its logarithm."""
    measure = risks.build(risk)
    episode = len(Context(measure)) - len(measure.dials)
    full = Context(measure).extend(Spec(1 + episode, 1, (-1.0,), (1.0,), *2 * [(1.0,) * (1 + episode)], MEAN, STD))
    if episode:
        y = torch.linspace(10, 20, len(measure.threshold)) if measure.dials else torch.tensor([10.0])
        measure.threshold.copy_((y.unsqueeze(-1) - MEAN) / STD)
        measure.gamma.fill_(GAMMA)
    critic = Crossroads(full, hidden=(2,), outputs=1, ensemble=2)
    return Agent(Alternating(full), critic, measure, Acting(candidates, temperature))


def utility(value: np.ndarray, so_far: float, discount: float, alpha: float, y: float) -> float:
    """y + E min(c + gamma^t Z - y, 0) / alpha."""
    return y + np.minimum(so_far + discount * value - y, 0).mean() / alpha


STATIC = {"name": "cvar", "alpha": 0.1, "horizon": "episode"}
DIAL = {"name": "cvar", "alpha": (0.1, 0.9), "horizon": "episode"}


def test_the_gamble_is_for_bad_luck_only():
    """Static CVaR_0.1 of the chain: after bad luck 1 stays in the tail and 10 does not; after luck 11 is safe."""
    for so_far, better in ((0.0, GAMBLE), (10.0, SAFE)):
        values = [utility(law, so_far, 1.0, 0.1, 10.0) for law in (SAFE, GAMBLE)]
        assert np.argmax(values) == (better is GAMBLE)
        action = agent(STATIC).act(np.ones(1), reward_so_far=so_far)
        assert (action > 0).all() == (better is GAMBLE)
    assert np.array_equal(np.sign(agent(STATIC).act(np.ones((2, 1)), reward_so_far=[0, 10]).ravel()), [1, -1])


def test_candidates_obey_dial_reward_and_discount_together():
    """The plain formula's choice in every row and shape; also where an observation has the numbers."""
    random = np.random.default_rng(0)
    so_far, alpha = random.uniform(-5, 25, (40, 5)), random.uniform(0.1, 0.9, (40, 5))
    discount = GAMMA ** random.integers(0, 3, (40, 5))
    y = 10 + 10 * np.log(alpha / 0.1) / np.log(9)
    numbers = list(zip(so_far.ravel(), discount.ravel(), alpha.ravel(), y.ravel(), strict=True))
    values = np.array([[utility(law, *row) for law in (SAFE, GAMBLE)] for row in numbers])
    clear = np.abs(values[:, 0] - values[:, 1]) > 1e-3
    gamble = (values[:, 1] > values[:, 0]).reshape(40, 5)
    assert clear.mean() > 0.7 and 0.2 < gamble.ravel()[clear].mean() < 0.8
    built, clear = agent(DIAL, candidates=4), clear.reshape(40, 5)
    given = {"alpha": alpha, "reward_so_far": so_far, "discount": discount}
    action = built.act(np.ones((40, 5, 1)), **given)
    assert action.shape == (40, 5, 1) and np.array_equal(action[..., 0][clear] > 0, gamble[clear])
    within = np.stack([np.ones((40, 5)), so_far, discount], -1)
    assert np.array_equal(built.act(within, alpha=alpha), action)
    for shape in ((40, 5), (40, 5, 1)):
        entries = {name: torch.tensor(value, dtype=torch.float32).reshape(shape) for name, value in given.items()}
        found = built(TensorDict({"observation": torch.ones(40, 5, 1), **entries}, (40, 5)))
        assert set(found.keys()) == {"observation", "action", *given} and found["observation"].shape == (40, 5, 1)
        assert np.array_equal(found["action"][..., 0].numpy()[clear] > 0, gamble[clear])


def test_a_temperature_draws_by_the_utility():
    """The share of gambles is the logistic function of the difference over T, in standard deviations, by gamma^t."""
    rows, temperature, given = 20_000, 0.5, {"alpha": 0.3, "reward_so_far": 13.0, "discount": 0.5}
    action = agent(DIAL, temperature=temperature).act(np.ones((rows, 1)), seed=0, **given)
    safe, gamble = (utility(law, 13.0, 0.5, 0.3, 15.0) / 0.5 / STD for law in (SAFE, GAMBLE))
    share = 1 / (1 + np.exp((safe - gamble) / temperature))
    assert 0.05 < share < 0.95 and abs((action > 0).mean() - share) < 4 * (share * (1 - share) / rows) ** 0.5


def test_a_dial_of_every_state_needs_no_reward_so_far():
    """Of the return to go, CVaR_alpha of the gamble is 1 at alpha = 0.2 / (1 - 0.55): below it is worse than safety."""
    built = agent({"name": "cvar", "alpha": (0.05, 1.0)}, candidates=2)
    alpha = np.linspace(0.1, 1, 10)  # edges of cells
    worst = np.array([np.sort(GAMBLE)[: round(10 * a)].mean() for a in alpha])
    assert np.array_equal(built.act(np.ones((10, 1)), alpha=alpha).ravel() > 0, worst > 1)
    with pytest.raises(InputError, match="the risk measure reads no 'discount'; it reads alpha"):
        built.act(np.ones(1), discount=1.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"alpha": 0.05}, r"alpha must be in \[0\.1, 0\.9\], got 0\.05"),
        ({"alpha": torch.tensor(0.05)}, r"alpha must be in \[0\.1, 0\.9\], got array\(0\.05"),
        ({"discount": 1.5}, r"discount must be in \[0, 1\], got 1\.5"),
        ({"reward_so_far": np.inf}, "reward_so_far must be finite, got inf"),
        ({"alpah": 0.2}, r"reads no 'alpah'; it reads reward_so_far, discount, alpha; did you mean 'alpha'\?"),
        ({"alpha": [0.2, 0.3]}, r"alpha must be a number, or \[3\] of them"),
        ({"alpha": True}, r"alpha must be a number, or \[3\] of them, got True"),
        ({"alpha": None}, r"alpha must be a number, or \[3\] of them, got None"),
        (
            {"alpha": np.full((3, 1), 7.0)},
            r"alpha must be in \[0\.1, 0\.9\], got array\(\[\[7\.\], \[7\.\], \[7\.\]\]\)$",
        ),
    ],
)
def test_numbers_that_cannot_be_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        agent(DIAL).act(np.ones((3, 1)), **given)


def test_a_dial_within_an_observation_must_be_in_its_range():
    within = np.array([[1.0, 0.0, 1.0, 0.5], [1.0, 0.0, 1.0, 0.05]])
    assert agent(DIAL).act(within[:1]).shape == (1, 1)
    with pytest.raises(InputError, match=r"alpha must be in \[0\.1, 0\.9\]"):
        agent(DIAL).act(within)


def test_a_dial_is_turned_by_its_name_within_its_range():
    built = agent(DIAL)
    built.context.turn("alpha", np.float32(0.5))
    assert built.context.values["alpha"] == 0.5
    with pytest.raises(InputError, match=r"'alhpa' is no dial .*; it has alpha; did you mean 'alpha'\?"):
        built.context.turn("alhpa", 0.5)
    with pytest.raises(InputError, match="'alpha' is no dial of the risk measure; it has none"):
        agent(STATIC).context.turn("alpha", 0.5)
    assert built.context.values["alpha"] == 0.5


def test_an_end_of_a_dial_may_come_in_float32():
    built = agent(DIAL)
    assert np.array_equal(built.act(np.ones(1), alpha=np.float32(0.9)), built.act(np.ones(1), alpha=0.9))


def test_a_torchrl_rollout_reads_the_reward_so_far():
    """Both ways of the guide: the wrapper that ends observations with it, and RewardSum where gamma is 1."""
    from torchrl.envs import GymWrapper, RewardSum, TransformedEnv

    from ramac.tasks.chain import ID

    risk = risks.build(STATIC)
    full = Spec(7, 1, (-1.0,), (1.0,), (0.0,) * 7, (1.0,) * 7, MEAN, STD)
    risk.threshold.fill_((10.0 - MEAN) / STD)
    policy = Agent(Alternating(full), Crossroads(full, hidden=(2,), outputs=1, ensemble=2), risk, Acting(2, 0.0))
    seen = {}
    for seed in range(40):
        env = GymWrapper(RewardSoFar(gymnasium.make(ID), GAMMA))
        env.set_seed(seed)
        frames = env.rollout(3, policy)
        reward = frames["next", "reward"].ravel().tolist()
        assert frames["observation"][:, -2].tolist() == [0, reward[0], reward[0] + GAMMA * reward[1]]
        assert frames["observation"][:, -1].tolist() == [1, GAMMA, GAMMA**2]
        plain = TransformedEnv(GymWrapper(gymnasium.make(ID)), RewardSum(["reward"], ["reward_so_far"]))
        plain.set_seed(seed)
        frames = plain.rollout(3, policy)
        luck = frames["next", "reward"][1].item()
        assert frames["reward_so_far"].ravel().tolist() == [0, 0, luck]
        assert (frames["action"][2] > 0).item() == (luck == 0)
        seen[luck] = True
        if len(seen) == 2:
            break
    assert set(seen) == {0.0, 10.0}
