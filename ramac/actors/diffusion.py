"""Denoising diffusion from noise to actions: a Markov chain (DDPM), or the deterministic DDIM and DPM-Solver++."""

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ramac.actors import Actor, Denoised, noise
from ramac.errors import at_least, at_most
from ramac.nets import ConditionalNet
from ramac.registry import actors
from ramac.samplers import steps_of, take
from ramac.spec import Spec

Schedule = Literal["vp", "linear", "cosine"]


def betas(schedule: str, steps: int) -> list[float]:
    """Noise added per step.

    `vp`: 1 - exp(-b_min/T - (b_max - b_min)(2t - 1)/(2 T^2)) with b in [0.1, 10] (Xiao et al. 2022).
    `linear`: Ho et al. 2020, scaled to T steps. `cosine`: Nichol & Dhariwal 2021.
    """
    t = torch.arange(1, steps + 1, dtype=torch.float64)
    if schedule == "vp":
        beta = 1 - torch.exp(-0.1 / steps - 0.5 * 9.9 * (2 * t - 1) / steps**2)
    elif schedule == "linear":
        if steps <= 20:
            raise ValueError(f"schedule linear needs more than 20 steps, got {steps}")
        beta = torch.linspace(1e-4, 0.02, steps, dtype=torch.float64) * 1000 / steps
    else:
        signal = torch.cos((torch.arange(steps + 1, dtype=torch.float64) / steps + 0.008) / 1.008 * math.pi / 2) ** 2
        beta = 1 - signal[1:] / signal[:-1]
    return beta.clamp(max=0.999).tolist()


