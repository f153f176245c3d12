"""Flags of Hydra: their values are no settings and no commands, and one that makes no sense is refused in one line."""

import sys

import pytest
from hydra.core.global_hydra import GlobalHydra

from ramac.cli import main
from ramac.cli.train import split
from ramac.errors import InputError


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    GlobalHydra.instance().clear()


def test_flags_and_words_in_any_order():
    words = ["risk=wang", "seed=3"]
    for arguments in (["-c", "job", "-p", "risk", *words], [*words, "--cfg=job", "--package=risk"],
                      [words[0], "-p", "risk", "-c", "job", words[1]]):  # fmt: skip
        flags, rest = split(arguments)
        assert (sorted(flags), rest) == (["--cfg=job", "--package=risk"], words)
    assert split(["-p", "loss.td.gamma", "--cfg", "job"]) == (["--cfg=job", "--package=loss.td.gamma"], [])
    assert split(["-cd", "risk=cvar0.5", "-cn", "list", "-m"])[1] == []


def test_the_value_of_a_flag_is_no_setting(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ramac", "risk=wang", "-p", "risk", "--cfg", "job", "seed=2"])
    main()
    assert "name: wang" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run_dir=gr\udcf6sse"], r"run_dir=gr\\udcf6sse is not UTF-8; rename it, or set PYTHONUTF8=1"),
        (["--resolve"], "--resolve goes with --cfg"),
        (["-p", "list"], "--package goes with --cfg"),
        (["--cfg", "job", "-p", "risk=cvar0.5"], "--package=risk=cvar0.5 is no part of the configuration"),
        (["--experimental-rerun", "nope.pickle"], "ramac resume RUN continues one"),
        (["-cp", "nowhere"], "--config-dir DIR adds yours"),
        (["-cn", "nowhere"], "no configuration 'nowhere'"),
        (["-cd", "nowhere"], "Additional config directory '.*nowhere' not found"),
        (["-m", "--cfg", "job"], "--multirun and --cfg do not go together"),
        (["--shell-completion"], "takes install=bash, fish or zsh, or uninstall=, got nothing"),
        (["-sc", "install=tcsh"], "got install=tcsh"),
        (["-sc", "query=bash"], "got query=bash"),
        (["-i", "actor=flow"], "invalid choice: 'actor=flow'"),
        (["--explain", "-m", "seed=0,1"], "--explain is about one run; leave out -m"),
        (["--explain", "-cd", "nowhere"], "--explain takes settings only; leave out --config-dir=nowhere"),
    ],
)
def test_flags_without_sense_are_refused(arguments, words, monkeypatch, capsys, tmp_path):
    import re

    monkeypatch.setattr(sys, "argv", ["ramac", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(words, line), line
    assert not list(tmp_path.iterdir())


def test_an_unpickled_run_is_never_loaded():
    with pytest.raises(InputError, match="--experimental-rerun is not for runs of ramac"):
        split(["--experimental-rerun=x.pickle", "seed=0"])
