"""Flow matching: an ordinary differential equation carries noise to actions."""

from typing import Literal

import torch
from torch import Tensor

from ramac.actors import Actor, noise
from ramac.errors import at_least
from ramac.nets import ConditionalNet, integrate
from ramac.registry import actors
from ramac.spec import Spec


@actors.register("flow", number="steps")
class Flow(Actor):
    """Flow matching: velocity v(x_t, t, s) fitted to a - z on x_t = (1-t) z + t a; sampled by an ODE solver.

    `midpoint` costs two evaluations a step and keeps thin, separate modes apart better than twice the Euler steps.
    Paper: Lipman et al. 2023, Flow Matching for Generative Modeling; as an actor RAFMAC (Fukazawa et al. 2026).
    """

    def __init__(
        self,
        spec: Spec,
        *,
        steps: int = 5,  # 10 evaluations with midpoint, as many as RAFMAC's 10 Euler steps
        solver: Literal["midpoint", "euler", "rk4"] = "midpoint",
        hidden: tuple[int, ...] = (128, 128, 128),  # RAFMAC
    ) -> None:
        super().__init__(spec)
        at_least(1, steps=steps)
        self.steps, self.solver = steps, solver
        self.velocity = ConditionalNet(spec.obs_dim, spec.act_dim, hidden)

    def sample(self, observation: Tensor) -> Tensor:
        def velocity(t: Tensor, x: Tensor) -> Tensor:
            return self.velocity(x, t.reshape(1), observation)

        return integrate(velocity, noise(observation, self.spec.act_dim), self.steps, self.solver).clamp(-1, 1)

    def clone(self, observation: Tensor, action: Tensor) -> Tensor:
        start, t = torch.randn_like(action), torch.rand_like(action[:, 0])
        x = torch.lerp(start, action, t.unsqueeze(-1))
        return (self.velocity(x, t, observation) - (action - start)).square().mean(-1)
