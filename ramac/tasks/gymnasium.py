"""Your own data and any Gymnasium environment to judge a policy in."""

from typing import Any

from ramac.errors import at_least
from ramac.registry import tasks
from ramac.tasks import LoggedTask


@tasks.register("gymnasium")
class GymnasiumTask(LoggedTask):
    """Your own data, `data=ID|FILE`, and any Gymnasium environment with flat observations and continuous actions.

    `environment`: its id; a Minari dataset names its own. `horizon`: steps of an evaluation episode.
    """

    def __init__(self, *, environment: str | None = None, horizon: int | None = None, **more: Any) -> None:
        super().__init__(**more)
        if horizon is not None:
            at_least(1, horizon=horizon)
        self.environment_id, self.horizon = environment, horizon
