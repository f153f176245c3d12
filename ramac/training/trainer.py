"""The training loop: sample a batch, step the critic, step the actor, update the target networks."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler

from ramac.agent import Agent
from ramac.errors import at_least, at_most
from ramac.losses import Term
from ramac.registry import trainers
from ramac.system.runtime import matmul_precision
from ramac.training.capture import CapturedUpdate, Mode
from ramac.training.state import State, optimiser_state, set_rate

TRAVEL = 30.0  # rate times steps of a multiplier's logarithm in a run; SAC's 3e-4 in a million updates: 300
FASTEST = 0.1  # of a short run: a multiplier must not jump


@trainers.register("default")
class Trainer:
    """Minimise the composite loss with Adam: critic first, then actor, then the target networks.

    `target` is the Polyak average of the agent: the networks of the TD target, and the policy that is evaluated.
    Paper: Fukazawa et al. 2026, RAMAC, algorithm 1.

    Args:
        steps: Gradient steps of the run.
        batch_size: Transitions per gradient step; default as in RADAC.
        actor_lr: Learning rate, with the cosine schedule: docs/results/bandit.md; RADAC: 3e-4, constant.
        critic_lr: Likewise; RADAC: 1e-5 to 5e-5, which needs its 2M updates.
        schedule: Of both learning rates; cosine as in Diffusion-QL.
        average_decay: Decay of the target networks per step; default as in RADAC.
        clip: Largest gradient norm of each group; default as in RADAC.
        delay: Critic steps per step of the actor and the target networks; TD3 and ORAAC have 2.
        multiplier_lr: Of Lagrange multipliers and temperatures; null: by the length of the run.
        compile: Whether a whole update is captured: docs/speed.md.
        precision: Of matmuls of a step: docs/speed.md.
    """

    def __init__(
        self,
        agent: Agent,
        terms: dict[str, Term],
        data: TensorDict,
        seed: int,
        *,
        steps: int = 10_000,
        batch_size: int = 256,
        actor_lr: float = 1e-3,
        critic_lr: float = 1e-3,
        schedule: Literal["cosine", "constant"] = "cosine",
        average_decay: float = 0.995,
        clip: float = 5.0,
        delay: int = 1,
        multiplier_lr: float | None = None,
        compile: Mode = "auto",
        precision: Literal["highest", "high", "medium"] = "highest",
    ) -> None:
        at_least(1, steps=steps, batch_size=batch_size, delay=delay)
        if multiplier_lr is not None and not 0 < multiplier_lr < math.inf:
            raise ValueError(f"multiplier_lr must be positive, or null for the length of the run, got {multiplier_lr}")
        at_most(2**20, batch_size=batch_size)
        if delay > steps:
            raise ValueError(f"delay must be at most steps ({steps}), or the actor never moves, got {delay}")
        if not clip > 0:
            raise ValueError(f"clip must be positive, got {clip}")
        if not 0 <= average_decay < 1:
            raise ValueError(f"average_decay must be in [0, 1), got {average_decay}")
        self.steps, self.batch_size, self.clip, self.delay = steps, batch_size, clip, delay
        from ramac.composite import CompositeLoss  # a second of imports, which listing the entries need not wait for

        self.agent, self.data = agent, data
        self.loss = CompositeLoss(agent, terms, steps=steps)
        self.target, self.step = self.loss.target, self.loss.step
        self.average_decay = average_decay
        # kept: to collect them takes longer than a Polyak step
        self.averaged = list[Tensor](self.target.parameters()), list[Tensor](self.agent.parameters())
        self.loss._has_update_associated["agent"] = True  # for TorchRL, which would warn
        self.precision, self.captured = precision, CapturedUpdate(self, compile)
        self.step_count, self.rows = 0, torch.empty(0, dtype=torch.int64)  # `rows` of the data are the last batch
        self.generator = torch.Generator(data.device or "cpu").manual_seed(seed)
        self.columns = dict(data.select(*self.loss.reads, strict=False).items(True, True))  # what the terms read
        self.learning_rate = {"critic": critic_lr, "actor": actor_lr}
        self.optimiser_steps = {"critic": steps, "actor": max(1, steps // delay)}
        self.schedule, self.multiplier_lr = schedule, multiplier_lr
        groups = {group: self.loss.parameters_of(group) for group in self.learning_rate if self.loss.group(group)}
        self.make_optimisers(groups, list(self.loss.multipliers().values()))
        self.multiplier_rates = {group: self.step.new_zeros((), dtype=torch.float64) for group in self.optimisers}
        self.metrics = TensorDict()
        self.hooks = list[tuple[int, Callable[[], None]]]()  # called after every so many gradient steps

    def release(self) -> None:
        """Let go of the data. Cycles of references keep a trainer until Python looks for such, some runs later."""
        for name in ("data", "columns"):
            vars(self).pop(name, None)

    def make_optimisers(self, parameters: Mapping[str, list[nn.Parameter]], multipliers: list[nn.Parameter]) -> None:
        """Make an optimiser with its learning-rate schedule per parameter group, and one of the multipliers."""
        self.optimisers: dict[str, Optimizer] = {
            group: adam(found, self.learning_rate[group]) for group, found in parameters.items()
        }
        self.schedulers: dict[str, LRScheduler] = {}
        if self.schedule == "cosine":
            for group, optimiser in self.optimisers.items():
                self.schedulers[group] = CosineAnnealingLR(optimiser, self.optimiser_steps[group])
        self.multiplier_optimiser = adam(multipliers, FASTEST) if multipliers else None

    def minimise(self, group: str, batch: TensorDict) -> dict[str, Tensor]:
        """One step of the optimiser of `group`, and of its terms' multipliers. Returns its metrics []."""
        optimiser = self.optimisers[group]
        loss, entries = self.loss.critic_loss(batch) if group == "critic" else self.loss.actor_loss(batch)
        dual_loss = entries.pop("loss_multiplier", None)
        loss.backward()
        norm = self.clip_gradients(list(optimiser.param_groups[0]["params"]))
        optimiser.step()
        optimiser.zero_grad()
        if dual_loss is not None and self.multiplier_optimiser is not None:
            self.multiplier_optimiser.param_groups[0]["lr"].copy_(self.multiplier_rates[group])
            dual_loss.backward()
            self.multiplier_optimiser.step()
            self.multiplier_optimiser.zero_grad()
        named = {metric(name): value for name, value in entries.items() if not name.startswith("scale_")}
        return {f"gradient_norm_{group}": norm, **named}

    def multiplier_rate(self, group: str) -> float:
        """Learning rate of the multipliers of a group's terms at this step, on the schedule of the networks."""
        own = min(FASTEST, TRAVEL / self.optimiser_steps[group])
        rate = own if self.multiplier_lr is None else self.multiplier_lr
        share = (1 + math.cos(math.pi * self.step_count / self.steps)) / 2
        return rate * (share if self.schedule == "cosine" else 1)

    def clip_gradients(self, parameters: list[nn.Parameter]) -> Tensor:
        """Clip the gradient to the norm `clip`; returns the norm [] before."""
        return torch.nn.utils.clip_grad_norm_(parameters, self.clip)

    @torch.no_grad()
    def update_target(self) -> None:
        """One Polyak step: target <- decay * target + (1 - decay) * online.

        The first step copies, so the random initialisation never enters the average.
        """
        decay = self.average_decay if self.step_count >= self.delay else 0.0
        torch._foreach_lerp_(*self.averaged, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
        buffers = list(self.target.buffers()), list(self.agent.buffers())
        torch._foreach_copy_(*buffers)  # pyright: ignore[reportPrivateImportUsage]

    def device_step(self, batch: TensorDict, actor_too: bool) -> dict[str, Tensor]:
        """The device's part of a gradient step: a function of tensors, which `CapturedUpdate` traces."""
        found = dict[str, Tensor]()
        for group in self.optimisers:
            if group == "critic" or actor_too:
                found |= self.minimise(group, batch)
        if actor_too:
            self.update_target()
        self.step += 1
        return found

    def update(self, batch: TensorDict) -> TensorDict:
        """One gradient step on a batch [B]. Returns losses and gradient norms as device scalars (no sync).

        With `delay` > 1 the actor's metrics are those of its last step.
        """
        actor_too = (self.step_count + 1) % self.delay == 0
        for group, rate in self.multiplier_rates.items() if self.multiplier_optimiser else ():
            rate.fill_(self.multiplier_rate(group))
        with matmul_precision(self.precision):
            self.metrics.update(self.captured(batch, actor_too))
        for group, scheduler in self.schedulers.items():
            if group == "critic" or actor_too:
                scheduler.step()
        self.step_count += 1
        for every, hook in self.hooks:
            if self.step_count % every == 0:
                hook()
        return self.metrics.copy()

    def batch(self) -> TensorDict:
        """Transitions [B] drawn with replacement by the trainer's own generator."""
        device, size = self.generator.device, self.batch_size
        self.rows = torch.randint(len(self.data), (size,), generator=self.generator, device=device)
        found = {key: column.index_select(0, self.rows) for key, column in self.columns.items()}
        return TensorDict(found, [size], device=self.data.device)

    def run(self) -> Iterator[TensorDict]:
        """Do the gradient steps that are left, yielding each one's metrics."""
        while self.step_count < self.steps:
            yield self.update(self.batch())

    def warnings(self) -> list[str]:
        """What a user should know about the trained parts, a sentence each."""
        found = [("critic", self.agent.critic.warning())]
        for name, term in {**self.loss.group("critic"), **self.loss.group("actor")}.items():
            reports = {key: self.metrics[f"{key}_{name}"].item() for key in term.reports if key != "scale"}
            found.append((f"loss={name}", term.warning(reports)))
            if term.multiplier is not None:
                found.append((f"loss={name}", term.multiplier.warning(self.metrics[f"loss_{name}"].item())))
        return [f"{name}: {text}" for name, text in found if text]

    def named_optimisers(self) -> dict[str, Optimizer]:
        """The optimisers of the parameter groups and of the multipliers."""
        return self.optimisers | ({"multipliers": self.multiplier_optimiser} if self.multiplier_optimiser else {})

    def tensors(self) -> State:
        """The live tensors of networks and optimisers, by name."""
        networks = self.loss.state_dict(keep_vars=True)
        return networks | optimiser_state(self.named_optimisers(), networks)

    def state(self) -> State:
        """Copies of all that later gradient steps depend on.

        Networks, target, multipliers, optimisers, learning rates, and the generators of batches and of random numbers.
        """
        state, device = self.tensors(), self.step.device
        for group, scheduler in self.schedulers.items():
            state[f"{group}.rate"] = torch.tensor(float(scheduler.get_last_lr()[0]), dtype=torch.float64)
        state |= {"sampler": self.generator.get_state(), "random": torch.get_rng_state()}
        state |= {"random.cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
        return {name: value.detach().clone() for name, value in state.items()}

    @torch.no_grad()
    def load_state(self, state: State, metrics: Mapping[str, float], step: int) -> None:
        """Resume after gradient step `step`, from what `state` returned and the metrics of that step.

        Raises RuntimeError for an invalid state of a generator.
        """
        for name, value in self.tensors().items():
            value.copy_(state[name])
        for group, scheduler in self.schedulers.items():
            set_rate(scheduler, state[f"{group}.rate"].item(), step if group == "critic" else step // self.delay)
        last = TensorDict({name: torch.tensor(value) for name, value in metrics.items()})
        self.metrics, self.step_count = last.to(self.step.device), step
        self.generator.set_state(state["sampler"])
        torch.set_rng_state(state["random"])
        if "random.cuda" in state:
            torch.cuda.set_rng_state(state["random.cuda"], self.step.device)


def adam(parameters: list[nn.Parameter], rate: float) -> Adam:
    """Adam whose learning rate is a tensor on the parameters' device, so that a captured update reads it anew."""
    device = parameters[0].device
    # the fused kernels read float64 on a processor, as they do a number, and float32 on a GPU
    kind = torch.float64 if device.type == "cpu" else torch.float32
    optimiser = Adam(parameters, rate, fused=True)
    optimiser.param_groups[0]["lr"] = torch.tensor(rate, dtype=kind, device=device)  # Adam itself would read it here
    return optimiser


def metric(entry: str) -> str:
    """The name in metrics.csv of an entry of the composite loss: `loss_td` for `td_loss`."""
    return f"loss_{entry.removesuffix('_loss')}" if entry.endswith("_loss") else entry
