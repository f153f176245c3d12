"""tensorboard, wandb and mlflow hold the numbers of metrics.csv, also after an interruption, in the run folder."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import ramac
from ramac.errors import InputError, RunStopped
from ramac.experiment import writers
from ramac.experiment.writers.tables import CSV
from ramac.registry import loggers
from ramac.system.signals import Interrupted
from ramac.training.trainer import Trainer

SHORT = ("actor=gaussian", "actor.hidden=[8]", "critic.hidden=[8]", "trainer.steps=12", "trainer.batch_size=8",
         "log_every=2", "evaluation.episodes=5", "evaluation.every=6", "save_every=4",
         "task.transitions=200")  # fmt: skip
Rows = list[tuple[int, str, float]]  # gradient step, name, value


def tensorboard(folder: Path) -> tuple[Rows, dict[str, object]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    events = EventAccumulator(str(folder / "tensorboard"), {"scalars": 0}).Reload()
    rows = [(e.step, name, e.value) for name in events.Tags()["scalars"] for e in events.Scalars(name)]
    plugin = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = HParamsPluginData.FromString(plugin).session_start_info.hparams
    return rows, {key: getattr(value, str(value.WhichOneof("kind"))) for key, value in settings.items()}


def mlflow(folder: Path) -> tuple[Rows, dict[str, object]]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder.absolute()}/mlflow/mlflow.db")
    (experiment,) = [one for one in client.search_experiments() if one.name == "ramac"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    rows = [
        (m.step, name, m.value) for name in run.data.metrics for m in client.get_metric_history(run.info.run_id, name)
    ]
    return rows, run.data.params


def records(path: Path) -> list:
    """After 7 bytes the file is a LevelDB log: blocks of 32768 bytes of chunks, checksum [4] length [2] kind [1]."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, part, found = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        end = at + 7 + int.from_bytes(data[at + 4 : at + 6], "little")
        part += data[at + 7 : end]
        if data[at + 6] in (1, 4):  # complete, or its last chunk
            found.append(Record.FromString(part))
            part = b""
        at = end
    return found


def wandb(folder: Path) -> tuple[Rows, dict[str, object]]:
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    until = time.time() + 30  # W&B's own process writes the end after `finish` has returned
    while not any(record.HasField("exit") for record in records(path)) and time.time() < until:
        time.sleep(0.1)
    rows, settings = [], {}
    for record in records(path):
        settings |= {item.key: json.loads(item.value_json) for item in record.config.update}
        values = {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for name, value in values.items():
            if not name.startswith("_") and not name.endswith("step"):
                prefix = "evaluation/" if name.startswith("evaluation/") else ""
                rows.append((values[f"{prefix}step"], name.replace("_cvar_0_", "_cvar.0."), value))
    return rows, settings


READERS = {"tensorboard": tensorboard, "wandb": wandb, "mlflow": mlflow}


def table(path: Path) -> Rows:
    with path.open() as file:
        return [(int(row["step"]), row["name"], float(row["value"])) for row in csv.DictReader(file)]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path.parent / "matplotlib"))


def interrupt(monkeypatch, *words: str) -> None:
    """SIGTERM after 7 gradient steps: the state is saved after 7, rows after 8 are never written."""
    update, calls = Trainer.update, [0]

    def watched(self, batch):
        metrics = update(self, batch)
        calls[0] += 1
        if calls[0] == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return metrics

    with monkeypatch.context() as context:
        context.setattr(Trainer, "update", watched)
        with pytest.raises(Interrupted):
            ramac.train(*SHORT, *words, "run_dir=run", quiet=True)


@pytest.mark.parametrize("interrupted", [None, "same", "without"])
@pytest.mark.parametrize("name", READERS)
def test_it_holds_the_numbers_of_the_csv_tables(name, interrupted, monkeypatch, capfd):
    if name != "tensorboard":  # which comes with the tests
        pytest.importorskip(name)
    before = dict(os.environ)
    words = f"logger=[csv,{name}]"
    if interrupted:
        interrupt(monkeypatch, words if interrupted == "same" else "logger=[csv]")
    if interrupted == "same":  # a process that was killed had come further than the state that is resumed
        shutil.rmtree("run/checkpoint")
        Path("run/states/7.safetensors").unlink()
    summary = ramac.train(*SHORT, words, "run_dir=run", quiet=True).summary
    rows, settings = READERS[name](Path("run"))
    changed = {key: value for key, value in os.environ.items() if before.get(key) != value}
    assert {key: changed[key] for key in changed if "WANDB" in key or "MLFLOW" in key}.items() <= {
        "MLFLOW_DISABLE_TELEMETRY": "true"
    }.items()
    metrics = [row for row in rows if not row[1].startswith("evaluation/")]
    assert sorted(metrics) == sorted(table(Path("run/metrics.csv")))
    evaluated = {row[:2]: row[2] for row in rows if row[1].startswith("evaluation/")}
    assert Counter(step for step, _ in evaluated) == {6: len(evaluated) / 2, 12: len(evaluated) / 2}
    for key, value in {"return_mean": summary["return_mean"], "return_cvar.0.1": summary["return_cvar"]["0.1"],
                       "hazard_rate": summary["hazard_rate"]}.items():  # fmt: skip
        assert evaluated[12, f"evaluation/{key}"] == pytest.approx(value, rel=1e-6)
    assert settings["actor.name"] == "gaussian" and settings["actor.hidden"] == "[8]"
    assert float(settings["trainer.batch_size"]) == 8
    assert not Path("home").exists() and {path.name for path in Path().iterdir()} == {"run"}
    assert capfd.readouterr() == ("", "")


