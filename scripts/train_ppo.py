"""Train behaviour policies by PPO (stable-baselines3), where ARS takes too long; one run per gait.

    pip install stable-baselines3
    python scripts/train_ppo.py walker2d a --seed 1 --steps 2.5e6 --out checkpoints

Every 50 000 steps or so a checkpoint in the format of `ramac.data.collect.BehaviourPolicy` is written to
`<out>/<name>-<gait>/`; `scripts/pick_policies.py` chooses the ones that ship.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

ENVIRONMENTS = {"halfcheetah": "HalfCheetah-v5", "hopper": "Hopper-v5", "walker2d": "Walker2d-v5"}


class Checkpoints(BaseCallback):
    """Writes the policy as plain arrays after every `every`-th rollout."""

    def __init__(self, folder: Path, every: int) -> None:
        super().__init__()
        self.folder, self.every, self.rollouts = folder, every, 0
        folder.mkdir(parents=True, exist_ok=True)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.rollouts % self.every == 0:
            self.write()
        self.rollouts += 1

    def write(self) -> None:
        """One file, named by the steps taken; `ep_info_buffer` holds the latest training episodes."""
        weights = {key: value.detach().numpy() for key, value in self.model.policy.state_dict().items()}
        normalise = self.model.get_vec_normalize_env()
        assert normalise is not None
        names = ["mlp_extractor.policy_net.0", "mlp_extractor.policy_net.2", "action_net"]
        arrays = {f"W{i}": weights[f"{name}.weight"] for i, name in enumerate(names)}
        arrays |= {f"b{i}": weights[f"{name}.bias"] for i, name in enumerate(names)}
        arrays |= {"log_std": weights["log_std"], "obs_mean": normalise.obs_rms.mean.astype(np.float32)}
        arrays |= {"obs_std": np.sqrt(normalise.obs_rms.var + normalise.epsilon).astype(np.float32)}
        arrays |= {"obs_clip": np.float32(normalise.clip_obs)}
        np.savez(self.folder / f"{self.num_timesteps:09d}.npz", **arrays, activation="tanh", squash="clip")
        returns = [info["r"] for info in self.model.ep_info_buffer or []]
        print(
            f"{self.folder.name} steps {self.num_timesteps / 1e6:.2f}M return {np.mean(returns or [0]):.0f}", flush=True
        )


def train(name: str, gait: str, seed: int, steps: float, out: Path) -> None:
    """PPO with its customary MuJoCo settings: 8 environments, normalised observations and rewards, 2 x 64 tanh."""
    torch.set_num_threads(1)
    env = VecNormalize(make_vec_env(ENVIRONMENTS[name], n_envs=8, seed=seed))
    model = PPO(
        "MlpPolicy", env, seed=seed, device="cpu", n_steps=256, batch_size=128, n_epochs=10,
        learning_rate=lambda left: 3e-4 * left, gamma=0.99, gae_lambda=0.95, clip_range=0.2,
        policy_kwargs={"net_arch": [64, 64], "log_std_init": -0.5},
    )  # fmt: skip
    callback = Checkpoints(out / f"{name}-{gait}", every=24)
    model.learn(int(steps), callback=callback)
    callback.write()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=ENVIRONMENTS)
    parser.add_argument("gait", help="letter of the run: a, b, c")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=float, default=2.5e6, help="environment steps")
    parser.add_argument("--out", type=Path, default=Path("checkpoints"))
    train(**vars(parser.parse_args()))
