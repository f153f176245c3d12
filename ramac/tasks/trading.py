"""Trading one asset whose price returns to its level: the decision problem with a known best policy."""

import math
from typing import Any

import gymnasium
import numpy as np

from ramac.data import Log
from ramac.optimum import Process, best_means
from ramac.registry import tasks
from ramac.statistics import clipped_normal
from ramac.tasks.generated import GeneratedTask

LEVEL, REVERSION, VOLATILITY, STEP, HORIZON = 1.0, 2.0, 1.0, 0.1, 10
LIMIT, COST, PENALTY = 2.0, 0.005, 0.5  # of a trade, per square of a trade, per square of the last inventory
KEPT = math.exp(-REVERSION * STEP)  # of a distance from the level after one step
DEVIATION = VOLATILITY * math.sqrt((1 - KEPT**2) / (2 * REVERSION))  # of one step: the exact transition
WIDEST, MOST, RANGE = 2.4, 10.0, 12.0  # ends of the grid: of |price - LEVEL| (4.8 deviations), |inventory|, |cash|
SHARES = (0.5, 0.25, 0.25)  # of the behaviours: the best mean, hardly any trade, random trades
NOISE, SMALL, RANDOM = 0.3, 0.05, 1.0  # of the behaviours: two deviations, and the largest random trade
ID = "ramac/Trading-v0"

# it terminates before this limit, which only says that it does
gymnasium.register(ID, "ramac.tasks.trading:TradingEnv", max_episode_steps=HORIZON + 1)


def payment(price: Any, trade: Any) -> Any:
    """Reward of a trade: -S u - 0.005 u^2, any shape."""
    return -price * trade - COST * trade**2


def settlement(price: Any, inventory: Any) -> Any:
    """Added to the last reward: q S - 0.5 q^2, any shape."""
    return inventory * price - PENALTY * inventory**2


