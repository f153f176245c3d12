"""What is measured: the paper's shapes, random data, and the updates of both implementations."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor, nn

from benchmarks import plain
from benchmarks.contenders import Contender, Row
from benchmarks.plain.common import Method
from ramac.experiment.compose import compose
from ramac.experiment.run import build_trainer
from ramac.spec import Spec, transitions
from ramac.training.cost import evaluations_per_update
from ramac.training.trainer import Trainer

OBS_DIM, ACT_DIM, BATCH, LEVELS, TRANSITIONS = 17, 6, 256, 32, 100_000
FIXED = ("task=bandit", "loss.td.gamma=0.99", "trainer.steps=1000000")  # a bandit's own gamma is 0: no next action
IMPLICIT = ("radac", "rafmac")  # recipes whose critic has levels


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
    """Updates of ramac, each on a batch of its own, after the first ones, in which captured steps are traced."""
    trainer = ramac_trainer(overrides, logged)
    evaluations = described(evaluations_per_update(trainer))
    for _ in range(2 * trainer.delay):
        trainer.update(trainer.batch())
    return Contender(lambda: trainer.update(trainer.batch()), columns, against, evaluations, trainer.delay)


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
    """Updates of the plain implementation, each on a batch of its own; `count`: levels, where the critic has some."""
    device = logged.device or torch.device("cpu")
    sizes = {"levels": count} if recipe in IMPLICIT else {}
    method, arrays = plain.METHODS[recipe](OBS_DIM, ACT_DIM, device=device, **sizes), by_name(logged)

    def update() -> Any:
        index = torch.randint(len(logged), (batch,), device=device)
        return method.update({key: value[index] for key, value in arrays.items()})

    evaluations = described(plain_evaluations(method, update, batch))
    return Contender(update, columns, evaluations=evaluations, period=method.delay)


def plain_evaluations(method: Method, update: Callable[[], Any], batch: int) -> dict[str, float]:
    """Evaluations of networks per transition and update, as ramac counts its own: two critics are one ensemble."""
    total: dict[str, float] = defaultdict(float)

    def add(name: str, share: float) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            suffix = " (no gradient)" * (not torch.is_grad_enabled())
            total[name + suffix] += share * len(output) / batch / method.delay

        return hook

    handles = [
        module.register_forward_hook(add(name, share)) for name, share, modules in method.counted for module in modules
    ]
    for _ in range(method.delay):
        update()
    for handle in handles:
        handle.remove()
    return dict(total)


def described(count: Mapping[str, float]) -> str:
    """`actor 6, critic 2, critic (no gradient) 1`."""
    return ", ".join(f"{name} {number:g}" for name, number in sorted(count.items()))
