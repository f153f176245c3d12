"""A flow that learns leaps of any size, down to a single one."""

import torch
from torch import Tensor

from ramac.actors import Actor, Denoised, noise
from ramac.nets import ConditionalNet
from ramac.registry import actors
from ramac.spec import Spec


@actors.register("shortcut", suffix="steps")
class Shortcut(Actor):
    """Shortcut model: mean velocity over the next d, by flow matching at d = 0 and by two leaps of d / 2 above it.

    A quarter of a batch learns leaps of 1, 1/2 and 1/4; their targets come from the online weights (the paper: from
    their EMA). On the bandit fewer one-step samples are OOD than with a mean flow (docs/results/bandit.md).
    Paper: Frans et al. 2025, One Step Diffusion via Shortcut Models; as an actor Espinosa-Dice et al. 2025, SORL.

    Args:
        steps: Leaps per action; 2 was measured in docs/results/bandit.md; SORL has up to 8.
        hidden: Widths of the hidden layers; default as ddpm.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        steps: int = 2,
        hidden: tuple[int, ...] = (256, 256, 256),
    ) -> None:
        super().__init__(spec)
        if steps not in (1, 2, 4):
            raise ValueError(f"steps must be 1, 2 or 4, the leaps that are learned, got {steps}")
        self.steps = steps
        self.leap = ConditionalNet(spec.obs_dim, spec.act_dim, hidden, times=2)

    def sample(self, observation: Tensor) -> Tensor:
        x, size = noise(observation, self.data_spec.act_dim), 1 / self.steps
        for step in range(self.steps):
            x = x + size * self.leap(
                x, torch.cat([x.new_full((1, 1), time) for time in (step * size, size)], -1), observation
            )
        return x.clamp(-1, 1)

    def denoise(self, observation: Tensor, action: Tensor) -> Denoised:
        start, t = torch.randn_like(action), torch.rand_like(action[:, 0])
        size = 0.5 ** torch.randint(3, t.shape, device=t.device)
        leaps = torch.rand_like(t) < 0.25  # shortcut models: a quarter
        t = torch.where(leaps, (t / size).floor() * size, t)  # a leap starts at a multiple of its size
        size = torch.where(leaps, size, 0.0)
        x = torch.lerp(start, action, t.unsqueeze(-1))
        with torch.no_grad():
            half = size / 2
            told = torch.where(size > 0.25, half, 0.0)  # the halves of the smallest leap are plain flow-matching steps
            first = self.leap(x, torch.stack([t, told], -1), observation)
            second = self.leap(x + half.unsqueeze(-1) * first, torch.stack([t + half, told], -1), observation)
        target = torch.where(leaps.unsqueeze(-1), (first + second) / 2, action - start)
        found = self.leap(x, torch.stack([t, size], -1), observation)
        return Denoised((found - target).square().mean(-1), x, t, x + (1 - t).unsqueeze(-1) * found)

    def clone(self, observation: Tensor, action: Tensor) -> Tensor:
        return self.denoise(observation, action).loss
