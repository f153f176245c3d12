"""Losses and actions of an agent in float64 stay in float64."""

import pytest
import torch

from ramac.agent import Agent
from ramac.composite import CompositeLoss
from ramac.losses import build_terms
from ramac.registry import GROUPS
from tests.losses.oracle import SPEC, batch_of


@pytest.mark.parametrize(
    ("actor", "critic"), [*((actor, "mean") for actor in GROUPS["actor"]), *(("gaussian", c) for c in GROUPS["critic"])]
)
def test_float64_stays_float64(actor, critic):
    online = Agent.build({"actor": actor, "critic": critic, "risk": "neutral"}, SPEC).double()
    names = [
        "td",
        "bc",
        "risk",
        *online.actor.trained_by,
        *(["conservative", "entropy"] if actor == "gaussian" else []),
    ]
    batch = batch_of()
    loss = CompositeLoss(online, build_terms({name: name for name in names}, SPEC), steps=10).double()
    assert {value.dtype for value in loss(batch).values()} == {torch.float64}
    assert online.act(batch["observation"].numpy()).dtype == "float64"
