"""Stochastic-D4RL on Gymnasium's MuJoCo v5 environments, with datasets built from behaviour policies of our own."""

import hashlib
import math
from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ramac.data import Log
from ramac.data.storage import exists, place
from ramac.errors import at_least, at_most
from ramac.registry import hazards, tasks
from ramac.tasks import LoggedTask

if TYPE_CHECKING:
    from ramac.data.collect import BehaviourPolicy


def velocity(limit: float, penalty: float, **more: Any) -> dict[str, Any]:
    """Forward velocity beyond `limit` m/s either way; 5 % per step."""
    return {"name": "velocity", "low": -limit, "high": limit, "penalty": penalty, **more}


def oraac_velocity(limit: float, penalty: float) -> dict[str, Any]:
    """Mean forward velocity of the step above `limit` m/s; 5 % per step, and the forward reward is lost too."""
    return velocity(limit, penalty, low=-math.inf, step_average=True)


def pose(low: float, high: float, penalty: float, **more: Any) -> dict[str, Any]:
    """Pitch outside [low, high] rad; 10 % per step."""
    return {"name": "pose", "low": low, "high": high, "penalty": penalty, **more}


WALKER = {
    "v1": pose(-0.5, 0.5, -30, fall=1.0),
    "ramac-v2": pose(-0.5, 0.5, -30, fall=1.0, fall_in_data=False),
    "oraac-v0": pose(-0.5, 0.5, -30, healthy=1.0),
}
HAZARDS: Mapping[str, Mapping[str, dict[str, Any]]] = {  # task -> version -> entry of the hazard registry
    "halfcheetah-medium-expert": {
        "v1": velocity(5, -70),  # our cheetahs run at 4 to 5 m/s; at 10 nothing would ever strike
        "ramac-v2": velocity(10, -70),
        "oraac-v0": oraac_velocity(10, -60),
    },
    "halfcheetah-mixed": {
        "v1": velocity(4, -60),
        "ramac-v2": velocity(5, -60),
        "oraac-v0": oraac_velocity(4, -70),
    },
    "hopper-medium-expert": {
        "v1": pose(-0.17, 0.04, -50, fall=0.2),
        "ramac-v2": pose(-0.17, 0.04, -50, fall=4.0, fall_in_data=False),
        "oraac-v0": pose(-0.1, 0.1, -50, healthy=0.2),
    },
    "hopper-mixed": {
        "v1": pose(-0.1, 0.1, -50, fall=0.2),
        "ramac-v2": pose(-0.1, 0.1, -50, fall=0.2, fall_in_data=False),
        "oraac-v0": pose(-0.1, 0.1, -50, healthy=0.2),
    },
    "walker2d-medium-expert": WALKER,
    "walker2d-mixed": WALKER,
}
MIXES: Mapping[str, tuple[str, ...]] = {  # policies by their part of the final return in training, in percent
    "medium-expert": ("050", "100"),
    "mixed": ("010", "025", "050", "075", "100"),
}


class MuJoCoTask(LoggedTask):
    """A mix of behaviour policies in one environment.

    `hazard`: version of the task's hazard; v1 is ours, seeded and the same in data and environment down to the ends of
    episodes, the others are those of published code. `horizon`: steps of an evaluation episode, the paper's if null.
    `behaviour`: names of policies in the folder `policies`, an equal share each, instead of our own.
    """

    name: ClassVar[str]  # environment and mix
    environment_name: ClassVar[str]
    paper_horizon: ClassVar[int]
    gaits: ClassVar[str]  # letters of our training runs: each gives one policy per level

    def __init__(
        self,
        *,
        transitions: int = 100_000,
        hazard: Literal["v1", "ramac-v2", "oraac-v0", "none"] = "v1",
        hazard_seed: int = 0,
        horizon: int | None = None,
        behaviour: tuple[str, ...] = (),
        policies: str | None = None,
        steps: int = 10_000,
        gamma: float = 0.99,  # RADAC
    ) -> None:
        at_least(1, transitions=transitions, **({} if horizon is None else {"horizon": horizon}))
        at_least(0, hazard_seed=hazard_seed)
        at_most(10**9, transitions=transitions)
        if bool(behaviour) != bool(policies):
            raise ValueError("behaviour (names) and policies (their folder) go together")
        self.transitions, self.hazard_seed, self.gamma = transitions, hazard_seed, gamma
        self.environment_id, self.horizon = self.environment_name, horizon or self.paper_horizon
        self.hazard = hazards.build("none" if hazard == "none" else HAZARDS[self.name][hazard])
        self.policies, self.behaviour = policies, behaviour or self.own_behaviour()

    @classmethod
    def own_behaviour(cls) -> tuple[str, ...]:
        """Names of our policies in this mix, the weakest first."""
        stem, _, mix = cls.name.partition("-")
        return tuple(f"{stem}-{gait}-{level}" for level, gait in product(MIXES[mix], cls.gaits))

    @property
    def dataset_id(self) -> str:
        """Minari id of the dataset that this task builds."""
        stem, _, mix = self.name.partition("-")
        if self.policies is not None:  # other policies, other data, whatever their files are called
            mix = (
                "custom-" + hashlib.sha256(" ".join(policy.digest for policy in self.found()).encode()).hexdigest()[:8]
            )
        return f"ramac/{stem}/{mix}-{self.transitions}-v1"

    def found(self) -> "list[BehaviourPolicy]":
        """The behaviour policies. Raises InputError when one is missing or damaged."""
        from ramac.data import collect

        return collect.find_policies(self.policies or collect.OWN, self.behaviour)

    def clean(self) -> tuple[Log, str]:
        if self.source is not None:
            return super().clean()
        from ramac.data.sources import load

        built = not exists(self.dataset_id)
        folder = self.build()
        return load(self.dataset_id), f"dataset {self.dataset_id}" + (f", built in {folder}" if built else "")

    def build(self) -> str:
        """Make the dataset when it is not on disk; returns its folder. Raises InputError when it cannot be made."""
        from ramac.data import collect

        if not exists(self.dataset_id):
            collect.build(self.dataset_id, self.environment_name, self.found(), self.transitions)
        return str(place(self.dataset_id))


