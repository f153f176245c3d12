"""Flow matching: an ordinary differential equation carries noise to actions; a student does it in one step."""

from typing import Literal

import torch
from torch import Tensor

from ramac.actors import Actor, Denoised, noise
from ramac.nets import ConditionalNet
from ramac.registry import actors
from ramac.solvers import TOLERANCE, check_solver, integrate
from ramac.spec import Spec


@actors.register("flow", suffix="steps")
class Flow(Actor):
    """Flow matching: velocity v(x_t, t, s) fitted to a - z on x_t = (1-t) z + t a; sampled by an ODE solver.

    `midpoint` costs two evaluations a step and separates thin modes better than twice as many Euler steps. `dopri5` and
    `tsit5` choose their steps by `tolerance`, for a whole batch at once, and need `ramac[torchdyn]`.
    Paper: Lipman et al. 2023, Flow Matching for Generative Modeling; as an actor RAFMAC (Fukazawa et al. 2026).

    Args:
        steps: Integration steps per action; 5 with midpoint cost 10 evaluations, as many as RAFMAC's 10 Euler steps.
        solver: ODE solver; midpoint evaluates the network twice a step, rk4 four times; dopri5 and tsit5 need
            `ramac[torchdyn]`.
        tolerance: Absolute and relative error per step of dopri5 and tsit5; default of torchdyn. The others take none.
        hidden: Widths of the hidden layers; default as in RAFMAC.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        steps: int = 5,
        solver: Literal["midpoint", "euler", "rk4", "dopri5", "tsit5"] = "midpoint",
        tolerance: float = TOLERANCE,
        hidden: tuple[int, ...] = (128, 128, 128),
    ) -> None:
        super().__init__(spec)
        check_solver(solver, steps, 5, tolerance)
        self.steps, self.solver, self.tolerance = steps, solver, tolerance
        self.velocity = ConditionalNet(spec.obs_dim, spec.act_dim, hidden)

    def carry(self, start: Tensor, observation: Tensor) -> Tensor:
        """Noise [B, A] -> action [B, A] in [-1, 1]."""

        def velocity(t: Tensor, x: Tensor) -> Tensor:
            return self.velocity(x, t.reshape(1), observation)

        return integrate(velocity, start, self.steps, self.solver, tolerance=self.tolerance).clamp(-1, 1)

    def sample(self, observation: Tensor) -> Tensor:
        return self.carry(noise(observation, self.data_spec.act_dim), observation)

    def denoise(self, observation: Tensor, action: Tensor) -> Denoised:
        start, t = torch.randn_like(action), torch.rand_like(action[:, 0])
        x = torch.lerp(start, action, t.unsqueeze(-1))
        velocity = self.velocity(x, t, observation)
        loss = (velocity - (action - start)).square().mean(-1)
        return Denoised(loss, x, t, x + (1 - t).unsqueeze(-1) * velocity)

    def clone(self, observation: Tensor, action: Tensor) -> Tensor:
        return self.denoise(observation, action).loss


@actors.register("onestep", suffix="steps")
class OneStep(Flow):
    """Student mu(s, z) of one evaluation beside a flow; bc trains the flow, `distill` ties the student to it.

    bc is that of flow; distill is mean |mu(s, z) - a(s, z)|^2, a(s, z) the flow's action from the same noise z.
    Paper: Park et al. 2025, Flow Q-Learning.

    Args:
        steps: Integration steps of the teacher; 5 with midpoint cost 10 evaluations, as many as FQL's 10 Euler steps.
        hidden: Widths of the hidden layers of both networks; default as flow; FQL has four of 512.
    """

    trained_by = ("distill",)

    def __init__(
        self,
        spec: Spec,
        *,
        steps: int = 5,
        solver: Literal["midpoint", "euler", "rk4", "dopri5", "tsit5"] = "midpoint",
        tolerance: float = TOLERANCE,
        hidden: tuple[int, ...] = (128, 128, 128),
    ) -> None:
        super().__init__(spec, steps=steps, solver=solver, tolerance=tolerance, hidden=hidden)
        self.student = ConditionalNet(spec.obs_dim, spec.act_dim, hidden, times=0)

    def act(self, start: Tensor, observation: Tensor) -> Tensor:
        """The student's output [B, A] from noise [B, A], not clipped."""
        return self.student(start, start[:, :0], observation)

    def sample(self, observation: Tensor) -> Tensor:
        return self.act(noise(observation, self.data_spec.act_dim), observation).clamp(-1, 1)

    def sample_with_teacher(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        start = noise(observation, self.data_spec.act_dim)
        with torch.no_grad():
            teacher = self.carry(start, observation)
        student = self.act(start, observation)
        return student.clamp(-1, 1), student - teacher
