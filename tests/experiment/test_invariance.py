"""Neither the unit nor the zero of the rewards changes what a recipe's default settings train."""

import gymnasium
import numpy as np
import pytest
import torch

from ramac.data import Log, from_arrays
from ramac.experiment.compose import compose
from ramac.experiment.presets import presets
from ramac.experiment.run import build_trainer

BOX = gymnasium.spaces.Box(-1, 1, (2,))
SMALL = ("critic.hidden=[32]", "trainer.steps=60", "trainer.batch_size=32")
HORIZON = {"one step": 1, "terminating": 2}


def logged(horizon: int, scale: float, shift: float) -> Log:
    """Episodes of `horizon` steps; only the last is rewarded, so undiscounted a constant adds the same to every one."""
    random, steps = np.random.default_rng(0), 400 * horizon
    action, observation = random.uniform(-0.9, 0.9, (steps, 2)), random.normal(size=(steps, 2))
    last = np.arange(steps) % horizon == horizon - 1
    outcome = 3 * action[:, 0] - 8 * (random.random(steps) < 0.1) + random.normal(size=steps)
    outcome = np.round(16 * outcome) / 16  # float32 holds them, scaled and shifted too
    reward = np.where(last, scale * np.repeat(outcome.reshape(-1, horizon).sum(1), horizon) + shift, 0.0)
    return from_arrays(observation, action, reward, last, np.zeros(steps, bool), np.roll(observation, -1, 0))


def trained(recipe: str, kind: str, scale: float, shift: float) -> np.ndarray:
    """Actions of the policy, as the recipe acts, in 64 states."""
    gamma = 1.0 if kind == "terminating" else 0.0
    log = logged(HORIZON[kind], scale, shift)
    config = compose([f"recipe={recipe}", f"gamma={gamma}", *SMALL])
    trainer = build_trainer(config, log.spec(BOX, gamma), log.transitions(), torch.device("cpu"))
    for _ in trainer.run():
        pass
    return trainer.target.act(np.linspace([-1, 1], [1, -1], 64, dtype=np.float32), seed=0)


@pytest.mark.parametrize("recipe", presets("recipe"))
def test_rewards_in_other_units_or_with_another_zero_train_the_same_actor(recipe):
    # both tasks for each recipe: docs/results/settings.md; a chain of an actor is slow to train twice
    kind = "terminating" if recipe in ("td3bc", "rebrac", "iql", "cql", "codac", "fql", "idql") else "one step"
    plain = trained(recipe, kind, 1.0, 0.0)
    for scale, shift in ((1024.0, 0.0), (1.0, 512.0)):
        assert np.abs(trained(recipe, kind, scale, shift) - plain).max() < 1e-4, (scale, shift)


@pytest.mark.parametrize("recipe", ["td3bc", "rafmac", "iql"])
def test_the_actor_depends_on_the_rewards_at_all(recipe):
    assert np.abs(trained(recipe, "one step", -1.0, 0.0) - trained(recipe, "one step", 1.0, 0.0)).max() > 0.01


def test_the_weight_per_value_depends_on_the_zero():
    """Why the division by |Q| of some papers is no default: the weight falls with the distance from zero."""
    words = ["recipe=td3bc", "loss.risk.normalise=abs", "gamma=0", *SMALL]
    scales = []
    for shift in (0.0, 500.0):
        log = logged(1, 1.0, shift)
        trainer = build_trainer(compose(words), log.spec(BOX, 0.0), log.transitions(), torch.device("cpu"))
        scales.append(trainer.loss.sample_losses(trainer.batch(), ["risk"])[1]["scale_risk"].item())
    assert scales[1] > 50 * scales[0]