class HalfCheetah(MuJoCoTask):
    """HalfCheetah-v5, 200 steps."""

    environment_name, paper_horizon, gaits = "HalfCheetah-v5", 200, "ab"
    reference = -280.178953, 12135.0  # D4RL


class Hopper(MuJoCoTask):
    """Hopper-v5, 500 steps."""

    environment_name, paper_horizon, gaits = "Hopper-v5", 500, "ab"
    reference = -20.272305, 3234.3  # D4RL


class Walker2d(MuJoCoTask):
    """Walker2d-v5, 500 steps."""

    environment_name, paper_horizon, gaits = "Walker2d-v5", 500, "ab"
    reference = 1.629008, 4592.3  # D4RL


@tasks.register("halfcheetah-medium-expert")
class HalfCheetahMediumExpert(HalfCheetah):
    """HalfCheetah-v5, 200 steps; beyond 5 m/s either way a penalty of 70 strikes with 5 % per step.

    Paper: Fukazawa et al. 2026, RAMAC (Stochastic-D4RL, medium-expert).
    """

    name = "halfcheetah-medium-expert"


@tasks.register("halfcheetah-mixed")
class HalfCheetahMixed(HalfCheetah):
    """HalfCheetah-v5, 200 steps; beyond 4 m/s either way a penalty of 60 strikes with 5 % per step.

    Paper: Fukazawa et al. 2026, RAMAC (Stochastic-D4RL, medium-replay).
    """

    name = "halfcheetah-mixed"


@tasks.register("hopper-medium-expert")
class HopperMediumExpert(Hopper):
    """Hopper-v5, 500 steps; with a pitch outside [-0.17, 0.04] rad a penalty of 50 strikes with 10 % per step.

    Paper: Fukazawa et al. 2026, RAMAC (Stochastic-D4RL, medium-expert).
    """

    name = "hopper-medium-expert"


@tasks.register("hopper-mixed")
class HopperMixed(Hopper):
    """Hopper-v5, 500 steps; with a pitch outside [-0.1, 0.1] rad a penalty of 50 strikes with 10 % per step.

    Paper: Fukazawa et al. 2026, RAMAC (Stochastic-D4RL, medium-replay).
    """

    name = "hopper-mixed"


@tasks.register("walker2d-medium-expert")
class Walker2dMediumExpert(Walker2d):
    """Walker2d-v5, 500 steps; with a pitch outside [-0.5, 0.5] rad a penalty of 30 strikes with 10 % per step.

    Paper: Fukazawa et al. 2026, RAMAC (Stochastic-D4RL, medium-expert).
    """

    name = "walker2d-medium-expert"


@tasks.register("walker2d-mixed")
class Walker2dMixed(Walker2d):
    """Walker2d-v5, 500 steps; with a pitch outside [-0.5, 0.5] rad a penalty of 30 strikes with 10 % per step.

    Paper: Fukazawa et al. 2026, RAMAC (Stochastic-D4RL, medium-replay).
    """

    name = "walker2d-mixed"
