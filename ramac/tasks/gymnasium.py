"""Your own data and any Gymnasium environment to judge a policy in."""

from typing import Any

from ramac.errors import at_least
from ramac.registry import tasks
from ramac.tasks import LoggedTask, refuse_bounds


@tasks.register("gymnasium")
class GymnasiumTask(LoggedTask):
    """Your own data, `data=ID|FILE`, and any Gymnasium environment with continuous actions.

    Args:
        environment: Id of the environment; null: that of the Minari dataset.
        horizon: Steps of an evaluation episode; null: the environment's own limit.
        low: Lower bound of action coordinates that the environment leaves open; the logged actions' own if null.
        high: Upper bound of these; the logged actions' own if null.
    """

    def __init__(
        self,
        *,
        environment: str | None = None,
        horizon: int | None = None,
        low: float | None = None,
        high: float | None = None,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        if horizon is not None:
            at_least(1, horizon=horizon)
        refuse_bounds(low, high)
        self.environment_id, self.horizon, self.low, self.high = environment, horizon, low, high
