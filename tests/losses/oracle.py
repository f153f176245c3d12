"""An agent and terms of a recipe in float64, and TorchRL's modules around copies of its networks.

TorchRL's side is written without ramac's scaling, ensemble and distribution: plain layers, plain numbers of the spec.
"""

import copy

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import Tensor, nn
from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator

from ramac.agent import Agent
from ramac.composite import CompositeLoss
from ramac.experiment.compose import compose
from ramac.losses import build_terms
from ramac.nets import EnsembleLinear
from ramac.spec import Spec

MEAN, STD = 12.3, 4.7  # of the returns
SPEC = Spec(3, 2, (-0.7, 0.1), (0.4, 1.9), (0.3, -0.2, 0.1), (1.3, 0.7, 2.1), MEAN, STD)
LOW, HIGH, OBS_MEAN, OBS_STD = (
    torch.tensor(numbers, dtype=torch.float64) for numbers in (SPEC.low, SPEC.high, SPEC.obs_mean, SPEC.obs_std)
)
CENTRE, HALF = (HIGH + LOW) / 2, (HIGH - LOW) / 2
LOG_WIDTH = HALF.log().sum().item()  # log density in [-1, 1] minus that in the box
GAMMA = 0.875  # TorchRL keeps it in float32, where this number is exact
ROWS = 24


def batch_of() -> TensorDict:
    """Transitions [24] in float64: a quarter terminates, another fifth is truncated, rewards have an offset."""
    row = torch.arange(ROWS).unsqueeze(-1)
    terminated = row % 4 == 0
    truncated = (row % 5 == 1) & ~terminated
    action = CENTRE + 0.98 * HALF * (2 * torch.rand(ROWS, 2, dtype=torch.float64) - 1)
    after = {
        "observation": torch.randn(ROWS, 3, dtype=torch.float64),
        "reward": 5 + torch.randn(ROWS, 1, dtype=torch.float64),
        "terminated": terminated,
        "truncated": truncated,
        "done": terminated | truncated,
    }
    now = {"observation": torch.randn(ROWS, 3, dtype=torch.float64), "action": action}
    return TensorDict({**now, "next": TensorDict(after, [ROWS])}, [ROWS])


class Case:
    """Agent, target and terms of a recipe in float64, and a batch; the target's weights are others."""

    def __init__(self, recipe: str, *overrides: str) -> None:
        small = [f"task.gamma={GAMMA}", "critic.hidden=[12,12]", "actor.hidden=[12,12]"]
        config = compose([f"recipe={recipe}", *small, *overrides])
        self.online, self.target = (Agent.build(config.plain, SPEC).double() for _ in range(2))
        self.terms = build_terms(config.loss, SPEC)
        self.loss = CompositeLoss(self.online, self.terms, target=self.target).double()
        self.batch = batch_of()

    def total(self, *names: str) -> Tensor:
        """Weighted sum [] of these terms, as the trainer makes it; the draws start from seed 1."""
        torch.manual_seed(1)
        losses, reports = self.loss.sample_losses(self.batch.clone(), names)
        return self.loss.weighted_sum({name: loss.mean() for name, loss in losses.items()}, reports, self.loss.step)


class Policy(nn.Module):
    """The actor's network with the observation's scaling; `output` makes of its outputs what TorchRL wants."""

    def __init__(self, net: nn.Module, output) -> None:
        super().__init__()
        self.net, self.output = copy.deepcopy(net), output

    def forward(self, observation: Tensor, *unused: Tensor):
        return self.output(self.net((observation - OBS_MEAN) / OBS_STD))


class Value(nn.Module):
    """One member of the critic, or the value of `iql`, in plain layers and reward units.

    `unit`: the actions are in [-1, 1].
    """

    def __init__(self, layers: nn.Module, unit: bool = False) -> None:
        super().__init__()
        self.net, self.unit = copy.deepcopy(layers), unit

    def forward(self, observation: Tensor, *action: Tensor) -> Tensor:
        scaled = action if self.unit else [(each - CENTRE) / HALF for each in action]
        return MEAN + STD * self.net(torch.cat([(observation - OBS_MEAN) / OBS_STD, *scaled], -1))


