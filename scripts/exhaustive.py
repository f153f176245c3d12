"""Nested and static CVaR of trading, learned from trades that leave no state out: python -m scripts.exhaustive STEPS

Without cloning, so that only the critic's errors are between a policy and its optimum. Prints mean and CVaR_0.5 of 5000
episodes for each horizon of the risk measure, and the optima of both. docs/results/problems.md.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import ramac
from ramac.tasks.trading import DEVIATION, HORIZON, KEPT, LEVEL, LIMIT, payment, settlement

ALPHA, EPISODES = 0.5, 30_000
WORDS = ["actor=deterministic", "actor.hidden=[128,128]", "critic=qr25", "critic.hidden=[128,128]", "loss=[td,risk]"]
WORDS += ["loss.risk.warmup=0", "loss.risk.ramp=0", "task=trading", f"risk=cvar{ALPHA}", "threads=1"]
WORDS += ["loss.td.aggregation=mean", "loss.risk.members=mean"]  # no pessimism: no action is unknown here


def everywhere(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Episodes of three kinds of trades: uniform, uniform in a part of the range, and back to no inventory."""
    kind, price, inventory = np.arange(EPISODES) % 3, np.full(EPISODES, LEVEL), np.zeros(EPISODES)
    observation, action, reward = [], [], []
    for t in range(HORIZON):
        observation.append(np.stack([price, inventory, np.full(EPISODES, t)], -1))
        trade = random.uniform(-LIMIT, LIMIT, EPISODES)
        part = trade * random.uniform(0, 1, EPISODES)
        trade = np.choose(kind, [trade, part, 0.3 * trade - 0.5 * inventory]).clip(-LIMIT, LIMIT).astype(np.float32)
        action.append(trade)
        reward.append(payment(price, trade))
        inventory = inventory + trade
        price = LEVEL + KEPT * (price - LEVEL) + DEVIATION * random.standard_normal(EPISODES)
    reward[-1] = reward[-1] + settlement(price, inventory)
    steps = {"observations": observation, "actions": action, "rewards": reward}
    found = {name: np.stack(parts, 1).reshape(EPISODES * HORIZON, -1) for name, parts in steps.items()}
    ended = np.arange(EPISODES * HORIZON) % HORIZON == HORIZON - 1
    return {**found, "rewards": found["rewards"].ravel(), "terminations": ended}


def main(steps: int) -> None:
    """Train and judge both horizons."""
    data = everywhere(np.random.default_rng(1))
    for horizon in ("state", "episode"):
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder, horizon)
            words = [*WORDS, f"risk.horizon={horizon}", f"trainer.steps={steps}"]
            ramac.train(*words, data=data, run_dir=str(run), quiet=True)
            rows = ramac.check_policy(run, alpha=ALPHA, episodes=5000).rows.set_index("objective")
        mean, nested, static = (rows.loc[name] for name in ("mean", "nested", "static"))
        print(f"horizon={horizon}: mean {mean.reached:.3f}, CVaR {static.reached:.3f} ({static.low:.3f} to", end=" ")
        print(f"{static.high:.3f}); optimum nested {nested.optimum:.3f}, static {static.optimum:.3f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
