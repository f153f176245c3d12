"""FQL, straight from Park et al. 2025, with the settings of ramac's recipe."""

import copy

import torch
from torch import Tensor, nn

from benchmarks.plain.common import GAMMA, Batch, Counted, Optimiser, Q, critic_counts, mlp, soft_update
from benchmarks.plain.implicit import ActionNet, Flow


class FQL:
    """A flow, its student of one evaluation, two critics, the critics' targets and the optimisers."""

    delay = 1
    distill_weight, risk_weight, width = 10.0, 1.0, 128

    def __init__(self, obs_dim: int, act_dim: int, device: torch.device | str = "cpu", steps: int = 1_000_000) -> None:
        self.flow = Flow(obs_dim, act_dim).to(device)
        self.student = mlp(obs_dim + 9 * act_dim, (self.width,) * 3, act_dim).to(device)
        self.critics = nn.ModuleList([Q(obs_dim, act_dim), Q(obs_dim, act_dim)]).to(device)
        self.target_critics = copy.deepcopy(self.critics)
        self.actor_optimiser = Optimiser(self.flow, self.student, steps=steps)
        self.critic_optimiser = Optimiser(self.critics, steps=steps)
        critics = critic_counts(self.critics, self.target_critics)
        self.counted: Counted = [("actor", 1, [self.flow.net, self.student]), critics]

    def act(self, noise: Tensor, observation: Tensor) -> Tensor:
        """The student's action [B, A], not clipped."""
        return self.student(torch.cat([noise, ActionNet.waves(noise, 4), observation], -1))

    def critic_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Squared error of both critics to the mean target at the student's action."""
        with torch.no_grad():
            after = batch["next_observation"]
            action = self.act(torch.randn_like(batch["action"]), after).clamp(-1, 1)
            one, two = (critic(after, action) for critic in self.target_critics)
            target = batch["reward"] + GAMMA * (1 - batch["terminated"]) * (one + two) / 2
        one, two = (critic(batch["observation"], batch["action"]) for critic in self.critics)
        return {"td": nn.functional.mse_loss(one, target) + nn.functional.mse_loss(two, target)}

    def actor_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Flow matching, the student's squared distance to the flow's action from the same noise, and minus Q."""
        observation = batch["observation"]
        noise = torch.randn_like(batch["action"])
        with torch.no_grad():
            teacher = self.flow.carry(noise, observation)
        student = self.act(noise, observation)
        one, two = (critic(observation, student.clamp(-1, 1)) for critic in self.critics)
        return {
            "bc": self.flow.clone_loss(observation, batch["action"]),
            "distill": nn.functional.mse_loss(student, teacher),
            "risk": -(one + two).mean() / 2,
        }

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One update of the critics, of flow and student, and of the targets."""
        losses = self.critic_losses(batch)
        self.critic_optimiser.minimise(losses["td"])
        self.critics.requires_grad_(False)
        losses |= self.actor_losses(batch)
        total = losses["bc"] + self.distill_weight * losses["distill"] + self.risk_weight * losses["risk"]
        self.actor_optimiser.minimise(total)
        self.critics.requires_grad_(True)
        soft_update(self.target_critics, self.critics)
        return {name: loss.detach() for name, loss in losses.items()}
