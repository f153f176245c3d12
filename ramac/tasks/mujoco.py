"""Stochastic-D4RL on Gymnasium's MuJoCo v5 environments, with datasets built from behaviour policies."""

import os
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np

from ramac import data
from ramac.errors import InputError, at_least
from ramac.hazards import Hazard, HazardWrapper
from ramac.registry import tasks
from ramac.tasks import Act, Dataset, Task


@cache
def say_once() -> None:
    """Print each warning of MuJoCo once; by itself it prints and logs them for every environment that is made."""
    import mujoco

    said: set[str] = set()

    def warn(message: str) -> None:
        if message not in said and "deprecated" not in message:  # deprecations are for the environments' authors
            print(f"mujoco: {message}", file=sys.stderr)
        said.add(message)

    mujoco.set_mju_user_warning(warn)  # pyright: ignore[reportAttributeAccessIssue]  (missing in its stubs)


def make(environment_id: str, **options: Any) -> gymnasium.Env:
    """A MuJoCo environment. Raises InputError when MuJoCo is not installed."""
    try:
        say_once()
        return gymnasium.make(environment_id, **options)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise InputError(f"{environment_id} needs MuJoCo: pip install 'ramac[mujoco]'") from error


class MuJoCoTask(Task):
    """Logged locomotion with hazards. The hazard below is the only place that defines it, for data and environment.

    The dataset is a local Minari dataset with clean rewards; penalties are added on loading, from `hazard_seed`.
    """

    environment_id: ClassVar[str]
    hazard: ClassVar[Hazard]
    horizon: ClassVar[int]  # steps of an evaluation episode
    behaviour: ClassVar[tuple[str, ...]]  # policy files: medium, expert
    name: ClassVar[str]

    def __init__(
        self,
        *,
        transitions: int = 200_000,
        policies: str | None = None,
        dataset: str | None = None,
        hazard_seed: int = 0,
        steps: int = 10_000,
        gamma: float = 0.99,  # RADAC
    ) -> None:
        at_least(1, transitions=transitions)
        at_least(0, hazard_seed=hazard_seed)
        self.transitions, self.hazard_seed, self.gamma = transitions, hazard_seed, gamma
        self.policies = policies or os.environ.get("RAMAC_POLICIES")
        self.dataset_id = dataset or f"ramac/{self.name}-{transitions}-v0"
        self.own = dataset is None

    def dataset(self) -> Dataset:
        env = make(self.environment_id)
        assert isinstance(env.action_space, gymnasium.spaces.Box)
        origin = f"dataset {self.dataset_id}"
        if self.own and not data.exists(self.dataset_id):
            from ramac import collect

            policies = collect.find_policies(self.policies, self.behaviour)
            folder = collect.build(self.dataset_id, self.environment_id, policies, self.transitions)
            origin += f", built from {' and '.join(self.behaviour)} in {folder}"
        log = data.load(self.dataset_id)
        data.check(log, self.dataset_id, env)
        penalty, _ = self.hazard.draw(log.next_observation, np.random.default_rng(self.hazard_seed))
        log = replace(log, reward=(log.reward + penalty).astype(np.float32))
        origin += f": {len(log.reward)} steps in {len(log.start)} episodes"
        return Dataset(log.transitions(), log.spec(env.action_space, self.gamma), log.returns(self.horizon), origin)

    def environment(self) -> gymnasium.Env:
        env = make(self.environment_id, max_episode_steps=self.horizon, disable_env_checker=True)
        return HazardWrapper(env, self.hazard)

    def report(self, act: Act, data: Dataset, returns: np.ndarray, title: str, folder: Path) -> dict[str, Any]:
        from ramac.figures import return_figure

        return_figure(returns, data.returns, self.horizon, title, folder / "returns.png")
        return {}


@tasks.register("halfcheetah-medium-expert")
class HalfCheetahMediumExpert(MuJoCoTask):
    """HalfCheetah-v5, 200 steps; beyond 10 m/s either way a penalty of 70 strikes with 5 % per step.

    Paper: Fukazawa et al. 2026, RAMAC (Stochastic-D4RL, medium-expert).
    """

    name = "halfcheetah/medium-expert"
    environment_id = "HalfCheetah-v5"
    hazard = Hazard(coordinate=8, low=-10.0, high=10.0, probability=0.05, penalty=-70.0)
    horizon = 200
    behaviour = ("halfcheetah-zoo-ppo", "halfcheetah-zoo-tqc")


@tasks.register("hopper-medium-expert")
class HopperMediumExpert(MuJoCoTask):
    """Hopper-v5, 500 steps; with a pitch outside [-0.17, 0.04] rad a penalty of 50 strikes with 10 % per step.

    Paper: Fukazawa et al. 2026, RAMAC (Stochastic-D4RL, medium-expert).
    """

    name = "hopper/medium-expert"
    environment_id = "Hopper-v5"
    hazard = Hazard(coordinate=1, low=-0.17, high=0.04, probability=0.1, penalty=-50.0)
    horizon = 500
    behaviour = ("hopper-zoo-sac", "hopper-zoo-tqc")


@tasks.register("walker2d-medium-expert")
class Walker2dMediumExpert(MuJoCoTask):
    """Walker2d-v5, 500 steps; with a pitch outside [-0.5, 0.5] rad a penalty of 30 strikes with 10 % per step.

    Paper: Fukazawa et al. 2026, RAMAC (Stochastic-D4RL, medium-expert).
    """

    name = "walker2d/medium-expert"
    environment_id = "Walker2d-v5"
    hazard = Hazard(coordinate=1, low=-0.5, high=0.5, probability=0.1, penalty=-30.0)
    horizon = 500
    behaviour = ("walker2d-zoo-trpo", "walker2d-zoo-tqc")
