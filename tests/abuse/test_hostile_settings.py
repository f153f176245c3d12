"""Configurations and tables that somebody else wrote: they are read as data, and nothing in them runs."""

import os
import pickle
from pathlib import Path

import pytest

from ramac.errors import InputError
from ramac.experiment import evaluate as reevaluate
from ramac.experiment.estimate import of_run
from ramac.experiment.folder import RunFolder
from ramac.reporting.runs import gather
from ramac.system.untrusted import read_yaml
from trials.hostile import CONFIG, Payload

CONFIGS = {
    "an environment variable": ("seed: ${oc.env:HOME}", "seed='.{oc.env:HOME}' is an interpolation"),
    "one inside a list": ("x: [1, {y: '${oc.env:HOME}'}]", "x.y=.* is an interpolation"),
    "a class to call": ("task: {name: bandit, _target_: os.system}", "'task._target_' is not a setting"),
    "a tag": ("x: !!python/object/apply:os.system ['touch pwned']", "is a YAML tag; settings are plain values"),
    "references": ("x: &a [1]\ny: *a", r"'\*a' is a YAML alias"),
    "a setting twice": ("seed: 1\nseed: 2", "'seed' appears twice"),
    "nested without end": ("x: " + "[" * 500 + "]" * 500, "nested too deeply"),
    "a module to import": (
        "task: {name: gymnasium, environment: 'evil:Env-v0'}",
        "would run the module evil; .*PLUGINS",
    ),
    "no settings": ("task: bandit", "task must be the name and the arguments of an entry, got 'bandit'"),
    "a key that is none": ("1: 2", "'1' is not a setting"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_hostile_configuration_is_refused(run, kind):
    text, message = CONFIGS[kind]
    key = text.partition(":")[0]
    kept = [line for line in CONFIG.splitlines() if not line.startswith(f"{key}:")]
    (run / "config.yaml").write_text("\n".join([*kept, text]))
    (run.parent / "evil.py").write_text("open('pwned', 'w')")
    with pytest.raises(InputError, match=message):
        _ = RunFolder(run).config
    with pytest.raises(InputError, match=message):
        reevaluate.evaluate(run, {"name": "x"})
    assert not Path("pwned").exists()
    assert {path.name for path in run.iterdir()} == {"checkpoint", "config.yaml", "summary.json"}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("{name: ../../x}", "no task '../../x'"),
        ("{name: bandit, transitions: 1000000000000}", "transitions must be at most"),
        ("{name: bandit, transitions: [1]}", "transitions|task"),
        ("{name: hopper-mixed, policies: ../../etc, behaviour: [passwd]}", "takes observations of 1 numbers"),
        ("{name: gymnasium, environment: NoSuch-v0}", "no environment 'NoSuch-v0'"),
    ],
)
def test_a_hostile_task_is_refused(run, task, message):
    (run / "config.yaml").write_text(CONFIG.replace("{name: bandit}", task))
    with pytest.raises(InputError, match=message):
        reevaluate.evaluate(run, {"name": "x"})


@pytest.mark.parametrize("source", ["/etc/hostname", "../../nothing.hdf5", "../x-v0", "run"])
def test_data_of_a_hostile_run_are_only_read_as_data(run, source):

    text = CONFIG.replace("{name: bandit}", "{name: gymnasium, environment: Pendulum-v1}")
    (run / "config.yaml").write_text(text.replace("data: null", f"data: {source}"))
    (run / "run").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(InputError, match=r"cannot be read|no file|no format|without data|data are not in"):
        of_run(run)
    assert not Path("pwned").exists()


def test_a_report_reads_hostile_folders_as_data(run):
    for name, content in (
        ("summary.json", "[" * 100_000),
        ("summary.json", "{}"),
        ("summary.json", '{"a": 1, "a": 2}'),
    ):
        (run / name).write_text(content)
        (run / "episodes.csv").write_text("step,episode,return\n1,0,1\n")
        with pytest.raises(InputError, match="no finished run"):
            gather([str(run)])
    (run / "episodes.csv").unlink()
    os.mkfifo(run / "episodes.csv")
    with pytest.raises(InputError, match="no finished run"):
        gather([str(run)])


def test_a_bomb_of_references_is_refused(tmp_path):
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="is a YAML alias"):
        read_yaml(tmp_path / "bomb.yaml")
