"""Stochastic-D4RL on Gymnasium's MuJoCo v5 environments, with datasets built from behaviour policies of our own."""
# ruff: noqa: D101  (docstrings of the six tasks come from the tables)

import hashlib
import math
from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ramac.data import Log
from ramac.data.sources import load
from ramac.data.storage import exists, place
from ramac.errors import at_least, at_most
from ramac.registry import hazards, tasks
from ramac.tasks import LoggedTask

if TYPE_CHECKING:
    from ramac.data.collect import BehaviourPolicy


def velocity(limit: float, penalty: float, **more: Any) -> dict[str, Any]:
    """Forward velocity beyond `limit` m/s either way; 5 % per step."""
    return {"name": "velocity", "low": -limit, "high": limit, "penalty": penalty, "probability": 0.05, **more}


def oraac_velocity(limit: float, penalty: float) -> dict[str, Any]:
    """Mean forward velocity of the step above `limit` m/s; 5 % per step, and the forward reward is lost too."""
    return velocity(limit, penalty, low=-math.inf, step_average=True)


def pose(low: float, high: float, penalty: float, **more: Any) -> dict[str, Any]:
    """Pitch outside [low, high] rad; 10 % per step."""
    return {"name": "pose", "low": low, "high": high, "penalty": penalty, "probability": 0.1, **more}


WALKER = {
    "v1": pose(-0.5, 0.5, -30, fall=1.0),
    "ramac-v2": pose(-0.5, 0.5, -30, fall=1.0, fall_in_data=False),
    "oraac-v0": pose(-0.5, 0.5, -30, healthy=1.0),
}
HAZARDS: Mapping[str, Mapping[str, dict[str, Any]]] = {  # task -> version -> entry of the hazard registry
    "halfcheetah-medium-expert": {
        "v1": velocity(5, -70),  # our cheetahs run at 4 to 5 m/s; at 10 no penalty would ever strike
        "ramac-v2": velocity(10, -70),
        "oraac-v0": oraac_velocity(10, -60),
    },
    "halfcheetah-mixed": {"v1": velocity(4, -60), "ramac-v2": velocity(5, -60), "oraac-v0": oraac_velocity(4, -70)},
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
ENVIRONMENTS = {  # environment, the paper's horizon, D4RL's return of a random and of an expert policy
    "halfcheetah": ("HalfCheetah-v5", 200, (-280.178953, 12135.0)),
    "hopper": ("Hopper-v5", 500, (-20.272305, 3234.3)),
    "walker2d": ("Walker2d-v5", 500, (1.629008, 4592.3)),
}
MIXES = {  # the paper's name, and our policies by their percentage of the final return in training
    "medium-expert": ("medium-expert", ("050", "100")),
    "mixed": ("medium-replay", ("010", "025", "050", "075", "100")),
}
GAITS = "ab"  # our two training runs per environment: each gives one policy per level


class MuJoCoTask(LoggedTask):
    """A mix of behaviour policies in one environment.

    Args:
        transitions: Logged steps.
        hazard: Version of the task's hazard; v1 is ours, seeded and the same in data and environment down to the ends
            of episodes, the others are those of published code.
        horizon: Steps of an evaluation episode, the paper's if null.
        behaviour: Names of policies in the folder `policies`, an equal share each, instead of our own.
        policies: Folder of these policies.
    """

    builds_data = True
    paths = ("policies",)
    stem: ClassVar[str]  # key of ENVIRONMENTS
    mix: ClassVar[str]  # key of MIXES

    def __init_subclass__(cls, stem: str | None = None, mix: str | None = None) -> None:
        """Document and score the task `stem`-`mix` by the tables; other subclasses keep their parent's."""
        if stem is None or mix is None:
            return
        environment, horizon, cls.reference = ENVIRONMENTS[stem]
        cls.stem, cls.mix, hazard = stem, mix, HAZARDS[f"{stem}-{mix}"]["v1"]
        rules = {"velocity": "beyond {high:g} m/s either way", "pose": "with a pitch outside [{low:g}, {high:g}] rad"}
        cls.__doc__ = (
            f"{environment}, {horizon} steps; {rules[hazard['name']].format(**hazard)} a penalty of "
            f"{-hazard['penalty']} strikes with {100 * hazard['probability']:.0f} % per step.\n\n"
            f"Paper: Fukazawa et al. 2026, RAMAC (Stochastic-D4RL, {MIXES[mix][0]})."
        )

    def __init__(
        self,
        *,
        transitions: int = 100_000,
        hazard: Literal["v1", "ramac-v2", "oraac-v0", "none"] = "v1",
        horizon: int | None = None,
        behaviour: tuple[str, ...] = (),
        policies: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.environment_id, paper_horizon, _ = ENVIRONMENTS[self.stem]
        self.horizon = paper_horizon if horizon is None else horizon
        at_least(1, transitions=transitions, horizon=self.horizon)
        at_most(10**9, transitions=transitions)
        if bool(behaviour) != bool(policies):
            raise ValueError("behaviour (names) and policies (their folder) go together")
        self.hazard = hazards.build("none" if hazard == "none" else HAZARDS[f"{self.stem}-{self.mix}"][hazard])
        _, levels = MIXES[self.mix]
        own = tuple(f"{self.stem}-{gait}-{level}" for level, gait in product(levels, GAITS))  # the weakest first
        self.transitions, self.policies, self.behaviour = transitions, policies, behaviour or own

    @property
    def dataset_id(self) -> str:
        mix = self.mix
        if self.policies is not None:  # policies of another folder give other data, whatever their names
            digests = " ".join(policy.digest for policy in self.found())
            mix = f"custom-{hashlib.sha256(digests.encode()).hexdigest()[:8]}"
        return f"ramac/{self.stem}/{mix}-{self.transitions}-v1"

    def found(self) -> "list[BehaviourPolicy]":
        """The behaviour policies. Raises InputError when one is missing or damaged."""
        from ramac.data import collect  # imports minari

        return collect.find_policies(self.policies or collect.OWN, self.behaviour)

    def clean(self) -> tuple[Log, str]:
        if self.source is not None:
            return super().clean()
        built = not exists(self.dataset_id)
        folder = self.build()
        return load(self.dataset_id), f"dataset {self.dataset_id}" + (f", built in {folder}" if built else "")

    def build(self) -> str:
        from ramac.data import collect  # imports minari

        if not exists(self.dataset_id):
            collect.build(self.dataset_id, ENVIRONMENTS[self.stem][0], self.found(), self.transitions)
        return str(place(self.dataset_id))


@tasks.register("halfcheetah-medium-expert")
class HalfCheetahMediumExpert(MuJoCoTask, stem="halfcheetah", mix="medium-expert"): ...


@tasks.register("halfcheetah-mixed")
class HalfCheetahMixed(MuJoCoTask, stem="halfcheetah", mix="mixed"): ...


@tasks.register("hopper-medium-expert")
class HopperMediumExpert(MuJoCoTask, stem="hopper", mix="medium-expert"): ...


@tasks.register("hopper-mixed")
class HopperMixed(MuJoCoTask, stem="hopper", mix="mixed"): ...


@tasks.register("walker2d-medium-expert")
class Walker2dMediumExpert(MuJoCoTask, stem="walker2d", mix="medium-expert"): ...


@tasks.register("walker2d-mixed")
class Walker2dMixed(MuJoCoTask, stem="walker2d", mix="mixed"): ...
