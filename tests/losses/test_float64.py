"""Losses and actions of an agent in float64 stay in float64."""

import pytest
import torch

from ramac.agent import Agent
from ramac.losses import CompositeLoss, build_terms
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
    found = CompositeLoss(online, online, build_terms({name: name for name in names}, SPEC), 10).double()(batch)
    assert {value.dtype for value in found.values()} == {torch.float64}
    assert online.act(batch["observation"].numpy()).dtype == "float64"