class TradingEnv(gymnasium.Env):
    """Ten trades u in [-2, 2]; observation: price, inventory, and how many trades there were. Ends by termination."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-LIMIT, LIMIT, (1,), np.float32)

    def observation(self) -> np.ndarray:
        return np.array([self.price, self.inventory, self.time], np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.price, self.inventory, self.time = LEVEL, 0.0, 0
        return self.observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        trade = float(np.clip(action[0], -LIMIT, LIMIT))
        reward = payment(self.price, trade)
        self.inventory += trade
        self.price = LEVEL + KEPT * (self.price - LEVEL) + DEVIATION * float(self.np_random.standard_normal())
        self.time += 1
        if ended := self.time == HORIZON:
            reward += settlement(self.price, self.inventory)
        return self.observation(), reward, ended, False, {}


def axis(end: float, step: float) -> np.ndarray:
    """Multiples of `step` from -end to end."""
    count = round(end / step)
    return np.arange(-count, count + 1) * step


def grid(
    price_step: float, trade_step: float, *, limit: float = LIMIT, cost: float = COST, most: float = MOST
) -> Process:
    """The problem on a grid of prices and inventories; trades are multiples of `trade_step`, at most `limit`.

    A state is (x, q), the price above its level and the inventory; the level pays for nothing, because what is bought
    is settled. A move of the price has the normal density at the points of the grid, which sums smooth functions
    exactly for steps below DEVIATION = 0.287. Cash moves in multiples of price_step * trade_step, except for the cost.
    """
    x, q, count = axis(WIDEST, price_step), axis(most, trade_step), round(limit / trade_step)
    move = np.exp(-0.5 * ((x - KEPT * x[:, None]) / DEVIATION) ** 2)
    move /= move.sum(1, keepdims=True)
    now = np.arange(len(q))[:, None]
    then = np.clip(now + np.arange(-count, count + 1), 0, len(q) - 1)
    trade = q[then] - q[now]
    states = len(x) * len(q)
    start = np.zeros(states)
    start[states // 2] = 1
    return Process(
        HORIZON,
        start,
        (np.arange(len(x))[:, None, None] * len(q) + then).reshape(states, -1),
        (-x[:, None, None] * trade - cost * trade**2).reshape(states, -1),
        lambda value: (move @ value.reshape(len(x), -1)).reshape(value.shape),
        settlement(x[:, None], q).ravel(),
        axis(RANGE, price_step * trade_step),
    )


def best_trades() -> np.ndarray:
    """Trades of the best mean on the coarsest grid: [HORIZON, prices, inventories], steps of 0.2 and 0.5."""
    process, q = grid(0.2, 0.5), axis(MOST, 0.5)
    rows = np.arange(len(process.start))
    actions = [action for action, _ in best_means(process)]
    trades = [q[process.after[rows, action] % len(q)] - q[rows % len(q)] for action in reversed(actions)]
    return np.stack(trades).reshape(HORIZON, -1, len(q))


def nearest(best: np.ndarray, step: Any, price: np.ndarray, inventory: np.ndarray) -> np.ndarray:
    """The best trades [*b] at the points of the grid that are nearest to prices and inventories [*b]."""
    place = (np.rint((price - LEVEL) / 0.2 + best.shape[1] // 2), np.rint(inventory / 0.5 + best.shape[2] // 2))
    near = (p.clip(0, n - 1).astype(int) for p, n in zip(place, best.shape[1:], strict=True))
    return best[(step, *near)]


@tasks.register("trading")
class Trading(GeneratedTask):
    """Ten trades of an asset whose price returns to its level; the best mean trades, the best CVaR_0.1 does not.

    Ornstein-Uhlenbeck price (kappa 2, sigma 1, level 1, steps of 0.1), reward -S u - 0.005 u^2, at the end + q S -
    0.5 q^2. The data are made in memory: half of the episodes trade for the best mean, with noise of 0.3; a quarter
    hardly trades, with noise of 0.05; a quarter trades at random between -1 and 1.
    Paper: the problem is that of arXiv 2507.03900 (static spectral risk); the data are our own.
    """

    environment_id, length = ID, HORIZON

    def __init__(self, *, transitions: int = 100_000, steps: int = 10_000, **more: Any) -> None:
        super().__init__(transitions=transitions, steps=steps, **more)

    def process(self, fineness: int) -> Process:
        return grid(0.2 / fineness, 0.5 / fineness)

    @staticmethod
    def density(log: Log) -> np.ndarray:
        trade = log.action.reshape(-1, HORIZON).astype(np.float64)
        price, inventory, _ = np.moveaxis(log.observation.reshape(-1, HORIZON, 3).astype(np.float64), -1, 0)
        best = nearest(best_trades(), np.arange(HORIZON), price, inventory)
        kinds = (
            clipped_normal(trade, best, NOISE, -LIMIT, LIMIT),
            clipped_normal(trade, 0, SMALL, -LIMIT, LIMIT),
            (np.abs(trade) <= RANDOM) / (2 * RANDOM),
        )
        # one behaviour acts in the whole episode: its earlier trades tell which
        joint = np.tensordot(SHARES, np.stack(kinds).cumprod(-1), 1)
        return (joint / np.pad(joint[:, :-1], ((0, 0), (1, 0)), constant_values=1)).ravel()

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        best, noise = best_trades(), random.standard_normal((2, HORIZON, count))
        behaviour, anything = (
            random.choice(3, count, p=SHARES),
            random.uniform(-RANDOM, RANDOM, (HORIZON, count)),
        )
        observation = np.empty((HORIZON + 1, count, 3))
        trade, reward = np.empty((2, HORIZON, count))
        price, inventory = np.full(count, LEVEL), np.zeros(count)
        for t in range(HORIZON):
            observation[t] = np.stack([price, inventory, np.full(count, t)], -1)
            trades = nearest(best, t, price, inventory)
            choice = trades + NOISE * noise[0, t], SMALL * noise[0, t], anything[t]
            # in float32 as it is stored, so that rewards are those of the stored trades
            trade[t] = np.choose(behaviour, choice).clip(-LIMIT, LIMIT).astype(np.float32)
            reward[t] = payment(price, trade[t])
            inventory = inventory + trade[t]
            price = LEVEL + KEPT * (price - LEVEL) + DEVIATION * noise[1, t]
        observation[HORIZON] = np.stack([price, inventory, np.full(count, HORIZON)], -1)
        reward[-1] += settlement(price, inventory)
        return observation.swapaxes(0, 1), trade.T, reward.T
