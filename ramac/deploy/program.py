"""A policy as a program of tensors: how an agent acts, with its random numbers as an input."""

from collections.abc import Mapping
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ramac.agent import Agent
from ramac.deploy.formats import one_line
from ramac.errors import InputError
from ramac.registry import actors, label_of
from ramac.system.noise import CountedNoise, GivenNoise


class Policy(nn.Module):
    """observation [B, O] in the user's units, noise [B, N] -> action [B, A] in the box, as `agent.act` acts.

    It takes tensors alone: the size of a TensorDict's batch would become a constant of the program. `noise` is standard
    normal; without it the draws are torch's own. `context`: what the risk measure reads, by name, [B, 1] each.
    """

    def __init__(self, agent: Agent, deterministic: bool) -> None:
        super().__init__()
        self.agent = agent
        self.mode = agent.acting.mode or deterministic
        self.candidates = 1 if self.mode else agent.acting.candidates
        self.widths = self.measure()
        self.columns = sum(self.widths)  # N

    def forward(
        self, observation: Tensor, noise: Tensor | None = None, context: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        if context:
            observation = torch.cat([observation, *(context[name] for name in self.agent.context.names)], -1)
        with nullcontext() if noise is None else GivenNoise(noise, self.widths):
            if self.candidates == 1:
                return self.act(observation)
            return self.choose(observation)

    def act(self, observation: Tensor) -> Tensor:
        """observation [B, O] -> action [B, A] in the box: a sample, or the central action."""
        actor = self.agent.actor
        state = actor.scaling.observe(observation)
        return actor.scaling.to_box((actor.mode if self.mode else actor.sample)(state))

    def choose(self, observation: Tensor) -> Tensor:
        """observation [B, O] -> one of several candidates [B, A], by the rule of `Agent.choose`."""
        agent, count, sizes = self.agent, self.candidates, observation.shape[1:]
        state = observation.unsqueeze(1).expand(-1, count, -1)  # [B, C, O]
        action = self.act(state.reshape(-1, *sizes))
        action = action.reshape(-1, count, action.shape[-1])
        pairs = {"observation": state, "action": action}
        rho = agent.critic.standard_risk(pairs, agent.risk).amin(-1)  # pyright: ignore[reportArgumentType]
        if agent.acting.temperature:
            above = rho - rho.amax(-1, keepdim=True)
            chosen = torch.multinomial((above / agent.acting.temperature).softmax(-1), 1)
        else:
            chosen = rho.argmax(-1, keepdim=True)
        return action.gather(1, chosen.unsqueeze(-1).expand(-1, -1, action.shape[-1])).squeeze(1)

    @torch.no_grad()
    def measure(self) -> tuple[int, ...]:
        """The normal numbers of each of its draws for one observation. Raises InputError where rows share a draw."""
        counts = []
        for rows in (2, 3):
            with CountedNoise() as noise:
                self(*self.average(rows))
            counts.append(noise.counts)
        if [3 * count for count in counts[0]] != [2 * count for count in counts[1]]:
            raise InputError(f"{self.name} draws random numbers that are not per observation: they cannot be an input")
        return tuple(count // 2 for count in counts[0])

    def average(self, rows: int) -> tuple[Tensor, None, dict[str, Tensor]]:
        """The mean of the logged observations, no noise, and what the risk measure reads on average: [rows, ...]."""
        mean, size = self.agent.actor.scaling.obs_mean.expand(rows, -1), self.agent.obs_dim
        columns = {name: mean[:, size + i, None].clone() for i, name in enumerate(self.agent.context.names)}
        observation = mean[:, :size].clone(memory_format=torch.contiguous_format)  # of a view the base is traced too
        return observation, None, columns

    @property
    def name(self) -> str:
        """The actor as a setting: `actor=flow`."""
        return f"actor={label_of(actors, type(self.agent.actor))}"


@torch.no_grad()
def traced(policy: Policy) -> ExportedProgram:
    """The policy as operators of torch, for any batch size. Raises InputError where it cannot be.

    The draws that the noise replaces stay behind in the trace, unused, and are removed.
    """
    batch = {0: Dim("batch", max=2**20)}
    observation, _, context = policy.average(3)
    inputs, shapes = (observation,), {"observation": batch}
    if policy.columns:
        inputs, shapes = (*inputs, torch.zeros(3, policy.columns)), {"observation": batch, "noise": batch}
    named = {"context": context} if context else None
    shapes |= {"context": dict.fromkeys(context, batch)} if context else {}
    try:
        program = torch.export.export(policy, inputs, named, dynamic_shapes=shapes).run_decompositions()
    except Exception as error:  # an actor of others can do anything
        text = one_line(error)
        if "specialized it to be a constant" in text:
            text = "it makes the batch size a constant; x.shape[0] keeps it open, len(x) does not"
        raise InputError(f"{policy.name} cannot be traced by torch.export: {text}") from error
    graph = program.graph_module.graph
    for node in reversed(list(graph.nodes)):
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            if node.users:
                raise InputError(f"{policy.name} draws by {node.target}, which cannot be read from an input")
            graph.erase_node(node)
    graph.eliminate_dead_code()
    return program
