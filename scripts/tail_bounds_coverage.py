"""Coverage of importance-weighted intervals and bounds where the true returns are known: docs/results/offline.md.

python scripts/tail_bounds_coverage.py [REPETITIONS]     40 with known propensities, 10 with fitted ones

Every repetition has a new log of 2000 episodes.
"""

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ramac.data import Dataset
from ramac.evaluation.calibration import cvar_name
from ramac.evaluation.weighting import of_policy
from ramac.registry import tasks
from ramac.statistics import cvar
from ramac.tasks import bandit, chain, trading

ALPHAS, EPISODES, MANY = (1.0, 0.25, 0.1), 2000, 400_000
Policy = Callable[[np.ndarray], np.ndarray]
BEST = trading.best_trades()
RANDOM = np.random.default_rng(0)


def gamble(seen: np.ndarray) -> np.ndarray:
    """Chain: 0.6, a centre of the logged actions."""
    return np.full((len(seen), 1), 0.6)


def ring(seen: np.ndarray) -> np.ndarray:
    """Bandit: a random place on the risky ring."""
    angle = RANDOM.uniform(0, 2 * np.pi, len(seen))
    return 0.92 * np.stack([np.cos(angle), np.sin(angle)], -1)


def best(seen: np.ndarray) -> np.ndarray:
    """Trading: the best mean, without the noise of the logged trades."""
    price, inventory, step = seen.T.astype(float)
    return trading.nearest(BEST, step.astype(int), price, inventory)[:, None]


def noisy(seen: np.ndarray) -> np.ndarray:
    """Trading: as half of the logged episodes."""
    return best(seen) + trading.NOISE * RANDOM.standard_normal((len(seen), 1))


def gambled(policy: Policy) -> np.ndarray:
    """Returns of many simulated episodes of the chain."""
    state, total = np.full(MANY, chain.START), np.zeros(MANY)
    for _ in range(chain.HORIZON):
        state, paid = chain.follow(state, policy(np.eye(5)[state])[:, 0], RANDOM.random(MANY))
        total += paid
    return total


def decided(policy: Policy) -> np.ndarray:
    """Rewards of many simulated decisions of the bandit."""
    return bandit.reward(bandit.region(policy(np.zeros((MANY, 1)))), RANDOM)[0]


def traded(policy: Policy) -> np.ndarray:
    """Returns of many simulated episodes of trading."""
    price, inventory, total = np.full(MANY, trading.LEVEL), np.zeros(MANY), np.zeros(MANY)
    for step in range(trading.HORIZON):
        trade = policy(np.stack([price, inventory, np.full(MANY, step)], -1))[:, 0]
        total, inventory = total + trading.payment(price, trade), inventory + trade
        moved = trading.KEPT * (price - trading.LEVEL) + trading.DEVIATION * RANDOM.standard_normal(MANY)
        price = trading.LEVEL + moved
    return total + trading.settlement(price, inventory)


PROBLEMS: dict[str, tuple[str, Policy, Callable[[Policy], np.ndarray], float]] = {
    "chain, 0.6": ("chain", gamble, gambled, 1.0),
    "bandit, ring": ("bandit", ring, decided, 1.0),
    "trading, best mean": ("trading", best, traded, trading.LIMIT),
    "trading, with noise": ("trading", noisy, traded, trading.LIMIT),
}


def logged(task: str, seed: int, known: bool) -> Dataset:
    """A new log of 2000 episodes, held out from another one of as many."""
    length = {"chain": 3, "bandit": 1, "trading": 10}[task]
    settings = {**tasks.plain(task), "transitions": EPISODES * length}
    train, held_out = (tasks.build({**settings, "data_seed": s}).dataset() for s in (2 * seed, 2 * seed + 1))
    return replace(train, held_out=held_out.log if known else replace(held_out.log, behaviour=None))


def judge(name: str, source: str, repetitions: int) -> None:
    """Print how often intervals and bounds contain the truth of the policy, and of the policy with their noise."""
    task, policy, play, end = PROBLEMS[name]
    found = [
        of_policy(logged(task, seed, source == "known"), policy, 1.0, ALPHAS[1:], seed) for seed in range(repetitions)
    ]
    weight, effective, noise = (np.median([x[key] for x in found]) for key in ("mean_weight", "effective", "noise"))
    print(f"{name}, {source}: effective {effective:.0f}, mean weight {weight:.2f}, noise {noise:.3f}")

    def smoothed(seen: np.ndarray) -> np.ndarray:
        action = policy(seen)
        return (action + noise * RANDOM.standard_normal(action.shape)).clip(-end, end)

    returns = [play(lambda seen: policy(seen).clip(-end, end)), play(smoothed)]
    for i, alpha in enumerate(ALPHAS):
        truth = [float(cvar(sample, alpha)) for sample in returns]
        cells = [cvar_name(alpha), *(f"{value:.2f}" for value in truth)]
        for low, high in (("low", "high"), ("bound_low", "bound_high")):
            ends = [(row[low], row[high]) for x in found if (row := x["cvar"][i])[low] is not None]
            shares = (np.mean([a <= value <= b for a, b in ends]) if ends else np.nan for value in truth)
            half = np.median([(b - a) / 2 for a, b in ends]) if ends else np.nan
            cells += [f"{len(ends)} of {repetitions}", *(f"{share:.0%}" for share in shares), f"± {half:.2g}"]
        print("|", " | ".join(cells), "|", flush=True)


def main(repetitions: int) -> None:
    """Print all problems; a fit is slow, so those have a quarter of the repetitions."""
    for name in PROBLEMS:
        judge(name, "known", repetitions)
        judge(name, "fitted", repetitions // 4)


main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