def member(trunk: nn.Sequential, index: int) -> nn.Sequential:
    """Member `index` of an ensemble as a network of torch's own layers."""
    layers: list[nn.Module] = []
    for layer in trunk:
        if isinstance(layer, EnsembleLinear):
            plain = nn.Linear(layer.weight.shape[1], layer.weight.shape[2], dtype=torch.float64)
            with torch.no_grad():
                plain.weight.copy_(layer.weight[index].T)
                plain.bias.copy_(layer.bias[index, 0])
            layers.append(plain)
        else:
            layers.append(copy.deepcopy(layer))
    return nn.Sequential(*layers)


def deterministic(agent: Agent, unit: bool = False) -> TensorDictModule:
    """The deterministic actor for TorchRL."""
    output = torch.tanh if unit else (lambda found: CENTRE + HALF * found.tanh())
    return TensorDictModule(Policy(agent.actor.net, output), ["observation"], ["action"])


def gaussian(agent: Agent, unit: bool = False, *more: str) -> ProbabilisticActor:
    """The squashed Gaussian for TorchRL; it does not use the keys in `more`."""

    def output(found: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = found.chunk(2, -1)
        return mean, log_std.clamp(-5, 2).exp()

    box = {} if unit else {"low": LOW, "high": HIGH}
    net = TensorDictModule(Policy(agent.actor.net, output), ["observation", *more], ["loc", "scale"])
    return ProbabilisticActor(
        net, in_keys=["loc", "scale"], distribution_class=TanhNormal, distribution_kwargs=box, return_log_prob=True
    )


def critics(agent: Agent, unit: bool = False, observation: str = "observation") -> list[ValueOperator]:
    """The members of the critic for TorchRL, which read this observation."""
    members = [Value(member(agent.critic.trunk, index), unit) for index in range(2)]
    return [ValueOperator(each, in_keys=[observation, "action"]) for each in members]


def set_target(loss, name: str, modules) -> None:
    """Give the target network `name` of a TorchRL loss the weights of `modules`, one or a list of members."""
    modules = modules if isinstance(modules, list) else [modules]
    found = [dict(module.named_parameters()) for module in modules]
    parameters = getattr(loss, f"target_{name}_params").flatten_keys(".")
    with torch.no_grad():
        for key, value in parameters.items():
            each = [own[key] for own in found]
            value.data.copy_(torch.stack(each) if len(each) > 1 else each[0])


def unit_batch(batch: TensorDict) -> TensorDict:
    """The batch with its actions in [-1, 1]."""
    return batch.clone().set("action", (batch["action"] - CENTRE) / HALF)


def close(found: Tensor, plain: Tensor) -> None:
    torch.testing.assert_close(found, plain, rtol=1e-9, atol=1e-11)


def same_gradient(ours: Tensor, theirs: Tensor, net: nn.Module, parameters, factor: float = 1.0) -> None:
    """Assert d theirs = factor d ours for every weight of `net`, an ensemble or a plain network."""
    flat = {key: value for key, value in parameters.flatten_keys(".").items() if isinstance(value, nn.Parameter)}
    for index, layer in net.named_children():
        for kind, weight in layer.named_parameters():
            (name,) = [key for key in flat if key.endswith(f"net.{index}.{kind}")]
            (found,) = torch.autograd.grad(ours, weight, retain_graph=True)
            (plain,) = torch.autograd.grad(theirs, flat.pop(name), retain_graph=True)
            if isinstance(layer, EnsembleLinear):
                found = found.mT if kind == "weight" else found.squeeze(-2)
            assert kind == "bias" or plain.abs().max() > 1e-6, f"no gradient reaches {name}"
            close(factor * found, plain)
    assert not flat, f"not compared: {list(flat)}"
