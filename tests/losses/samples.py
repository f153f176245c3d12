"""Agents, terms and values that tests of loss terms share."""

from tensordict import TensorDict

from ramac.agent import Agent
from ramac.losses import Term, build_terms
from ramac.spec import Spec

SPEC = Spec(3, 2, (-1.0,) * 2, (1.0,) * 2, (0.0,) * 3, (1.0,) * 3, 2.0, 3.0)


def agent(actor="gaussian", critic="mean", risk="neutral") -> Agent:
    return Agent.build({"actor": actor, "critic": critic, "risk": risk}, SPEC)


def terms(*nodes) -> dict[str, Term]:
    return build_terms({node if isinstance(node, str) else node["name"]: node for node in nodes}, SPEC)


def pair(observation, action) -> TensorDict:
    return TensorDict({"observation": observation, "action": action}, observation.shape[:-1])


def value(critic, observation, action):
    """Q of each member in reward units [*b, E], for the scalar critic."""
    flat = critic.features(pair(observation, action)).squeeze(-1).movedim(0, -1)
    return 2 + 3 * flat.reshape(*observation.shape[:-1], -1)
