"""`ramac demo` runs the commands that it prints, continues what is there, and touches nothing else."""

import shlex
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from ramac.cli import demo, main
from ramac.errors import InputError
from ramac.experiment.compose import compose

TINY = ("trainer.steps=4", "critic=qr", "actor.hidden=[8]", "critic.hidden=[8]", "evaluation.episodes=5", "log_every=2")


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch, small_figures):
    monkeypatch.chdir(tmp_path)
    yield
    GlobalHydra.instance().clear()


def shown(text: str) -> list[str]:
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]


@pytest.mark.parametrize("folder", ["demo", "my demo"])
@pytest.mark.parametrize("joblib", [False, True])
def test_it_runs_the_commands_that_it_prints(folder, joblib, monkeypatch, capsys):
    ran: list[list[str]] = []
    monkeypatch.setattr(demo, "run", lambda words: ran.append(list(words)) or 0)
    monkeypatch.setattr(demo, "find_spec", lambda _: joblib or None)
    assert demo.main([folder] if folder != "demo" else []) == 0
    assert [shlex.split(line) for line in shown(capsys.readouterr().out)] == [["ramac", *words] for words in ran]
    explained, sweep, report = ran
    compose([word for word in explained if word != "--explain"])
    swept = [word for word in sweep if "," not in word and not word.startswith(("-", "hydra/"))]
    assert ("hydra/launcher=joblib" in sweep) == joblib
    config = compose(swept)
    assert config.threads == 1 and config.grid_dir == folder
    assert report[:2] == ["report", folder]


def test_a_second_call_trains_nothing_again(monkeypatch, capfd):
    monkeypatch.setattr(demo, "SHORT", TINY)
    monkeypatch.setattr(demo, "COMPARED", ("actor=flow,gaussian", "risk=neutral", "seed=0"))
    monkeypatch.setattr(demo, "find_spec", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["ramac", "demo"])
    main()
    assert "2 runs, 2 to run" in capfd.readouterr().out
    written = {path: path.stat().st_mtime_ns for path in Path("demo").glob("*/summary.json")}
    assert len(written) == 2 and Path("demo/report/index.html").exists()
    monkeypatch.setattr("ramac.cli.report.main", lambda _: 0)
    main()
    assert "2 runs, 0 to run" in capfd.readouterr().out
    assert all(path.stat().st_mtime_ns == before for path, before in written.items())
    with pytest.raises(InputError, match="demo holds something else than a demo"):  # of other sizes
        monkeypatch.setattr(demo, "SHORT", ("trainer.steps=5",))
        demo.main([])


def test_a_failed_step_ends_it(monkeypatch, capsys):
    monkeypatch.setattr(demo, "run", lambda words: 1 if "-m" in words else 0)
    assert demo.main([]) == 1
    assert len(shown(capsys.readouterr().out)) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["one", "two"], r"demo takes one folder, got 2: ramac demo \[FOLDER\]"),
        (["steps=3"], "demo takes no settings, got 'steps=3'"),
        (["--quick"], "demo takes no settings, got '--quick'"),
        (["full"], "full holds something else than a demo; name a new folder"),
        (["file"], "file holds something else than a demo"),
    ],
)
def test_what_it_refuses(arguments, told):
    Path("full").mkdir()
    Path("full/thesis.tex").write_text("")
    Path("file").write_text("")
    with pytest.raises(InputError, match=told):
        demo.main(arguments)
    assert {path.name for path in Path().rglob("*")} == {"full", "file", "thesis.tex"}
