"""Diffusion in the noise levels and preconditioning of EDM."""

import torch
from torch import Tensor

from ramac.actors import Actor, Denoised, noise
from ramac.errors import at_least, at_most
from ramac.nets import ConditionalNet
from ramac.registry import actors
from ramac.samplers import steps_of, take
from ramac.spec import Spec


@actors.register("edm", suffix="steps")
class EDM(Actor):
    """Diffusion with x = a + sigma n, log sigma ~ N(-1.2, 1.2^2) and a preconditioned denoiser; second-order multistep.

    Paper: Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models.

    Args:
        steps: Denoising steps per action; 5 as ddim.
        sigma_min: Lowest noise level, in units of the action box [-1, 1]; default as in EDM.
        sigma_max: Highest noise level, likewise; EDM has 80, for images: 10 is noise enough for [-1, 1].
        hidden: Widths of the hidden layers; default as ddpm.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        steps: int = 5,
        sigma_min: float = 0.002,
        sigma_max: float = 10.0,
        hidden: tuple[int, ...] = (256, 256, 256),
    ) -> None:
        super().__init__(spec)
        at_least(2, steps=steps)
        at_most(1000, steps=steps)
        if not 0 < sigma_min < sigma_max < float("inf"):
            raise ValueError(f"0 < sigma_min < sigma_max is needed, got {sigma_min} and {sigma_max}")
        import diffusers  # slow to import

        name = "EDMDPMSolverMultistepScheduler"
        scheduler = getattr(diffusers, name)(sigma_min=sigma_min, sigma_max=sigma_max, sigma_data=0.5)
        scheduler.set_timesteps(steps)
        self.start = scheduler.init_noise_sigma
        self.times = scheduler.timesteps.tolist()  # ln(sigma) / 4
        one, none = torch.ones((), device="cpu"), torch.zeros((), device="cpu")
        sigmas = scheduler.sigmas[:-1]
        self.scale_in = [scheduler.precondition_inputs(one, sigma).item() for sigma in sigmas]
        self.skip = [scheduler.precondition_outputs(one, none, sigma).item() for sigma in sigmas]
        self.scale_out = [scheduler.precondition_outputs(none, one, sigma).item() for sigma in sigmas]
        scheduler.precondition_outputs = lambda sample, estimate, sigma: estimate  # the steps are those of estimates
        self.steps_taken = steps_of(scheduler)
        self.net = ConditionalNet(spec.obs_dim, spec.act_dim, hidden)

    def sample(self, observation: Tensor) -> Tensor:
        def estimate(index: int, x: Tensor) -> Tensor:
            out = self.net(self.scale_in[index] * x, x.new_full((1,), self.times[index]), observation)
            return self.skip[index] * x + self.scale_out[index] * out

        return take(self.steps_taken, self.start * noise(observation, self.data_spec.act_dim), estimate).clamp(-1, 1)

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
