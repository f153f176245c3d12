"""Train the behaviour policies in ramac/policies: augmented random search (ARS V2-t), linear, one run per gait.

Paper: Mania, Guy & Recht 2018, "Simple random search provides a competitive approach to reinforcement learning".

    python scripts/train_ars.py hopper a --seed 1 --steps 4e6 --out checkpoints

The policies of the first ten iterations and of every tenth one are written to
`<out>/<name>-<gait>/` in the format of `ramac.data.collect.BehaviourPolicy`; `scripts/pick_policies.py` chooses the
ones that ship.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np


@dataclass(frozen=True)
class Setting:
    """ARS constants of one environment, from the paper's appendix (table of V2-t)."""

    environment_id: str
    directions: int
    best: int
    step_size: float
    noise: float
    action_noise: float  # standard deviation in the data; the search itself is deterministic
    alive_bonus: float  # removed from the training reward, as in the paper; otherwise standing still is an optimum


SETTINGS = {
    "halfcheetah": Setting("HalfCheetah-v5", 32, 4, 0.02, 0.03, 0.05, 0.0),
    "hopper": Setting("Hopper-v5", 8, 4, 0.01, 0.025, 0.1, 1.0),
}  # Walker2d: train_ppo.py, because 1.9 million steps of ARS reached a return of only 420


class Moments:
    """Running mean and deviation of all observations seen (Chan's update)."""

    def __init__(self, size: int) -> None:
        self.count, self.mean, self.square = 0, np.zeros(size), np.zeros(size)

    def update(self, rows: np.ndarray) -> None:
        """rows [n, O]."""
        count, mean = len(rows), rows.mean(0)
        delta, total = mean - self.mean, self.count + len(rows)
        self.square += rows.var(0) * count + delta**2 * self.count * count / total
        self.mean, self.count = self.mean + delta * count / total, total

    @property
    def std(self) -> np.ndarray:
        """Deviation [O], 1 where nothing varied."""
        std = np.sqrt(self.square / max(self.count, 1))
        return np.where(std < 1e-7, 1.0, std)


def rollouts(
    envs: list[gymnasium.Env], weights: np.ndarray, moments: Moments, seeds: list[int], alive_bonus: float
) -> tuple[np.ndarray, np.ndarray]:
    """One episode per environment with its own weights [n, A, O]: returns [n] and all observations [steps, O]."""
    observation = np.stack([env.reset(seed=seed)[0] for env, seed in zip(envs, seeds, strict=True)])
    total, seen, alive = np.zeros(len(envs)), [], np.arange(len(envs))
    while len(alive):
        seen.append(observation)
        scaled = (observation - moments.mean) / moments.std
        actions = np.einsum("nao,no->na", weights[alive], scaled).clip(-1, 1).astype(np.float32)
        rows, keep = [], []
        for i, action in zip(alive, actions, strict=True):
            after, reward, terminated, truncated, _ = envs[i].step(action)
            total[i] += float(reward) - alive_bonus
            if not (terminated or truncated):
                rows.append(after)
                keep.append(i)
        alive, observation = np.array(keep, int), np.array(rows)
    return total, np.concatenate(seen)


def write(path: Path, weight: np.ndarray, moments: Moments, action_noise: float) -> None:
    """The policy [A, O] as plain arrays, with the action noise that its data will have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"W0": weight, "b0": np.zeros(len(weight)), "log_std": np.full(len(weight), np.log(action_noise))}
    arrays |= {"obs_mean": moments.mean, "obs_std": moments.std, "obs_clip": np.array(np.inf)}
    single = {key: value.astype(np.float32) for key, value in arrays.items()}
    np.savez(path, **single, activation="none", squash="clip")  # pyright: ignore[reportArgumentType]


def train(name: str, gait: str, seed: int, steps: float, out: Path) -> None:
    """Search for `steps` environment steps."""
    setting, random = SETTINGS[name], np.random.default_rng(seed)
    envs = [gymnasium.make(setting.environment_id, disable_env_checker=True) for _ in range(2 * setting.directions)]
    assert envs[0].observation_space.shape and envs[0].action_space.shape
    observations, actions = envs[0].observation_space.shape[0], envs[0].action_space.shape[0]
    weight, moments = np.zeros((actions, observations)), Moments(observations)
    taken, iteration, began = 0, 0, time.perf_counter()
    while taken < steps:
        if iteration % 10 == 0 or iteration < 10:  # returns rise fast at first
            write(out / f"{name}-{gait}" / f"{taken:09d}.npz", weight, moments, setting.action_noise)
        if iteration % 10 == 0:
            # the current policy, in the first 16 environments, with the alive bonus
            starts = random.integers(2**31, size=16).tolist()
            score, _ = rollouts(envs[:16], np.repeat(weight[None], 16, 0), moments, starts, 0.0)
            minutes = (time.perf_counter() - began) / 60
            print(
                f"{name}-{gait} iteration {iteration} steps {taken / 1e6:.2f}M {minutes:.1f} min"
                f" return {score.mean():.0f} +- {score.std():.0f}",
                flush=True,
            )
        delta = random.standard_normal((setting.directions, actions, observations))
        signs = np.concatenate([delta, -delta])
        starts = random.integers(2**31, size=len(envs)).tolist()
        score, seen = rollouts(envs, weight + setting.noise * signs, moments, starts, setting.alive_bonus)
        plus, minus = np.split(score, 2)
        best = np.argsort(np.maximum(plus, minus))[-setting.best :]
        spread = np.concatenate([plus[best], minus[best]]).std() + 1e-8
        step = np.einsum("n,nao->ao", plus[best] - minus[best], delta[best])
        weight = weight + setting.step_size / (setting.best * spread) * step
        moments.update(seen)
        taken, iteration = taken + len(seen), iteration + 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SETTINGS)
    parser.add_argument("gait", help="letter of the run: a, b, c")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=float, default=10e6, help="environment steps")
    parser.add_argument("--out", type=Path, default=Path("checkpoints"))
    arguments = parser.parse_args()
    train(**vars(arguments))
