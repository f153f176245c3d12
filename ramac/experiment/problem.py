"""A run's task and its data, with what the risk measure reads of them."""

from ramac.data import Dataset, Log
from ramac.data.context import of_episodes
from ramac.experiment.config import RunConfig
from ramac.registry import risks
from ramac.risk.episode import Episode
from ramac.tasks import Task, configured


def problem_of(config: RunConfig, log: Log | None = None) -> tuple[Task, Dataset]:
    """The task and its data, or `log`. Raises InputError."""
    task = configured(config.plain, log)
    data = task.dataset()
    return task, of_episodes(data, config.gamma) if isinstance(risks.build(config.risk), Episode) else data
