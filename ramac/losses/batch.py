"""What terms read: keys of a batch, pairs for a critic, and the actor's own draws."""

from tensordict import NestedKey, TensorDict, TensorDictBase
from torch import Tensor

from ramac.actors import Actor

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
