"""The one training loop: sample a batch, step the critic, step the actor, move the averages."""

from collections.abc import Iterator
from typing import Literal

import torch
from tensordict import TensorDict
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ramac.agent import Agent
from ramac.errors import at_least
from ramac.losses import CompositeLoss, Term
from ramac.registry import trainers


def average(agent: Agent, decay: float) -> AveragedModel:
    """Exponential moving average of actor and critic: the target networks, and the actor that is evaluated."""
    averaged = AveragedModel(agent, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    return averaged.requires_grad_(False)


@trainers.register("default")
class Trainer:
    """Minimise the composite loss with Adam; critic first, then actor, then the moving averages.

    Paper: Fukazawa et al. 2026, RAMAC, algorithm 1.
    """

    def __init__(
        self,
        agent: Agent,
        terms: dict[str, Term],
        data: TensorDict,
        seed: int,
        *,
        steps: int = 10_000,
        batch_size: int = 256,  # RADAC
        actor_lr: float = 1e-3,  # with the cosine schedule: docs/bandit.md; RADAC: 3e-4, constant
        critic_lr: float = 1e-3,  # likewise; RADAC: 1e-5 to 5e-5, which needs its 2M updates
        schedule: Literal["cosine", "constant"] = "cosine",  # Diffusion-QL
        average_decay: float = 0.995,  # RADAC, actor and critic
        clip: float = 5.0,  # RADAC: gradient norm of each group
    ) -> None:
        at_least(1, steps=steps, batch_size=batch_size)
        if not clip > 0:
            raise ValueError(f"clip must be positive, got {clip}")
        if not 0 <= average_decay < 1:
            raise ValueError(f"average_decay must be in [0, 1), got {average_decay}")
        self.steps, self.batch_size, self.clip = steps, batch_size, clip
        self.agent, self.data = agent, data
        self.averaged = average(agent, average_decay)
        target = self.averaged.module
        assert isinstance(target, Agent)
        self.target = target
        self.loss = CompositeLoss(agent, target, terms)
        self.step = torch.zeros((), dtype=torch.int64, device=data.device)
        self.generator = torch.Generator(data.device or "cpu").manual_seed(seed)
        self.optimisers: dict[str, Adam] = {}
        self.schedulers: list[LRScheduler] = []
        for group, module, lr in (("critic", agent.critic, critic_lr), ("actor", agent.actor, actor_lr)):
            if self.loss.group(group):
                self.optimisers[group] = Adam(module.parameters(), lr)
                if schedule == "cosine":
                    self.schedulers.append(CosineAnnealingLR(self.optimisers[group], steps))

    def update(self, batch: TensorDict) -> TensorDict:
        """One update on a batch [B]: losses per term and gradient norms, scalars left on the device."""
        metrics = TensorDict()
        for group, optimiser in self.optimisers.items():
            loss = self.loss(batch, group)
            parts = {name: loss[f"loss_{name}"] for name in self.loss.group(group)}
            weighted = [t.coefficient(self.step, parts[k]) * parts[k].mean() for k, t in self.loss.group(group).items()]
            parameters = list(optimiser.param_groups[0]["params"])
            torch.autograd.backward(
                torch.stack(weighted).sum(), inputs=parameters
            )  # leaves the other group's gradients alone
            norm = torch.nn.utils.clip_grad_norm_(parameters, self.clip)
            optimiser.step()
            optimiser.zero_grad()
            metrics.update({key: value.detach().mean() for key, value in loss.items()})
            metrics[f"gradient_norm_{group}"] = norm
        self.averaged.update_parameters(self.agent)
        self.step += 1
        return metrics

    def batch(self) -> TensorDict:
        """Transitions [B] drawn with replacement by the trainer's own generator."""
        index = torch.randint(len(self.data), (self.batch_size,), generator=self.generator, device=self.data.device)
        return self.data[index]

    def run(self) -> Iterator[TensorDict]:
        """Perform all updates, yielding each one's metrics."""
        for _ in range(self.steps):
            yield self.update(self.batch())
            for scheduler in self.schedulers:
                scheduler.step()
