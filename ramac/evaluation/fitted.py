"""Fitted-Q evaluation: the return distribution of a fixed policy, learned from logged transitions alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict, TensorDictBase

from ramac.agent import Agent
from ramac.critics import Critic
from ramac.data import Act
from ramac.errors import InputError
from ramac.losses.temporal import TD
from ramac.registry import trainers

DECAY = 0.8  # of the target average; the doctor's 0.95 keeps a third of its first guess here: docs/offline.md
SETTINGS = {"batch_size": 128, "critic_lr": 1e-3, "average_decay": DECAY}  # batches: the doctor's; rate: the trainer's
CHUNK = 2**12  # states a policy is asked at once


class FittedQ(TD):
    """Temporal difference whose next actions come with the transitions: the behaviour's or another policy's.

    The target is the members' mean, level by level: pessimism would be a bias here.
    Paper: Le et al. 2019, Batch Policy Learning under Constraints; distributional: Bellemare et al. 2017.
    """

    def __init__(self, gamma: float) -> None:
        super().__init__(gamma=gamma, aggregation="mean")
        self.in_keys.append(("next", "action"))

    def next_pair(self, tensordict: TensorDictBase, agent: Agent, target: Agent) -> TensorDict:
        after = {key: tensordict.get(("next", key)) for key in ("observation", "action")}
        return TensorDict(after, tensordict.batch_size)


def left_over(gamma: float, steps: int) -> float:
    """Share of a constant error of the first guess that so many updates leave at most: (1 - (1 - decay)(1 - gamma))^n.

    The target moves by 1 - decay towards the critic per update, and a backup shrinks a constant error by gamma.
    """
    return (1 - (1 - DECAY) * (1 - gamma)) ** steps


def of_behaviour(transitions: TensorDict, gamma: float) -> TensorDict:
    """The transitions [T] whose next action the log knows, or needs none; the last of a cut episode has neither.

    Raises InputError when none is left.
    """
    followed, terminated = (transitions.get(("next", key)).squeeze(-1) for key in ("followed", "terminated"))
    kept = transitions if gamma == 0 else transitions[followed | terminated]
    if not len(kept):
        raise InputError("every logged step is cut off: there is no next action to estimate the behaviour from")
    return kept


def of_policy(transitions: TensorDict, act: Act, steps: int) -> TensorDict:
    """The transitions [T] with one next action each of the policy, as the log has one each of the behaviour.

    No more of them, drawn by torch's global generator, than `steps` updates look at.
    """
    rows = torch.randperm(len(transitions))[: steps * SETTINGS["batch_size"]]
    kept: Any = transitions[rows]
    states = kept.get(("next", "observation")).cpu().split(CHUNK)
    action = np.concatenate([act(part.numpy()) for part in states])
    return kept.set(("next", "action"), torch.from_numpy(action).to(kept.get("action")))


def fit(agent: Agent, transitions: TensorDict, *, gamma: float, steps: int, seed: int, label: str) -> Critic:
    """The critic of `agent` fitted to transitions [T] with next actions: its moving average.

    Draws from torch's global generator. Raises FloatingPointError when it diverges.
    """
    from ramac.system.runtime import progress  # which itself asks for estimates

    settings = {**trainers.plain("default"), **SETTINGS, "steps": steps}
    device = agent.critic.scaling.return_mean.device
    trainer = trainers.build(settings, agent, {"td": FittedQ(gamma)}, transitions.to(device), seed)
    for _ in progress(trainer.run(), steps, label):
        pass
    if not torch.isfinite(loss := trainer.metrics["loss_td"]):
        raise FloatingPointError(f"{label} diverged: its loss is {loss.item()}")
    return trainer.target.critic


def fresh(critic: str | Mapping[str, Any], spec: Any, device: torch.device) -> Agent:
    """An agent with a new critic; its actor is never asked."""
    return Agent.build({"actor": "deterministic", "critic": critic, "risk": "neutral"}, spec).to(device)
