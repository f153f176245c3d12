"""The one training loop: sample a batch, step the critic, step the actor, move the averages."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ramac.agent import Agent
from ramac.errors import at_least, at_most
from ramac.losses import CompositeLoss, Term
from ramac.registry import trainers


@contextmanager
def products_at(precision: str) -> Iterator[None]:
    """Products of float32 matrices at torch's `high` or `medium` precision; `highest` leaves torch as it is set."""
    if precision == "highest":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class Objective(nn.Module):
    """What an optimiser minimises: the losses of a group's terms, reduced here and nowhere else."""

    def __init__(self, loss: CompositeLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, batch: TensorDict, group: str) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Batch [B] -> weighted sum of mean losses [], loss [] of the terms' multipliers, numbers [] to log."""
        terms, step = self.loss.group(group), self.loss.step
        loss = self.loss(batch, terms)
        total = torch.stack(
            [term.coefficient(step) * loss[f"loss_{name}"].mean() for name, term in terms.items()]
        ).sum()
        metrics = {str(key): value.detach().mean() for key, value in loss.items()}
        dual = total.new_zeros(())
        for name, term in terms.items():
            if term.budget is not None:
                dual = dual + term.dual(loss[f"loss_{name}"])
                metrics[f"multiplier_{name}"] = term.schedule(step)
        return total, dual, metrics


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
        delay: int = 1,  # updates of the critic for one of the actor and the averages; TD3, ORAAC: 2
        multiplier_lr: float = 3e-4,  # of Lagrange multipliers and temperatures: SAC, CQL
        compile: Literal["on", "off"] = "off",  # torch.compile of the losses; gain and cost: docs/speed.md
        precision: Literal["highest", "high", "medium"] = "highest",  # of an update's products: docs/speed.md
    ) -> None:
        at_least(1, steps=steps, batch_size=batch_size, delay=delay)
        at_least(0, multiplier_lr=multiplier_lr)
        at_most(2**20, batch_size=batch_size)
        if delay > steps:
            raise ValueError(f"delay must be at most steps ({steps}), or the actor never moves, got {delay}")
        if not clip > 0:
            raise ValueError(f"clip must be positive, got {clip}")
        if not 0 <= average_decay < 1:
            raise ValueError(f"average_decay must be in [0, 1), got {average_decay}")
        self.steps, self.batch_size, self.clip, self.delay = steps, batch_size, clip, delay
        self.agent, self.data = agent, data
        self.target, self.average_decay = copy.deepcopy(agent).requires_grad_(False), average_decay
        self.loss = CompositeLoss(agent, self.target, terms)
        self.objective, self.step = Objective(self.loss), self.loss.step
        self.compiled, self.precision = compile == "on", precision
        if self.compiled:
            self.loss.compile()
        self.updates, self.rows = 0, torch.empty(0, dtype=torch.int64)  # of the data, in the last batch
        self.generator = torch.Generator(data.device or "cpu").manual_seed(seed)
        self.rates = {"critic": (critic_lr, steps), "actor": (actor_lr, max(1, steps // delay))}  # and steps of each
        self.schedule, self.multiplier_lr = schedule, multiplier_lr
        groups = {group: self.loss.parameters_of(group) for group in self.rates if self.loss.group(group)}
        self.optimise(groups, list(self.loss.multipliers().values()))
        self.metrics = TensorDict()

    def optimise(self, groups: Mapping[str, list[nn.Parameter]], multipliers: list[nn.Parameter]) -> None:
        """Make the optimisers, and the schedules of their learning rates, of each group and of the multipliers."""
        self.optimisers = {
            group: Adam(parameters, self.rates[group][0], fused=True) for group, parameters in groups.items()
        }
        self.schedulers: dict[str, LRScheduler] = {}
        if self.schedule == "cosine":
            self.schedulers = {
                group: CosineAnnealingLR(optimiser, self.rates[group][1])
                for group, optimiser in self.optimisers.items()
            }
        self.multipliers = Adam(multipliers, self.multiplier_lr, fused=True) if multipliers else None

    def minimise(self, group: str, batch: TensorDict) -> None:
        """One step of the optimiser of `group`, and of its terms' multipliers."""
        optimiser = self.optimisers[group]
        parameters = list(optimiser.param_groups[0]["params"])
        total, dual, metrics = self.objective(batch, group)
        torch.autograd.backward(total.sum(), inputs=parameters)  # no gradient for the other group
        self.metrics[f"gradient_norm_{group}"] = self.clip_gradients(parameters)
        optimiser.step()
        optimiser.zero_grad()
        if group in self.schedulers:
            self.schedulers[group].step()
        self.metrics.update(metrics)
        if dual.requires_grad and self.multipliers is not None:
            dual.sum().backward()
            self.multipliers.step()
            self.multipliers.zero_grad()

    def clip_gradients(self, parameters: list[nn.Parameter]) -> Tensor:
        """Shorten the gradient to the norm `clip`, and return the norm [] that it had."""
        return torch.nn.utils.clip_grad_norm_(parameters, self.clip)

    @torch.no_grad()
    def average(self) -> None:
        """Move the averages, which are the target networks and the actor that is evaluated, by one update.

        The first time they become copies: an average of what has been trained, without the start.
        """
        decay = self.average_decay if self.updates >= self.delay else 0.0
        averaged, current = ([*agent.parameters(), *agent.buffers()] for agent in (self.target, self.agent))
        get_ema_multi_avg_fn(decay)(averaged, current, self.updates)

    def update(self, batch: TensorDict) -> TensorDict:
        """One update on a batch [B]: losses per term and gradient norms, scalars left on the device.

        With a delay, those of the actor are the last ones there were.
        """
        actor_too = (self.updates + 1) % self.delay == 0
        with products_at(self.precision):
            for group in self.optimisers:
                if group == "critic" or actor_too:
                    self.minimise(group, batch)
        if actor_too:
            self.average()
        self.updates += 1
        self.step += 1
        return self.metrics.copy()

    def batch(self) -> TensorDict:
        """Transitions [B] drawn with replacement by the trainer's own generator."""
        self.rows = torch.randint(len(self.data), (self.batch_size,), generator=self.generator, device=self.data.device)
        return self.data[self.rows]

    def run(self) -> Iterator[TensorDict]:
        """Perform the updates that are left, yielding each one's metrics."""
        while self.updates < self.steps:
            yield self.update(self.batch())

    def networks(self) -> dict[str, Tensor]:
        """Parameters and buffers of agent, averages and terms, by name."""
        return {**dict(self.objective.named_parameters()), **dict(self.objective.named_buffers())}
