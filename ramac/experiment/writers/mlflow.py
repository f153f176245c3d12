"""MLflow, in a database in the run folder unless a server is named."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from ramac.experiment.writers.torchrl import TorchRLWriter, plain
from ramac.registry import loggers
from ramac.system.runtime import environment_variables

BATCH = 100  # parameters that MLflow takes at once
UNTOUCHED = object()


@loggers.register("mlflow")
class MLflow(TorchRLWriter):
    """MLflow in RUN/mlflow/mlflow.db: mlflow ui --backend-store-uri sqlite:///RUN/mlflow/mlflow.db.

    Args:
        tracking_uri: A server or another store instead; a resumed run is a new run there.
        experiment: MLflow's experiment.
    """

    requires: ClassVar[dict[str, str]] = {"mlflow": "ramac[mlflow]"}

    def __init__(
        self, folder: Path, sizes: Mapping[str, int], *, tracking_uri: str | None = None, experiment: str = "ramac"
    ) -> None:
        super().__init__(folder, sizes)
        self.uri, self.experiment = tracking_uri, experiment
        self.before: Any = UNTOUCHED  # the tracking URI of the process
        self.status = "FAILED"

    def begin(self, name: str, settings: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when MLflow is imported
        mlflow: Any = import_module("mlflow")
        from torchrl.record.loggers import MLFlowLogger  # get_logger makes a file store, which MLflow 3.10 gave up

        root, uri, place = self.folder.absolute() / "mlflow", self.uri, None
        if uri is None:
            uri, place = f"sqlite:///{root / 'mlflow.db'}", str(root / "artifacts")
            if (root / "mlflow.db").exists():
                delete_runs(uri)
            root.mkdir(exist_ok=True)
        self.before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
        with quiet(), impatient():
            self.logger = MLFlowLogger(self.experiment, uri, artifact_location=place)
            mlflow.set_tag("mlflow.runName", name)
            left = iter(plain(settings).items())
            while part := dict(islice(left, BATCH)):
                mlflow.log_params(part)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        # torchrl's log_metrics also sets the experiment of the process, which there is no public way to undo
        with impatient():
            import_module("mlflow").log_metrics(dict(values), step=step)

    def finish(self, summary: Mapping[str, Any]) -> None:
        self.status = "FINISHED"

    def close(self) -> None:
        if self.before is UNTOUCHED:
            return
        mlflow: Any = import_module("mlflow")
        if self.logger is not None:
            with impatient():
                mlflow.end_run(self.status)
        mlflow.set_tracking_uri(self.before)


def delete_runs(uri: str) -> None:
    """Delete the interrupted runs of a store. The file stays: MLflow keeps it open as long as the process lasts."""
    client = import_module("mlflow").MlflowClient(uri)
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            client.delete_run(run.info.run_id)


def impatient() -> AbstractContextManager[None]:
    """A block that gives up on a server that does not answer after seconds, not minutes; a user's own limits hold."""
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    return environment_variables({key: value for key, value in limits.items() if key not in os.environ})


@contextmanager
def quiet() -> Iterator[None]:
    """A block without the lines that MLflow prints for each table of a new database."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)
