"""A finished run as a folder to share."""

import os
import re
import shlex
import shutil

import numpy as np
import pytest
import yaml

import ramac
from ramac.cli import main
from ramac.deploy.card import card, fenced
from ramac.deploy.pack import pack
from ramac.errors import InputError
from ramac.experiment.compose import compose
from ramac.experiment.folder import RunFolder

HOSTILE = "<script>x</script> | [a](http://b) `c` *d*\n# e $f$"


def test_a_packed_run_acts_as_the_run(run, tmp_path):
    out = pack(run, tmp_path / "out")
    observation = np.zeros((5, 1))
    assert np.array_equal(ramac.load(out).act(observation, seed=0), ramac.load(run).act(observation, seed=0))
    assert sorted(os.listdir(out)) == ["README.md", "checkpoint", "config.yaml", "episodes.csv", "summary.json"]
    assert os.listdir(tmp_path) == ["out"]
    assert RunFolder(out).config.difference(RunFolder(run).config) is None
    assert str(run) not in "".join(path.read_text() for path in out.glob("*.*"))
    assert pack(out, tmp_path / "again").is_dir(), "a packed run is a run folder"


def test_the_card_repeats_the_run_and_shows_its_returns(run, tmp_path):
    folder, text = RunFolder(run), (pack(run, tmp_path / "out") / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["library_name"] == "ramac" and "license" not in front
    words = shlex.split(re.search(r"^ramac .*$", text, re.M)[0])[1:]
    assert compose(words).difference(folder.config) is None
    summary = folder.summary
    low, high = summary["intervals"]["mean"]
    assert f"| mean | {summary['return_mean']:.2f} | {low:.2f} to {high:.2f} |" in text
    assert summary["data_sha256"] in text and len(summary["data_sha256"]) == 64


def test_text_of_others_is_no_markdown(run):
    folder = RunFolder(run)
    text = card(folder.config, folder.summary | {"data": HOSTILE}, {"torch": HOSTILE})
    assert "<script" not in re.sub(r"\\.", "", text) and "](" not in re.sub(r"\\.", "", text)
    assert len([line for line in text.split("---")[2].splitlines() if line.startswith("# ")]) == 1
    assert fenced("a ``` b") == "````\na ``` b\n````"


def test_what_cannot_be_packed_is_refused_and_leaves_nothing(run, tmp_path, monkeypatch, capsys):
    (tmp_path / "taken").mkdir()
    with pytest.raises(InputError, match="taken exists already"):
        pack(run, tmp_path / "taken")
    with pytest.raises(InputError, match="none does not exist"):
        pack(run, tmp_path / "none" / "out")
    unfinished = tmp_path / "run"
    shutil.copytree(run, unfinished)
    (unfinished / "summary.json").unlink()
    with pytest.raises(InputError, match=r"is unfinished, it has no summary\.json: ramac resume"):
        pack(unfinished, tmp_path / "out")
    shutil.copy(run / "summary.json", unfinished)
    weights = unfinished / "checkpoint" / "agent.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4])
    monkeypatch.setattr("sys.argv", ["ramac", "pack", str(unfinished), str(tmp_path / "out")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert re.fullmatch(r"ramac: no usable checkpoint in .*\n", capsys.readouterr().err)
    assert sorted(os.listdir(tmp_path)) == ["run", "taken"]


def test_only_the_weights_and_their_description_are_packed(run, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(run, own)
    (own / "checkpoint/secret.pkl").write_text("x")
    assert sorted(os.listdir(pack(own, tmp_path / "out") / "checkpoint")) == ["agent.json", "agent.safetensors"]
    with pytest.raises(InputError, match=r"is inside .*own; name a folder beside it"):
        pack(own, own / "checkpoint/out")
    with pytest.raises(InputError, match="a name has at most"):
        pack(own, tmp_path / (300 * "a"))
    text = (own / "summary.json").read_text()
    (own / "summary.json").write_text(re.sub(r'"return_std": [^,]+', '"return_std": NaN', text))
    with pytest.raises(InputError, match=r"summary.json"):
        pack(own, tmp_path / "other")
    assert sorted(os.listdir(tmp_path)) == ["out", "own"]


@pytest.mark.parametrize(
    "change",
    [{"behaviour": [1]}, {"return_cvar": 3}, {"intervals": {"mean": 5}}, {"episodes": HOSTILE}, {"estimate": "x"}],
)
def test_a_strange_summary_makes_a_harmless_card(run, change):
    folder = RunFolder(run)
    text = card(folder.config, folder.summary | change, {})
    assert "<script" not in re.sub(r"\\.", "", text) and "## Results" in text


def test_the_card_names_the_dial_and_the_command_repeats_it(run):
    """No number after a name tells a range or a horizon."""
    folder = RunFolder(run)
    words = ["task=chain", "critic=qr", "risk=cvar", "risk.alpha=[0.05,0.5]", "risk.horizon=episode", "gamma=0.9"]
    text = card(compose(words), folder.summary, {})
    assert "act(observation, reward_so_far=reward_so_far, discount=discount, alpha=0.05)" in text
    assert "gamma is 0.9." in text and "`alpha` is a dial of the risk measure, from 0.05 to 0.5." in text
    repeat = shlex.split(re.search(r"^ramac .*$", text, re.M)[0])[1:]
    assert compose(repeat).difference(compose(words)) is None
    assert "dial" not in card(folder.config, folder.summary, {})
