import pytest
import torch
from tensordict import TensorDict

from ramac.cli.explain import main as command
from ramac.experiment.compose import compose
from ramac.experiment.explain import counted, rows_of
from ramac.experiment.run import build_trainer
from ramac.spec import Spec

SPEC = Spec.unit(3, 2)


def rows(batch, *overrides):
    return {
        row["term"]: row for row in rows_of(build_trainer(compose(list(overrides)), SPEC, batch, torch.device("cpu")))
    }


def test_it_says_what_a_term_sends_where(batch):
    found = rows(batch, "recipe=rafmac", "trainer.batch_size=32", "task.gamma=0.9")
    assert [found[term]["trains"] for term in ("td", "bc", "risk")] == ["critic", "actor", "actor"]
    assert all(found[term]["gradient"] > 0 for term in found)
    iql = rows(batch, "recipe=iql", "trainer.batch_size=32", "task.gamma=0.9")
    assert iql["iql"]["trains"] == "critic" and iql["iql"]["gradient"] > 0  # its value network is in that group
    assert iql["iql"]["evaluations"] == {"critic (no gradient)": 1, "value": 1}
    assert found["risk"]["weights"] == pytest.approx([0, 0.33, 0.5, 0.5, 0.5], abs=0.01)  # 0.15 and 0.15 of the run


def test_it_counts_network_evaluations(batch):
    """RADAC with T = 5: 5 for the next action, 1 for cloning, 5 with gradient; the trunk once per (s, a)."""
    found = rows(batch, "recipe=radac", "trainer.batch_size=32", "task.gamma=0.9")
    assert found["td"]["evaluations"] == {"actor (no gradient)": 5, "critic": 1, "critic (no gradient)": 1}
    assert found["bc"]["evaluations"] == {"actor": 1}
    assert found["risk"]["evaluations"] == {"actor": 5, "critic": 1}
    fql = rows(batch, "recipe=fql", "trainer.batch_size=32", "task.gamma=0.9")
    assert fql["distill"]["evaluations"] == {"actor": 1, "actor (no gradient)": 10}  # midpoint, 5 steps
    awr = rows(batch, "recipe=iql", "trainer.batch_size=32", "task.gamma=0.9")
    assert awr["awr"]["evaluations"] == {"actor": 1, "critic (no gradient)": 1, "value (no gradient)": 1}


def test_nothing_is_trained_or_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert command(["recipe=rebrac", "trainer.batch_size=32"]) == 0
    text = capsys.readouterr().out
    assert "critic_bc" in text
    assert "every 2 gradient steps" in text
    assert not list(tmp_path.iterdir())


def test_hooks_are_gone_afterwards(batch):
    trainer = build_trainer(compose(["recipe=radac"]), SPEC, batch, torch.device("cpu"))
    with counted(trainer.loss, 32):
        pass
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in trainer.agent.modules())
    assert trainer.agent.actor(TensorDict({"observation": torch.zeros(1, 3)}, [1]))["action"].shape == (1, 2)
