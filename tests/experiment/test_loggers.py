"""The slot of loggers: csv is always there, a writer of one's own gets the same numbers and is closed."""

import csv
from pathlib import Path

import pytest

import ramac
from ramac.errors import InputError
from ramac.experiment.writers import Writer
from ramac.registry import loggers

SHORT = ("actor=gaussian", "actor.hidden=[8]", "critic.hidden=[8]", "trainer.steps=4", "trainer.batch_size=8",
         "log_every=2", "evaluation.episodes=3", "evaluation.every=2", "task.transitions=200")  # fmt: skip


class Notes(Writer):
    """Keeps what it is given, with a setting of its own."""

    made: list["Notes"] = []  # noqa: RUF012

    def __init__(self, folder, sizes, *, prefix: str = "") -> None:
        super().__init__(folder, sizes)
        self.prefix, self.lines, self.closed = prefix, [], False
        self.made.append(self)

    def metrics(self, step, values):
        self.lines += [(step, self.prefix + name, value) for name, value in values.items()]

    def episodes(self, step, rows):
        self.lines += [(step, "return", row["return"]) for row in rows]

    def close(self):
        self.closed = True


@pytest.fixture
def notes(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    len(loggers)  # built-in entries are there before ours
    monkeypatch.setitem(loggers.entries, "notes", Notes)
    monkeypatch.setitem(loggers.suffix, "notes", None)
    monkeypatch.setattr(Notes, "made", [])
    return Notes.made


@pytest.mark.parametrize("chosen", ["[csv,notes]", "[notes]"])
def test_a_logger_of_ones_own_stands_beside_csv(chosen, notes):
    ramac.train(*SHORT, f"logger={chosen}", "logger.notes.prefix=my/", "run_dir=run", quiet=True)
    (mine,) = notes
    assert mine.closed and mine.folder == Path("run")
    with open("run/metrics.csv") as file:
        assert [(int(r["step"]), "my/" + r["name"], float(r["value"])) for r in csv.DictReader(file)] == [
            line for line in mine.lines if line[1] != "return"
        ]
    with open("run/episodes.csv") as file:
        assert [float(row["return"]) for row in csv.DictReader(file)] == [v for _, n, v in mine.lines if n == "return"]


def test_a_failed_run_closes_its_writers(notes):
    with pytest.raises(FloatingPointError):
        ramac.train(*SHORT, "logger=[csv,notes]", "trainer.critic_lr=1e20", "critic=mean", "risk=neutral", quiet=True)
    assert notes[0].closed


def test_an_unknown_logger_is_refused(notes):
    with pytest.raises(InputError, match="no logger 'tensorbord'"):
        ramac.train(*SHORT, "logger=[tensorbord]")
    assert not Path("runs").exists()
