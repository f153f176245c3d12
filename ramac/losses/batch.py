"""What terms read: entries of a batch, pairs for a critic, and the actor's own draws."""

from collections.abc import Iterable
from typing import Any

import torch
from tensordict import NestedKey, TensorDict, TensorDictBase
from torch import Tensor

from ramac.actors import Actor
from ramac.errors import InputError
from ramac.losses.term import Term

POLICY_ACTION: NestedKey = ("policy", "action")  # the trained actor's own action [B, A]
POLICY_LOG_PROB: NestedKey = ("policy", "log_prob")  # its log density [B], for actions in [-1, 1]
POLICY_TEACHER: NestedKey = ("policy", "teacher")  # a student's output, not clipped, minus its teacher's action [B, A]
DENOISED: NestedKey = "denoised"  # `ramac.actors.Denoised` of the logged action, field by field


def pair_of(tensordict: TensorDictBase, action: Tensor | None = None) -> TensorDict:
    """`observation` of a batch with this action, or its logged one: what a critic reads."""
    action = tensordict.get("action") if action is None else action
    return TensorDict({"observation": tensordict.get("observation"), "action": action}, tensordict.batch_size)


def draw(actor: Actor, observation: Tensor, *extras: str) -> TensorDict:
    """`observation` [B, O] with the actor's `action` [B, A] and extras, such as `log_prob` [B].

    Each extra has its own draw; `action` is that of the first one.
    """
    result = TensorDict({"observation": observation}, observation.shape[:1])
    if not extras:
        actor(result, mode=False)
    for extra in extras:
        unit, more = getattr(actor, f"sample_with_{extra}")(actor.scaling.observe(observation))
        result.set(extra, more)
        if extra == extras[0]:
            result.set("action", actor.scaling.to_box(unit))
    return result


def reads_of(terms: Iterable[Term]) -> list[NestedKey]:
    """The entries of a batch that the terms read, by themselves or through what the actor draws for them."""
    asked = dict.fromkeys(key for term in terms for key in term.in_keys)
    through: dict[NestedKey, list[NestedKey]] = {key: ["observation"] for key in asked if key[0] == "policy"}
    through |= {"step": [], DENOISED: ["observation", "action"]}
    return list(dict.fromkeys(name for key in asked for name in through.get(key, [key])))


def check_entry(key: NestedKey, value: Any, batch_size: torch.Size) -> None:
    """Refuse an entry of a batch [B] that is not there, or that would broadcast. Raises InputError."""
    if value is None:
        raise InputError(f"the batch has no {key!r}")
    last = key if isinstance(key, str) else key[-1]
    if last in ("reward", "terminated", "followed") and value.shape != (*batch_size, 1):
        raise InputError(f"{key!r} of a batch must have shape {[*batch_size, 1]}, got {list(value.shape)}")
    if last in ("terminated", "followed") and value.dtype != torch.bool:
        raise InputError(f"{key!r} of a batch must be bool, got {value.dtype}")
