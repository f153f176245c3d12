"""What the updates of a run depend on, taken from a trainer and put back: then it goes on bit for bit.

Networks, averages, multipliers, optimisers, learning rates, and the generators of batches and of random numbers; of
seeds that are trained as one, each seed's own.
"""

from collections.abc import Mapping, Sequence

import torch
from tensordict import TensorDict
from torch import Tensor
from torch.optim import Optimizer

from ramac.training.stacked import Stacked
from ramac.training.trainer import Trainer

State = dict[str, Tensor]  # of one seed, by name
STREAM = {"cpu": "random", "cuda": "random.cuda"}  # which of torch's generators updates draw from


def optimisers(trainer: Trainer) -> dict[str, Optimizer]:
    """Those of the groups and of the multipliers."""
    return {**trainer.optimisers, **({"multipliers": trainer.multipliers} if trainer.multipliers is not None else {})}


def moments(trainer: Trainer) -> tuple[State, State]:
    """Adam's moments, of stacked seeds [S, ...], and its counts of steps, common to the seeds; the tensors themselves.

    Where a parameter has not been stepped yet they are made, all zero, as Adam would.
    """
    names = {id(tensor): name for name, tensor in trainer.networks().items()}
    own, common = {}, {}
    for group, optimiser in optimisers(trainer).items():
        for parameter in optimiser.param_groups[0]["params"]:
            state, name = optimiser.state[parameter], f"{group}.{names[id(parameter)]}"
            if not state:
                place = parameter.device if optimiser.defaults.get("fused") else "cpu"
                state["step"] = torch.zeros((), device=place)
                state |= {key: torch.zeros_like(parameter, requires_grad=False) for key in ("exp_avg", "exp_avg_sq")}
            common[f"{name}.step"] = state["step"]
            own |= {f"{name}.{key}": state[key] for key in ("exp_avg", "exp_avg_sq")}
    return own, common


def random_states(device: torch.device) -> State:
    """States of torch's global generators."""
    states = {"random": torch.get_rng_state()}
    return states | ({"random.cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def take(trainer: Trainer) -> list[State]:
    """The state of each seed, copied."""
    device = trainer.step.device
    stacked = trainer if isinstance(trainer, Stacked) else None
    own, common = moments(trainer)
    own |= trainer.networks()
    common |= random_states(device)
    for group, scheduler in trainer.schedulers.items():
        common[f"{group}.rate"] = torch.tensor(scheduler.get_last_lr()[0], dtype=torch.float64)
    singles = [trainer] if stacked is None else stacked.trainers
    states = []
    for seed, single in enumerate(singles):
        state = {name: value if stacked is None else value[seed] for name, value in own.items()} | common
        state["sampler"] = single.generator.get_state()
        if stacked is not None:  # as if each seed had the global generator to itself
            state[STREAM[device.type]] = stacked.streams.states[seed]
        states.append({name: value.detach().clone() for name, value in state.items()})
    return states


@torch.no_grad()
def put(trainer: Trainer, states: Sequence[State], updates: int, metrics: Sequence[Mapping[str, float]]) -> None:
    """Continue after `updates` of them, with the `states` that `take` gave and the numbers of each seed's last update.

    Raises RuntimeError for generators' states that are none.
    """
    stacked = trainer if isinstance(trainer, Stacked) else None
    own, common = moments(trainer)
    for name, value in {**own, **trainer.networks()}.items():
        value.copy_(states[0][name] if stacked is None else torch.stack([state[name] for state in states]))
    for name, value in common.items():
        value.copy_(states[0][name])
    for group, scheduler in trainer.schedulers.items():
        epoch, rate = updates if group == "critic" else updates // trainer.delay, states[0][f"{group}.rate"].item()
        scheduler.load_state_dict(
            {**scheduler.state_dict(), "last_epoch": epoch, "_step_count": epoch + 1, "_last_lr": [rate]}
        )
        scheduler.optimizer.param_groups[0]["lr"] = rate
    for single, state in zip([trainer] if stacked is None else stacked.trainers, states, strict=True):
        single.generator.set_state(state["sampler"])
    if stacked is not None:
        stacked.streams.states = [state[STREAM[trainer.step.device.type]] for state in states]
    last = [TensorDict({name: torch.tensor(value) for name, value in found.items()}) for found in metrics]
    trainer.metrics = (last[0] if stacked is None else torch.stack(last)).to(trainer.step.device)  # type: ignore[arg-type]
    trainer.updates = updates
    torch.set_rng_state(states[0]["random"])
    if "random.cuda" in states[0]:
        torch.cuda.set_rng_state(states[0]["random.cuda"], trainer.step.device)
