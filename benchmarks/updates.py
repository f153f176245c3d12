"""What is measured: the paper's shapes, random data, and the updates of both implementations."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from benchmarks import plain
from benchmarks.contenders import Contender, Row
from ramac.experiment.compose import compose
from ramac.experiment.run import build_trainer
from ramac.spec import Spec, transitions
from ramac.training.cost import evaluations_per_update
from ramac.training.trainer import Trainer

OBS_DIM, ACT_DIM, BATCH, LEVELS, TRANSITIONS = 17, 6, 256, 32, 100_000
FIXED = ("task=bandit", "loss.td.gamma=0.99", "trainer.steps=1000000")  # a bandit's own gamma is 0: no next action
RECIPES = {"radac": plain.radac, "rafmac": plain.rafmac}


def data(count: int = TRANSITIONS, device: str | torch.device = "cpu") -> TensorDict:
    """Random transitions [count] of the paper's shapes; one in a hundred terminates."""
    draw = torch.Generator().manual_seed(0)
    observation, after = torch.randn(2, count, OBS_DIM, generator=draw)
    action = torch.rand(count, ACT_DIM, generator=draw) * 2 - 1
    reward, ends = torch.randn(count, generator=draw), torch.rand(count, generator=draw) < 0.01
    return transitions(observation, action, reward, after, ends).to(device)


def levels(count: int) -> list[str]:
    """Overrides that give an implicit quantile critic this many levels everywhere."""
    return [f"critic.quantiles={count}", f"critic.risk_quantiles={count}"]


def ramac_trainer(overrides: Sequence[str], logged: TensorDict) -> Trainer:
    """Trainer of the configuration that the command line would compose, on these data and their device."""
    config = compose([*FIXED, *overrides])
    return build_trainer(config, Spec.unit(OBS_DIM, ACT_DIM), logged, logged.device or torch.device("cpu"))


def ramac_contender(overrides: list[str], logged: TensorDict, columns: Row, against: str | None = None) -> Contender:
    """Updates of ramac, each on a batch of its own."""
    trainer = ramac_trainer(overrides, logged)
    evaluations = described(evaluations_per_update(trainer))
    return Contender(lambda: trainer.update(trainer.batch()), columns, against, evaluations)


def by_name(logged: TensorDict) -> dict[str, Tensor]:
    """The same data as a dictionary of tensors, as the plain implementation reads them."""
    return {
        "observation": logged["observation"],
        "action": logged["action"],
        "reward": logged["next", "reward"],
        "next_observation": logged["next", "observation"],
        "terminated": logged["next", "terminated"].float(),
    }


def plain_contender(
    recipe: str, logged: TensorDict, columns: Row, count: int = LEVELS, batch: int = BATCH
) -> Contender:
    """Updates of the plain implementation, each on a batch of its own; `count`: levels."""
    device = logged.device or torch.device("cpu")
    method, arrays = RECIPES[recipe](OBS_DIM, ACT_DIM, levels=count, device=device), by_name(logged)

    def update() -> Any:
        index = torch.randint(len(logged), (batch,), device=device)
        return method.update({key: value[index] for key, value in arrays.items()})

    return Contender(update, columns, evaluations=described(plain_evaluations(method, update, batch)))


def plain_evaluations(method: plain.Plain, update: Callable[[], Any], batch: int) -> dict[str, float]:
    """Evaluations of networks per transition in one update, as ramac counts its own: two critics are one ensemble."""
    count: dict[str, float] = defaultdict(float)

    def add(name: str, share: float) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            count[name + " (no gradient)" * (not torch.is_grad_enabled())] += share * len(output) / batch

        return hook

    both = [*method.critics, *method.target_critics]
    handles = [
        critic.trunk.register_forward_hook(add("critic", 1 / 2)) for critic in both if isinstance(critic, plain.IQN)
    ]
    handles += [actor.net.register_forward_hook(add("actor", 1)) for actor in (method.actor, method.target_actor)]
    update()
    for handle in handles:
        handle.remove()
    return dict(count)


def described(count: Mapping[str, float]) -> str:
    """`actor 6, critic 2, critic (no gradient) 1`."""
    return ", ".join(f"{name} {number:g}" for name, number in sorted(count.items()))
