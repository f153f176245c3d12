"""A chain of five states in which the best risk-averse policy depends on the reward so far."""

from typing import Any

import gymnasium
import numpy as np

from ramac.data import Log
from ramac.optimum import Process
from ramac.registry import tasks
from ramac.statistics import clipped_normal
from ramac.tasks.generated import GeneratedTask

START, LUCKY, UNLUCKY, CROSSROADS, END = range(5)
LUCK, PRIZE = 0.9, 10.0  # probability of the lucky state, which pays the prize
SAFE, STAKE, WIN = 1.0, 10.0, 0.8  # at the crossroads: paid for sure; won or lost; probability that it is won
HORIZON = 3
MODES, SPREAD = (-0.6, 0.6), 0.15  # centres and deviation of the logged actions
ID = "ramac/Chain-v0"

# it terminates before this limit, which only says that it does
gymnasium.register(ID, "ramac.tasks.chain:ChainEnv", max_episode_steps=HORIZON + 1)


def follow(state: np.ndarray, action: np.ndarray, uniform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """State [B] before END, action [B] (above 0: the gamble) and draws in [0, 1) [B] -> next state and reward [B]."""
    chance, crossroads = np.where(uniform < LUCK, LUCKY, UNLUCKY), np.where(state == CROSSROADS, END, CROSSROADS)
    arrived = np.where(state == START, chance, crossroads)
    gamble = np.where(uniform < WIN, STAKE, -STAKE)
    paid = np.where(state == LUCKY, PRIZE, 0.0)
    return arrived, np.where(state == CROSSROADS, np.where(action > 0, gamble, SAFE), paid)


class ChainEnv(gymnasium.Env):
    """Three steps; the observation is the state, one-hot. Ends by termination."""

    observation_space = gymnasium.spaces.Box(0, 1, (5,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.state = np.array(START)
        return np.eye(5, dtype=np.float32)[START], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.state, reward = follow(self.state, np.asarray(action)[0], np.asarray(self.np_random.random()))
        return np.eye(5, dtype=np.float32)[self.state], float(reward), bool(self.state == END), False, {}


@tasks.register("chain")
class Chain(GeneratedTask):
    """Five states, one choice: the best CVaR of the whole return at level 0.1 is six times that of CVaR at every state.

    From the start, luck (90 %) pays 10 on the way to the crossroads, bad luck nothing. There an action up to 0 is safe
    and pays 1; one above 0 wins 10 (80 %) or loses 10. The crossroads do not tell the luck. CVaR_0.1 of the whole
    return wants the gamble after bad luck only. Logged actions are half around -0.6, half around 0.6.
    """

    environment_id, length = ID, HORIZON

    def __init__(self, *, transitions: int = 30_000, steps: int = 3_000, **more: Any) -> None:
        super().__init__(transitions=transitions, steps=steps, **more)

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        action = random.choice(MODES, (count, HORIZON)) + SPREAD * random.standard_normal((count, HORIZON))
        action, uniform = action.clip(-1, 1).astype(np.float32), random.random((count, HORIZON))
        state, reward = np.full((count, HORIZON + 1), START), np.empty((count, HORIZON))
        for t in range(HORIZON):
            state[:, t + 1], reward[:, t] = follow(state[:, t], action[:, t], uniform[:, t])
        return np.eye(5, dtype=np.float32)[state], action, reward

    @staticmethod
    def density(log: Log) -> np.ndarray:
        return np.mean([clipped_normal(log.action[:, 0], mode, SPREAD, -1, 1) for mode in MODES], 0)

    def process(self, fineness: int) -> Process:
        won, lost = END + 1, END + 2  # the end after the gamble
        chance = np.zeros((4, 7))  # after the start, on the way to the crossroads, after safety, after the gamble
        chance[0, [LUCKY, UNLUCKY]], chance[1, CROSSROADS] = (LUCK, 1 - LUCK), 1
        chance[2, END], chance[3, [won, lost]] = 1, (WIN, 1 - WIN)
        after = np.array([[0, 0], [1, 1], [1, 1], [2, 3], *3 * [[2, 2]]])
        reward = np.zeros((7, 2))
        reward[LUCKY], reward[CROSSROADS] = PRIZE, (SAFE, 0)
        terminal = np.array([0, 0, 0, 0, 0, STAKE, -STAKE])
        return Process(HORIZON, np.eye(7)[START], after, reward, lambda v: chance @ v, terminal, np.arange(-30.0, 31))
