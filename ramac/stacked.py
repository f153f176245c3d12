"""Several seeds of one cell trained as one: their parameters are stacked and every update is one vectorised pass."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from torch.func import functional_call, stack_module_state
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils._python_dispatch import TorchDispatchMode

from ramac.errors import InputError
from ramac.registry import label_of
from ramac.registry import trainers as registry
from ramac.trainer import Trainer


class SeedsApart(TorchDispatchMode):
    """Random numbers [S, ...] that are drawn under vmap come row by row from the streams of the S seeds."""

    def __init__(self, states: Sequence[Tensor], device: torch.device) -> None:
        super().__init__()
        self.states, self.source = list(states), torch.cuda if device.type == "cuda" else torch.random

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        rows, count = [], len(self.states)
        for seed in range(count):
            self.source.set_rng_state(self.states[seed])
            rows.append(func(*(row(argument, seed, count) for argument in args), **kwargs))
            self.states[seed] = self.source.get_rng_state()
        return args[0] if func._schema.is_mutable else torch.stack(rows)


def row(argument: Any, seed: int, count: int) -> Any:
    """What one seed's own call would be given: its row of a tensor [S, ...], a size without S, or the thing itself."""
    if isinstance(argument, Tensor):
        return argument[seed]
    return argument[1:] if isinstance(argument, list | tuple) and argument[:1] in ([count], (count,)) else argument


class Stacked:
    """Trainers of several seeds as one, each with its own data order and random numbers.

    Equal to the single runs up to rounding. The trainers' networks are views of the stacked tensors: each can act, be
    evaluated and saved as if it had been trained alone.
    """

    def __init__(self, trainers: Sequence[Trainer], states: Sequence[Tensor]) -> None:
        """`states`: of torch's generator on the trainers' device, as each single run would begin training with.

        Raises InputError for a trainer of another kind, or a compiled one.
        """
        self.trainers, self.first = list(trainers), trainers[0]
        if type(self.first) is not Trainer:
            name = label_of(registry, type(self.first))
            raise InputError(f"trainer={name} trains one seed; leave out seeds, or use trainer=default")
        if self.first.compiled:
            raise InputError("trainer.compile=on is for one seed; leave out seeds or compile")
        self.states = list(states)
        modules = [trainer.objective for trainer in trainers]
        self.parameters, self.buffers = stack_module_state(modules)
        for seed, module in enumerate(modules):
            own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            for name, stacked in {**self.parameters, **self.buffers}.items():
                own[name].data = stacked.data[seed]
        names = {id(parameter): name for name, parameter in self.first.objective.named_parameters()}
        self.optimisers: dict[str, Adam] = {}
        self.schedulers = {}
        for group, single in self.first.optimisers.items():
            stacked = [self.parameters[names[id(parameter)]] for parameter in single.param_groups[0]["params"]]
            options = single.param_groups[0]
            self.optimisers[group] = Adam(stacked, options.get("initial_lr", options["lr"]))
            if isinstance(schedule := self.first.schedulers.get(group), CosineAnnealingLR):
                self.schedulers[group] = CosineAnnealingLR(self.optimisers[group], schedule.T_max)
        self.multipliers = None
        if self.first.multipliers is not None:
            held = [self.parameters[names[id(p)]] for p in self.first.multipliers.param_groups[0]["params"]]
            self.multipliers = Adam(held, self.first.multipliers.param_groups[0]["lr"])
        self.metrics = TensorDict(batch_size=[len(trainers)])

    @property
    def steps(self) -> int:
        """Updates of the whole run."""
        return self.first.steps

    def minimise(self, group: str, batch: TensorDict) -> None:
        """One step of the optimiser of `group` on batches [S, B]: `Trainer.minimise`, seed by seed at once."""

        def objective(parameters: Any, buffers: Any, batch: TensorDict) -> Any:
            total, dual, metrics = functional_call(self.first.objective, (parameters, buffers), (batch, group))
            return total, total.new_zeros(()) if dual is None else dual, metrics

        total, dual, metrics = torch.vmap(objective, randomness="different")(self.parameters, self.buffers, batch)
        optimiser = self.optimisers[group]
        stacked = list(optimiser.param_groups[0]["params"])
        torch.autograd.backward(total.sum(), inputs=stacked)  # a seed's loss knows only its own row
        gradients = [p.grad for p in stacked if p.grad is not None]
        norm = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)  # [S]
        factor = (self.first.clip / (norm + 1e-6)).clamp(max=1)  # as torch's clip_grad_norm_
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))
        optimiser.step()
        optimiser.zero_grad()
        if group in self.schedulers:
            self.schedulers[group].step()
        self.metrics.update({f"gradient_norm_{group}": norm, **metrics})
        if dual.requires_grad and self.multipliers is not None:
            dual.sum().backward()
            self.multipliers.step()
            self.multipliers.zero_grad()
            for name, term in self.first.loss.group(group).items():
                if term.budget is not None:
                    each = [trainer.loss.group(group)[name].schedule(self.first.loss.step) for trainer in self.trainers]
                    self.metrics[f"multiplier_{name}"] = torch.stack(each)

    @torch.no_grad()
    def average(self) -> None:
        """The moving averages of all seeds, by the rule of `Trainer.averaged`; the first update copies."""
        pairs = [
            (values[name], values[name.replace("loss.target.", "loss.agent.", 1)])
            for values in (self.parameters, self.buffers)
            for name in values
            if name.startswith("loss.target.")
        ]
        averaged, current = ([pair[i].detach() for pair in pairs] for i in (0, 1))
        started = self.first.updates >= self.first.delay
        for mean, value in zip(averaged, current, strict=True):
            mean.lerp_(value, 1 - self.first.average_decay if started else 1.0)

    def update(self) -> TensorDict:
        """One update of every seed on a batch of its own: losses and gradient norms [S]."""
        first = self.first
        batch: Any = torch.stack([trainer.batch() for trainer in self.trainers])
        actor_too = (first.updates + 1) % first.delay == 0
        streams = SeedsApart(self.states, first.loss.step.device)
        with streams:
            for group in self.optimisers:
                if group == "critic" or actor_too:
                    self.minimise(group, batch)
        self.states = streams.states
        if actor_too:
            self.average()
        for trainer in self.trainers:
            trainer.updates += 1
            trainer.loss.step += 1
        return self.metrics.clone()

    def run(self) -> Iterator[TensorDict]:
        """Perform all updates, yielding each one's metrics [S]."""
        for _ in range(self.steps):
            yield self.update()
