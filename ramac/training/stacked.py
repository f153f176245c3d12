"""Several seeds of one cell trained as one: their parameters are stacked and every step is one vectorised pass."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.utils._python_dispatch import TorchDispatchMode

from ramac.errors import InputError
from ramac.registry import label_of
from ramac.registry import trainers as registry
from ramac.training.state import State, make_state
from ramac.training.trainer import Trainer


class SeedsApart(TorchDispatchMode):
    """Random numbers [S, ...] under vmap are drawn row by row from the streams of the S seeds."""

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
    """The argument of one seed's own call: its row of a tensor [S, ...], a size without S, or the argument itself."""
    if isinstance(argument, Tensor):
        return argument[seed]
    return argument[1:] if isinstance(argument, list | tuple) and argument[:1] in ([count], (count,)) else argument


class Stacked(Trainer):
    """Trainers of several seeds as one, each with its own data order and random numbers; metrics are [S].

    Equal to the single runs up to rounding. The networks and optimiser states of `members` are views of the stacked
    tensors: each member can act, be evaluated and saved as if it had been trained alone.
    """

    def __init__(self, trainers: Sequence[Trainer], states: Sequence[Tensor]) -> None:
        """`states`: of torch's generator on the trainers' device, with which each single run would begin training.

        Raises InputError for a trainer of another kind, or a compiled one.
        """
        first = trainers[0]
        if type(first) is not Trainer:
            name = label_of(registry, type(first))
            raise InputError(f"trainer={name} trains one seed; leave out seeds, or use trainer=default")
        if first.compiled:
            raise InputError("trainer.compile=on is for one seed; leave out seeds or compile")
        self.trainers = list(trainers)
        self.streams = SeedsApart(states, first.step.device)
        self.stream = "random.cuda" if first.step.is_cuda else "random"  # its name in a state
        modules = [trainer.objective for trainer in trainers]
        self.parameters, self.buffers = stack_module_state(modules)
        for seed, module in enumerate(modules):
            own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
            for name, stacked in {**self.parameters, **self.buffers}.items():
                own[name].data = stacked.data[seed]
        names = {id(parameter): name for name, parameter in first.objective.named_parameters()}

        def stacked_of(parameters: Iterable[nn.Parameter]) -> list[Any]:
            return [self.parameters[names[id(parameter)]] for parameter in parameters]

        groups = {group: stacked_of(self.loss.parameters_of(group)) for group in first.optimisers}
        self.make_optimisers(groups, stacked_of(self.loss.multipliers().values()))
        self.objective, self.step, self.step_count = self.stacked_objective, self.buffers["loss.step"], 0
        self.metrics = TensorDict(batch_size=[len(trainers)])
        for seed, trainer in enumerate(trainers):
            self.share_optimisers(seed, trainer)

    def share_optimisers(self, seed: int, trainer: Trainer) -> None:
        """Make the optimiser states of a member views of the stacked ones; step counts and schedules are common."""
        trainer.schedulers = self.schedulers
        for group, optimiser in self.named_optimisers().items():
            make_state(optimiser)
            own = trainer.named_optimisers()[group]
            pairs = zip(*(each.param_groups[0]["params"] for each in (own, optimiser)), strict=True)
            for parameter, stacked in pairs:
                state = optimiser.state[stacked].items()
                own.state[parameter] = {key: v[seed] if v.shape == stacked.shape else v for key, v in state}

    def __getattr__(self, name: str) -> Any:
        """Settings, data and modules are the first member's; only their tensors are stacked."""
        return getattr(vars(self)["trainers"][0], name)

    def stacked_objective(self, batch: TensorDict, group: str) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """`Objective` of every seed on its batch of [S, B]: each result [S]."""

        def objective(parameters: Any, buffers: Any, batch: TensorDict) -> Any:
            return functional_call(self.trainers[0].objective, (parameters, buffers), (batch, group))

        with self.streams:
            return torch.vmap(objective, randomness="different")(self.parameters, self.buffers, batch)

    def clip_gradients(self, parameters: list[nn.Parameter]) -> Tensor:
        """Clip each seed's gradient to the norm `clip`; returns the norms [S] before."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        norm = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
        factor = (self.clip / (norm + 1e-6)).clamp(max=1)  # as torch's clip_grad_norm_
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))
        return norm

    @torch.no_grad()
    def update_target(self) -> None:
        """One Polyak step of all seeds. The first step copies, as a single trainer's does."""
        weight = 1 - self.average_decay if self.step_count >= self.delay else 1.0
        for values in (self.parameters, self.buffers):
            for name, target in values.items():
                if name.startswith("loss.target."):
                    target.lerp_(values[name.replace("loss.target.", "loss.agent.", 1)], weight)

    def batch(self) -> TensorDict:
        """A batch [S, B]: each seed draws its own."""
        together: Any = torch.stack([trainer.batch() for trainer in self.trainers])
        self.rows = torch.stack([trainer.rows for trainer in self.trainers])
        return together

    @property
    def members(self) -> list[Trainer]:
        return self.trainers

    def split(self, value: Any) -> list[Any]:
        return list(value.unbind(0))

    def state(self) -> list[State]:
        pairs = zip(self.trainers, self.streams.states, strict=True)
        return [{**trainer.state()[0], self.stream: stream.clone()} for trainer, stream in pairs]

    def load_state(self, states: Sequence[State], metrics: Sequence[Mapping[str, float]], step: int) -> None:
        for trainer, state, found in zip(self.trainers, states, metrics, strict=True):
            trainer.load_state([state], [found], step)
        self.streams.states = [state[self.stream] for state in states]
        self.metrics, self.step_count = torch.stack([trainer.metrics for trainer in self.trainers]), step  # type: ignore[arg-type]
