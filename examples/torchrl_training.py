"""RAMAC in a training loop of TorchRL: replay buffer, loss module, target updater and collector are TorchRL's own.

`python examples/torchrl_training.py SEED` trains what `ramac seed=SEED` trains: its numbers, within noise.
"""

import sys
from functools import partial

import torch
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import EnvCreator, GymWrapper, RewardSum, TransformedEnv
from torchrl.objectives import SoftUpdate

from ramac.agent import Agent
from ramac.composite import CompositeLoss
from ramac.losses import build_terms
from ramac.registry import make
from ramac.statistics import cvar

STEPS, EPISODES = 3000, 100  # as `ramac` trains and evaluates the bandit

seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
torch.manual_seed(seed)
task = make("task", "bandit")
data = task.dataset()
buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(len(data.transitions)), batch_size=256)
buffer.extend(data.transitions)

agent = Agent.build({"actor": "flow", "critic": "iqn", "risk": "cvar0.1"}, data.spec)
terms = build_terms({"td": {"name": "td", "gamma": 0.0}, "bc": "bc", "risk": "risk"}, data.spec)
loss = CompositeLoss(agent, terms, steps=STEPS)
target_updater = SoftUpdate(loss, eps=0.995)
optimisers = {group: torch.optim.Adam(loss.parameters_of(group), lr=1e-3) for group in ("critic", "actor")}
schedules = [torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS) for optimiser in optimisers.values()]

for _ in range(STEPS):
    batch = buffer.sample()
    for group, optimiser in optimisers.items():
        value, _ = loss.critic_loss(batch) if group == "critic" else loss.actor_loss(batch)
        value.backward()
        torch.nn.utils.clip_grad_norm_(loss.parameters_of(group), 5.0)
        optimiser.step()
        optimiser.zero_grad()
    for schedule in schedules:
        schedule.step()
    target_updater.step()
    loss.step += 1  # the weight of the risk term grows over the run


def environment(seed: int) -> TransformedEnv:
    """The task's environment, whose `episode_reward` is the return of an episode at its end."""
    made = TransformedEnv(GymWrapper(task.environment()), RewardSum())
    made.set_seed(seed)
    return made


collector = Collector(EnvCreator(partial(environment, seed)), loss.target, frames_per_batch=50, total_frames=-1)
returns = torch.empty(0)
for frames in collector:
    returns = torch.cat([returns, frames["next", "episode_reward"][frames["next", "done"]]])[:EPISODES]
    if len(returns) == EPISODES:
        break
collector.shutdown()
print(f"mean return {returns.mean():.3f}, CVaR_0.1 {cvar(returns.numpy(), 0.1):.3f} over {EPISODES} episodes")
