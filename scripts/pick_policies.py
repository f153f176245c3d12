"""Choose the behaviour policies that ship among the checkpoints of training runs, and measure them.

    python scripts/pick_policies.py checkpoints

For each run `<name>-<gait>` of the folder the checkpoint with the highest mean return becomes level 100, and the first
one in training with at least 10, 25, 50 and 75 % of that return becomes the level of this number. Returns are of the
sampled actions, as in the data, over 20 episodes for the choice and 100 fresh ones for `ramac/policies/returns.csv`.
"""

import argparse
import csv
import shutil
from functools import partial
from pathlib import Path

import numpy as np
from gymnasium.vector import SyncVectorEnv

from ramac.data.collect import OWN, BehaviourPolicy
from ramac.environments import make

LEVELS = (10, 25, 50, 75, 100)
ENVIRONMENTS = {"halfcheetah": "HalfCheetah-v5", "hopper": "Hopper-v5", "walker2d": "Walker2d-v5"}
HEADER = ["policy", "training_steps", "return_mean", "return_std", "return_min", "length_mean", "episodes"]


def play(environment_id: str, path: Path, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns and lengths of the first episode of `count` environments: each [count]."""
    policy, random = BehaviourPolicy(path), np.random.default_rng(seed)
    envs = SyncVectorEnv([partial(make, environment_id, disable_env_checker=True)] * count)
    observation, _ = envs.reset(seed=seed)
    alive, returns, lengths = np.ones(count, bool), np.zeros(count), np.zeros(count)
    while alive.any():
        observation, reward, terminated, truncated, _ = envs.step(policy.act(observation, random))
        returns += alive * reward
        lengths += alive
        alive &= ~(terminated | truncated)
    envs.close()
    return returns, lengths


def pick(folder: Path) -> list[dict[str, str]]:
    """Copy one run's chosen checkpoints to the package; one row of measurements each."""
    environment_id = ENVIRONMENTS[folder.name.partition("-")[0]]
    checkpoints = sorted(folder.glob("*.npz"))
    means = np.array([play(environment_id, path, 20, seed=1000)[0].mean() for path in checkpoints])
    rows = []
    for level in LEVELS:
        enough = np.flatnonzero(means >= means.max() * level / 100)
        chosen = checkpoints[enough[0] if level < 100 else means.argmax()]
        target = OWN / f"{folder.name}-{level:03d}.npz"
        shutil.copyfile(chosen, target)
        returns, lengths = play(environment_id, target, 100, seed=2000)
        measured = returns.mean(), returns.std(), returns.min(), lengths.mean()
        values = [target.stem, str(int(chosen.stem)), *(f"{x:.1f}" for x in measured), str(len(returns))]
        rows.append(dict(zip(HEADER, values, strict=True)))
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Every run of the folder given; the table keeps the rows of other runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path)
    OWN.mkdir(exist_ok=True)
    table = OWN / "returns.csv"
    for run in sorted(path for path in parser.parse_args().checkpoints.iterdir() if path.is_dir()):
        found = pick(run)
        rows = {row["policy"]: row for row in csv.DictReader(table.open(encoding="utf-8"))} if table.exists() else {}
        rows |= {row["policy"]: row for row in found}
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HEADER)
            writer.writeheader()
            writer.writerows(rows[name] for name in sorted(rows))


if __name__ == "__main__":
    main()