KILLED = """
import os, socket
def refused(*_): raise OSError("the network was asked for")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refused
import ramac
from ramac.training.trainer import Trainer
def watched(self, batch, update=Trainer.update):
    return os.kill(os.getpid(), 9) if self.step_count == 8 else update(self, batch)
Trainer.update = watched
ramac.main()
"""


def test_a_killed_process_leaves_readable_files_and_has_asked_for_no_network():
    command = [sys.executable, "-c", KILLED, *SHORT, "logger=[csv,tensorboard]", "run_dir=run"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert "network" not in done.stderr and "left out" not in done.stderr
    rows, _ = tensorboard(Path("run"))
    assert sorted(row for row in rows if "/" not in row[1]) == sorted(table(Path("run/metrics.csv")))
    assert {step for step, *_ in rows} >= {2, 4, 6}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of TensorBoard's own thread
def test_a_full_disk_of_a_logger_does_not_stop_the_run(monkeypatch):
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(self, data):
        raise OSError(28, "No space left on device")

    def fill(self, step, values, write=CSV.metrics):
        write(self, step, values)
        if step == 4:
            monkeypatch.setattr(RecordWriter, "write", full)

    monkeypatch.setattr(CSV, "metrics", fill)
    with pytest.warns(UserWarning, match="logger=tensorboard failed and is left out; .*: OSError: .*No space left"):
        ramac.train(*SHORT, "logger=[csv,tensorboard]", "run_dir=run", quiet=True)
    assert {step for step, *_ in table(Path("run/metrics.csv"))} == {2, 4, 6, 8, 10, 12}
    assert {step for step, *_ in tensorboard(Path("run"))[0]} == {2}


@pytest.mark.parametrize("method", ["begin", "metrics", "episodes", "evaluation", "sizes", "finish", "close"])
def test_a_logger_that_raises_does_not_stop_the_run(method, monkeypatch):
    def broken(*_):
        raise RuntimeError("the server\nis gone")

    monkeypatch.setattr(loggers["tensorboard"], method, broken)
    with pytest.warns(UserWarning, match="logger=tensorboard failed .*: RuntimeError: the server is gone") as told:
        ramac.train(*SHORT, "logger=[csv,tensorboard]", "run_dir=run", quiet=True)
    assert len([w for w in told if "left out" in str(w.message)]) == 1
    assert Path("run/summary.json").exists()


def test_csv_stops_the_run(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CSV, "metrics", full)
    with pytest.raises(RunStopped, match="run cannot be written: No space left on device"):
        ramac.train(*SHORT, "logger=[csv,tensorboard]", "run_dir=run", quiet=True)


@pytest.mark.parametrize("name", READERS)
def test_a_missing_package_is_refused_before_anything_is_written(name, monkeypatch):
    monkeypatch.setattr(writers, "find_spec", lambda _: None)
    message = rf"^logger={name} needs {name}, which is not installed: pip install 'ramac\[{name}\]'$"
    with pytest.raises(InputError, match=message):
        ramac.train(*SHORT, f"logger=[csv,{name}]", "run_dir=run")
    with pytest.raises(InputError, match=message):
        ramac.sweep(*SHORT, f"logger=[csv,{name}]", seed=[0, 1], grid_dir="grid", quiet=True)
    assert not list(Path().iterdir())


def test_a_folder_of_that_name_is_no_package(monkeypatch):
    Path("mlflow_of_nobody").mkdir()
    monkeypatch.syspath_prepend(os.getcwd())
    monkeypatch.setattr(loggers["mlflow"], "requires", {"mlflow_of_nobody": "ramac[mlflow]"})
    with pytest.raises(InputError, match="logger=mlflow needs mlflow_of_nobody, which is not installed"):
        ramac.train(*SHORT, "logger=[csv,mlflow]", "run_dir=run")
