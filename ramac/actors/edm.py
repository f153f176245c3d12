"""Diffusion in the noise levels and preconditioning of EDM."""

from typing import Any

import torch
from torch import Tensor

from ramac.actors import Actor, Denoised, noise
from ramac.errors import at_least, at_most
from ramac.nets import ConditionalNet
from ramac.registry import actors
from ramac.spec import Spec


@actors.register("edm", suffix="steps")
class EDM(Actor):
    """Diffusion with x = a + sigma n, log sigma ~ N(-1.2, 1.2^2) and a preconditioned denoiser; second-order multistep.

    Paper: Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models.
    """

    scheduler: Any

    def __init__(
        self,
        spec: Spec,
        *,
        steps: int = 5,  # as ddim
        sigma_min: float = 0.002,  # EDM
        sigma_max: float = 10.0,  # EDM: 80, for images; 10 is noise enough for [-1, 1]
        hidden: tuple[int, ...] = (256, 256, 256),  # as ddpm
    ) -> None:
        super().__init__(spec)
        at_least(2, steps=steps)
        at_most(1000, steps=steps)
        if not 0 < sigma_min < sigma_max < float("inf"):
            raise ValueError(f"0 < sigma_min < sigma_max is needed, got {sigma_min} and {sigma_max}")
        import diffusers  # slow to import

        self.steps = steps
        scheduler = getattr(diffusers, "EDMDPMSolverMultistepScheduler")  # noqa: B009  exported lazily, unknown to pyright
        self.scheduler = scheduler(sigma_min=sigma_min, sigma_max=sigma_max, sigma_data=0.5)
        self.net = ConditionalNet(spec.obs_dim, spec.act_dim, hidden)

    def sample(self, observation: Tensor) -> Tensor:
        self.scheduler.set_timesteps(self.steps)
        x = self.scheduler.init_noise_sigma * noise(observation, self.data_spec.act_dim)
        for t in self.scheduler.timesteps:
            scaled = self.scheduler.scale_model_input(x, t)
            out = self.net(scaled, x.new_full((1,), float(t)), observation)  # t, on the host, is ln(sigma) / 4
            x = self.scheduler.step(out, t, x, return_dict=False)[0]
        self.scheduler.set_timesteps(self.steps)  # drops the estimates of earlier steps, which keep a graph alive
        return x.clamp(-1, 1)

    def denoise(self, observation: Tensor, action: Tensor) -> Denoised:
        sigma = (1.2 * torch.randn_like(action[:, 0]) - 1.2).exp().unsqueeze(-1)
        x = action + sigma * torch.randn_like(action)
        root = (sigma.square() + 0.25).sqrt()  # sigma_data = 0.5
        skip, scale = 0.25 / root.square(), 0.5 * sigma / root
        out = self.net(x / root, sigma.log().squeeze(-1) / 4, observation)
        loss = (out - (action - skip * x) / scale).square().mean(-1)  # with EDM's weight
        return Denoised(loss, x, torch.ones_like(x[:, 0]), skip * x + scale * out)

    def clone(self, observation: Tensor, action: Tensor) -> Tensor:
        return self.denoise(observation, action).loss
