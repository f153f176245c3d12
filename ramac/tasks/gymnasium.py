"""Your own data and any Gymnasium environment to judge a policy in."""

from ramac.errors import at_least
from ramac.hazards import NoHazard
from ramac.registry import tasks
from ramac.tasks import LoggedTask


@tasks.register("gymnasium")
class GymnasiumTask(LoggedTask):
    """Your own data, `data=ID|FILE`, and any Gymnasium environment with flat observations and continuous actions.

    `environment`: its id; a Minari dataset names its own. `horizon`: steps of an evaluation episode.
    """

    def __init__(
        self,
        *,
        environment: str | None = None,
        horizon: int | None = None,
        hazard_seed: int = 0,
        steps: int = 10_000,
        gamma: float = 0.99,  # RADAC
    ) -> None:
        at_least(0, hazard_seed=hazard_seed)
        at_least(1, **({} if horizon is None else {"horizon": horizon}))
        self.environment_id, self.horizon = environment, horizon
        self.hazard, self.hazard_seed, self.gamma = NoHazard(), hazard_seed, gamma