class Diffusion(Actor):
    """Epsilon prediction on x_t = sqrt(abar_t) a + sqrt(1 - abar_t) eps; the steps are those of a diffusers scheduler.

    The scheduler gets the action's estimate, clipped to [-1, 1]. `levels`: the noise levels to sample at, or all.
    """

    scheduler: Any
    kept: Tensor  # [train_steps] abar, on the device

    def __init__(
        self,
        spec: Spec,
        *,
        scheduler: str,
        train_steps: int,
        schedule: str,
        hidden: tuple[int, ...],
        levels: list[int] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(spec)
        at_least(1, steps=train_steps)
        at_most(1000, steps=train_steps)
        import diffusers  # slow to import

        self.train_steps = train_steps
        self.scheduler = getattr(diffusers, scheduler)(
            train_steps, trained_betas=betas(schedule, train_steps), prediction_type="sample", **options
        )
        if levels is not None:
            self.scheduler.set_timesteps(timesteps=levels)
        kept = self.scheduler.alphas_cumprod
        self.register_buffer("kept", kept.clone(), persistent=False)
        self.levels = self.scheduler.timesteps.tolist()
        # numbers on the host: a step costs no look-up on the device, and can be exported
        self.signal, self.spread = kept[self.levels].sqrt().tolist(), (1 - kept[self.levels]).sqrt().tolist()
        self.steps_taken = steps_of(self.scheduler)
        self.epsilon = ConditionalNet(spec.obs_dim, spec.act_dim, hidden)

    def predict(self, x: Tensor, t: Tensor, observation: Tensor) -> Tensor:
        """Noise in x [B, A] at the integer steps t [B] or [1] -> [B, A]."""
        return self.epsilon(x, (t + 1) / self.train_steps, observation)

    def sample(self, observation: Tensor) -> Tensor:
        def estimate(index: int, x: Tensor) -> Tensor:
            time = x.new_full((1,), (self.levels[index] + 1) / self.train_steps)
            epsilon = self.epsilon(x, time, observation)
            return ((x - self.spread[index] * epsilon) / self.signal[index]).clamp(-1, 1)

        return take(self.steps_taken, noise(observation, self.data_spec.act_dim), estimate).clamp(-1, 1)

    def denoise(self, observation: Tensor, action: Tensor) -> Denoised:
        t = torch.randint(self.train_steps, (action.shape[0],), device=action.device)
        epsilon = torch.randn_like(action)
        kept = self.kept[t]
        # the scheduler's add_noise would not do: DPM-Solver's looks t up among the few steps of its sampler
        x = kept.sqrt().unsqueeze(-1) * action + (1 - kept).sqrt().unsqueeze(-1) * epsilon
        found = self.predict(x, t, observation)
        loss = (found - epsilon).square().mean(-1)
        return Denoised(loss, x, kept.sqrt(), self.clean(x, found, kept))

    @staticmethod
    def clean(x: Tensor, epsilon: Tensor, kept: Tensor) -> Tensor:
        """The action (x_t - sqrt(1 - abar) eps) / sqrt(abar) in x [B, A], given its noise and abar [B] or []."""
        kept = kept.unsqueeze(-1)
        return (x - (1 - kept).sqrt() * epsilon) / kept.sqrt()

    def clone(self, observation: Tensor, action: Tensor) -> Tensor:
        return self.denoise(observation, action).loss


@actors.register("ddpm", suffix="steps")
class DDPM(Diffusion):
    """Denoising diffusion: T ancestral steps, epsilon prediction, actions clipped at each step.

    x_t = sqrt(abar_t) a + sqrt(1 - abar_t) n with noise n and the kept share abar_t; bc is mean |eps(x_t, t, s) - n|^2.
    Paper: Ho et al. 2020, Denoising Diffusion Probabilistic Models; as an actor Diffusion-QL (Wang et al. 2023), RADAC.

    Args:
        steps: Denoising steps, also noise levels in training; 5 as in RADAC and Diffusion-QL.
        schedule: Noise schedule of the levels; `vp` as in RADAC.
        hidden: Widths of the hidden layers; default as in RADAC.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        steps: int = 5,
        schedule: Schedule = "vp",
        hidden: tuple[int, ...] = (256, 256, 256),
    ) -> None:
        options = {"train_steps": steps, "schedule": schedule, "clip_sample": False}
        super().__init__(spec, scheduler="DDPMScheduler", hidden=hidden, **options)


def quadratic(steps: int, train_steps: int) -> list[int]:
    """`steps` of the noise levels train_steps - 1 ... 0, denser towards 0 (Song et al. 2021, DDIM, appendix D.2)."""
    levels = list[int]()
    for i in range(steps):
        level = round((train_steps - 1) * (i / (steps - 1)) ** 2)
        levels.append(max(level, levels[-1] + 1) if levels else level)
    return levels[::-1]


class FewSteps(Diffusion):
    """Sampling at `steps` of the `train_steps` noise levels by DPM-Solver++ of an order; of the first it is DDIM.

    With quadratic levels fewer actions are OOD than with evenly spaced ones (docs/results/bandit.md).

    Args:
        steps: Network evaluations per action; 5 as RADAC's chain.
        train_steps: Noise levels in training; 50 is fine enough for thin supports (docs/results/bandit.md).
        schedule: Noise schedule of the levels; `vp` as in RADAC.
        hidden: Widths of the hidden layers; default as in RADAC.
    """

    order: ClassVar[int]

    def __init__(
        self,
        spec: Spec,
        *,
        steps: int = 5,
        train_steps: int = 50,
        schedule: Schedule = "vp",
        hidden: tuple[int, ...] = (256, 256, 256),
    ) -> None:
        if not 2 <= steps <= train_steps:  # a single step would stay at the lowest noise level
            raise ValueError(f"steps must be between 2 and train_steps ({train_steps}), got {steps}")
        options = {"train_steps": train_steps, "schedule": schedule, "levels": quadratic(steps, train_steps)}
        options |= {"solver_order": self.order}
        super().__init__(spec, scheduler="DPMSolverMultistepScheduler", hidden=hidden, **options)


@actors.register("ddim", suffix="steps")
class DDIM(FewSteps):
    """Deterministic sampling of a diffusion model: `steps` of the `train_steps` noise levels, eta = 0.

    Paper: Song et al. 2021, Denoising Diffusion Implicit Models.
    """

    order = 1


@actors.register("dpmsolver", suffix="steps")
class DPMSolver(FewSteps):
    """Second-order multistep sampling of a diffusion model: `steps` of its noise levels, DPM-Solver++(2M).

    A step uses the estimates a_i and a_(i-1) of the action as a_i + (a_i - a_(i-1)) h_i / (2 h_(i-1)), h_i the step in
    log(sqrt(abar) / sqrt(1 - abar)); bc is that of ddpm.
    Paper: Lu et al. 2022, DPM-Solver++; as an actor Kang et al. 2023, Efficient Diffusion Policies.
    """

    order = 2
