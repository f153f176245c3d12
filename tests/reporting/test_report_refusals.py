"""What `ramac report` refuses, and damaged folders, which it lists."""

import re
import shlex
from html import unescape
from pathlib import Path

import pytest

from ramac.cli.report import main, parsed
from ramac.errors import InputError
from tests.reporting.samples import HEADER, rows, write_run

BROKEN = {
    "a cut summary": ("summary.json", lambda text: text[:40], "summary.json is not valid JSON: "),
    "a cut configuration": ("config.yaml", lambda text: text[:30] + "\n: [", "config.yaml is not valid YAML: "),
    "no column": ("episodes.csv", lambda text: text.replace("return", "retrun"), "no column 'return'.*'retrun'"),
    "nan": ("episodes.csv", lambda text: re.sub("(00,3,)[^,]+", r"\1nan", text), "nan in 1 of 20 rows, first in row 4"),
    "a cut row": ("episodes.csv", lambda text: text + "1000,20", "episodes.csv: row 21 has fewer than the 6 columns"),
    "no rows": ("episodes.csv", lambda text: HEADER, "episodes.csv has no rows"),
    "cut metrics": (
        "metrics.csv",
        lambda text: text + "3100,loss_td",
        "metrics.csv: row 61 has fewer than the 3 columns of the first line; the rest of the run is",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_folder_is_listed_and_left_out(kind, tmp_path, capsys):
    write_run(tmp_path / "good")
    write_run(tmp_path / "bad", 1)
    name, change, reason = BROKEN[kind]
    (tmp_path / "bad" / name).write_text(change((tmp_path / "bad" / name).read_text()))
    assert main([str(tmp_path)]) == 0
    page = unescape((tmp_path / "report" / "index.html").read_text())
    assert re.search(f"{tmp_path}/bad</td>.*{reason}", page)
    assert rows(tmp_path / "report" / "table.csv")[0]["seeds"] == ("2" if kind == "cut metrics" else "1")
    assert "; 1 failed, unfinished or damaged" in capsys.readouterr().out


def test_failed_and_unfinished_runs_are_listed(tmp_path):
    write_run(tmp_path / "good")
    for name in ("failed", "unfinished"):
        write_run(tmp_path / name)
        (tmp_path / name / "summary.json").unlink()
    (tmp_path / "failed" / "failed.json").write_text('{"reason": "loss_td is nan at update 7"}')
    main([str(tmp_path)])
    page = (tmp_path / "report" / "index.html").read_text()
    assert "failed: loss_td is nan at update 7" in page
    assert "unfinished: no summary.json" in page


BAD = {
    "no path": ([], "report needs a folder"),
    "nowhere": (["nowhere"], "no folder and no csv file 'nowhere'"),
    "an empty folder": (["empty"], "no run folder in 'empty'"),
    "nothing finished": (["half"], "no finished run in half: half/a: unfinished: no summary.json"),
    "a key": (["runs", "--by", "actr"], "--by=actr: no such setting; .*did you mean 'actor'"),
    "a baseline's key": (["runs", "--baseline=actr=flow"], "no setting 'actr'.*did you mean 'actor'"),
    "a baseline's value": (["runs", "--baseline=actor=flwo"], "no run has actor=flwo; there are flow, .*'flow'"),
    "no baseline": (["runs", "--baseline", "actor=flow,critic=mean"], "matches no group; the groups are flow, iqn; "),
    "two baselines": (["runs", "--baseline", "critic=iqn"], "matches several groups.*add actor"),
    "an option": (["runs", "--bye=actor"], "options are --by.*did you mean '--by'"),
    "no value": (["runs", "--by"], "expected one argument"),
    "alpha": (["runs", "--alpha=0"], r"alpha must be in \(0, 1\], got 0"),
    "alpha in words": (["runs", "--alpha=ten"], "argument --alpha: invalid float value: 'ten'; options are"),
    "a taken place": (["runs", "--out=runs/a/config.yaml"], "cannot be written: "),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_clear_line(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    for folder, actor, critic in (("a", "flow", "iqn"), ("b", "gaussian", "iqn"), ("c", "gaussian", "mean")):
        write_run(Path("runs", folder), actor=actor, critic=critic)
    write_run(Path("half", "a"))
    Path("half", "a", "summary.json").unlink()
    arguments, message = BAD[kind]
    with pytest.raises(InputError, match=message) as caught:
        main(arguments or ["--by=actor"])
    assert "\n" not in str(caught.value)
    assert not list(Path().rglob("*.part")) + list(Path().rglob("index.html"))


def test_the_documented_commands_are_understood():
    text = (Path(__file__).parents[2] / "docs" / "reports.md").read_text()
    lines = [line for block in re.findall("```sh\n(.+?)```", text, re.S) for line in block.splitlines()]
    assert len(lines) == 5
    for line in lines:
        words = shlex.split(line, comments=True)
        assert words[:2] == ["ramac", "report"]
        assert 0 < parsed(words[2:]).alpha <= 1
