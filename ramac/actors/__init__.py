"""Actors: policies pi(a|s) that can be cloned from data and sampled with gradients."""

import math
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from tensordict import TensorDictBase
from tensordict.nn import InteractionType, TensorDictModuleBase
from tensordict.nn.probabilistic import interaction_type
from torch import Tensor

from ramac.spec import Scaling, Spec

if TYPE_CHECKING:
    from torchrl.data import Composite


class Denoised(NamedTuple):
    """One training pass of a generative actor on a logged action a: x_t = c_t a + noise, and its estimate of a."""

    loss: Tensor  # [B] behaviour cloning
    noisy: Tensor  # [B, A] x_t
    signal: Tensor  # [B] c_t
    clean: Tensor  # [B, A] the estimate, not clipped


class Actor(TensorDictModuleBase):
    """A policy. An entry writes two methods, both in standardised units: `sample` and `clone`.

    Some loss terms need more: `sample_with_log_prob(observation) -> (action, log density [B])`,
    `sample_with_teacher(observation) -> (action, the student's unclipped action minus its teacher's [B, A])` and
    `denoise(observation, action) -> Denoised`.

    Losses and TorchRL call the methods on TensorDicts. These scale observations and actions and flatten the leading
    dimensions, so an entry always sees float32 matrices: observation [B, O] and action [B, A] in [-1, 1].
    """

    trained_by: ClassVar[tuple[str, ...]] = ()  # loss terms that train a part which bc does not reach

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.in_keys, self.out_keys = ["observation"], ["action"]
        self.data_spec = spec
        self.scaling = Scaling(spec)

    @property
    def spec(self) -> "Composite":
        """TorchRL's specification of what the actor writes: `action` in its box."""
        from torchrl.data import Bounded, Composite  # a second of imports, which acting need not wait for

        low, high = self.scaling.low, self.scaling.high
        return Composite(action=Bounded(low, high, device=low.device), device=low.device)

    def sample(self, observation: Tensor) -> Tensor:
        """observation [B, O] -> action [B, A] in [-1, 1], reparameterised: gradients reach the weights."""
        raise NotImplementedError(f"{type(self).__name__} must define sample(observation)")

    def clone(self, observation: Tensor, action: Tensor) -> Tensor:
        """observation [B, O], action [B, A] in [-1, 1] -> behaviour-cloning loss [B].

        Its unit is a squared error per action dimension, of actions in [-1, 1] or of noise with unit variance, so that
        one weight of another term means the same for every actor. A likelihood comes to it by `in_squared_error`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define clone(observation, action)")

    def mode(self, observation: Tensor) -> Tensor:
        """observation [B, O] -> the central action [B, A] where the family has one, otherwise a sample."""
        return self.sample(observation)

    def forward(self, tensordict: TensorDictBase, mode: bool | None = None) -> TensorDictBase:
        """Set `action` [*b, A] inside the box for `observation` [*b, O]: a sample, or the `mode`.

        Without `mode`, TorchRL's `set_exploration_type` decides; a sample where it is not set.
        """
        mode = central() if mode is None else mode
        observation = self.scaling.observe(tensordict["observation"])
        shape = observation.shape[:-1]
        unit = (self.mode if mode else self.sample)(observation.reshape(math.prod(shape), self.data_spec.obs_dim))
        return tensordict.set("action", self.scaling.to_box(unit).reshape(*shape, self.data_spec.act_dim))

    def bc(self, tensordict: TensorDictBase) -> Tensor:
        """Behaviour-cloning loss [*b] of `observation` [*b, O] and `action` [*b, A]."""
        observation = self.scaling.observe(tensordict["observation"])
        action = self.scaling.to_unit(tensordict["action"])
        shape = observation.shape[:-1]
        flat = observation.reshape(-1, self.data_spec.obs_dim), action.reshape(-1, self.data_spec.act_dim)
        return self.clone(*flat).reshape(shape)


def central() -> bool:
    """Whether TorchRL's `set_exploration_type` asks for the central action of a policy instead of a sample."""
    return interaction_type() not in (None, InteractionType.RANDOM)  # torchrl's names for them are aliases


def noise(observation: Tensor, act_dim: int) -> Tensor:
    """Standard normal start of a generative chain: [B, A]."""
    return torch.randn(observation.shape[0], act_dim, device=observation.device, dtype=observation.dtype)


def in_squared_error(log_prob: Tensor, variance: Tensor, beta: float) -> Tensor:
    """Cloning loss -2 variance^beta log_prob of per-dimension log densities and detached variances of the actions.

    With beta 1 its gradient in the mean is that of a squared error at any variance; with 0 it is twice the negative
    log-likelihood. Shapes are kept.
    Paper: Seitzer et al. 2022, On the Pitfalls of Heteroscedastic Uncertainty Estimation.
    """
    return -2 * variance.detach().clamp_min(1e-4) ** beta * log_prob  # the floor is a deviation of 0.01
