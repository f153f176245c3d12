"""`ramac plot`: its curves, terminal and pictures against plain formulas, and what it refuses."""

import io
import json
import math
import shutil
import sys
from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import ramac
from ramac.cli.plot import main, parsed
from ramac.errors import InputError
from ramac.experiment.folder import RunFolder
from ramac.reporting import drawing, terminal
from ramac.reporting.curves import smoothed
from ramac.reporting.pictures import Subject, actions, quantiles
from ramac.tasks.bandit import Bandit
from tests.reporting.samples import write_run

SMALL = {
    "actor": {"name": "flow", "hidden": [8]}, "critic": {"name": "iqn", "hidden": [8], "head": 8},
    "trainer": {"steps": 2, "batch_size": 8}, "task": {"transitions": 90}, "log_every": 1,
    "evaluation": {"episodes": 5},
}  # fmt: skip


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch, small_figures):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def made(monkeypatch) -> dict:
    """The figures that are written, by name."""
    found = {}
    sound = drawing.write

    def write(place, figures, out):
        found.update(figures)
        return sound(place, figures, out)

    monkeypatch.setattr(drawing, "write", write)
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    ramac.train(**SMALL, run_dir=str(folder), quiet=True)
    return folder


def test_curves_of_several_runs(made, capsys):
    """A line per group: the mean over its seeds; without names the losses, and returns that were evaluated often."""
    for actor in ("flow", "gaussian"):
        for seed in (0, 1):
            write_run(Path(f"runs/{actor}{seed}"), seed, shift=seed, steps=(500, 1000), actor=actor)
    assert main(["runs"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "figure: runs/plots/curves.png"
    assert "2 groups of 2 seeds: mean over seeds" in out[1]
    (figure, _), titles = made["curves"], ["loss_bc", "loss_td", "return_mean", "return_cvar, alpha 0.1"]
    assert [axes.get_title() for axes in figure.axes if axes.get_visible()] == titles
    line = figure.axes[1].lines[0]
    assert line.get_xdata().tolist() == list(range(100, 3100, 100))
    assert line.get_ydata() == pytest.approx([math.exp(-step / 500) + 0.5 for step in range(100, 3100, 100)])
    returns = [pd.read_csv(f"runs/flow{seed}/episodes.csv").query("step == 500")["return"] for seed in (0, 1)]
    assert figure.axes[2].lines[0].get_ydata()[0] == pytest.approx(np.mean([part.mean() for part in returns]))
    tail = np.mean([np.sort(part)[:2].mean() for part in returns])
    assert figure.axes[3].lines[0].get_ydata()[0] == pytest.approx(tail)


def test_the_mean_of_the_last_rows():
    values = pd.Series(np.random.default_rng(0).normal(size=20), index=range(0, 200, 10))
    plain = [np.mean(values.to_numpy()[max(0, place - 3) : place + 1]) for place in range(20)]
    assert smoothed(values, 4).to_numpy() == pytest.approx(plain)
    assert smoothed(values, 1) is values


def test_a_run_that_has_not_ended_is_drawn(made, trained):
    shutil.copytree(trained, "live")
    Path("live/summary.json").unlink()
    Path("live/episodes.csv").write_text("")  # as it is before the first evaluation
    assert ramac.plot("live", quiet=True).files == [Path("live/plots/curves.png")]
    assert [len(axes.lines[0].get_xdata()) for axes in made["curves"][0].axes if axes.get_visible()] == [2, 2, 2]
    for file, cut in (("metrics.csv", "3,loss_td"), ("metrics.csv", "3,loss_td,0.1"), ("episodes.csv", "2,0,1.5")):
        whole = Path("live", file).read_text()
        header = "" if whole else "step,episode,return\n"
        Path("live", file).write_text(header + whole + cut)  # the run is writing this row
        ramac.plot("live", quiet=True)
        assert [len(axes.lines[0].get_xdata()) for axes in made["curves"][0].axes if axes.get_visible()] == [2, 2, 2]
        Path("live", file).write_text(whole)
    Path("live/metrics.csv").write_text("")
    with pytest.raises(InputError, match="live has logged no loss yet"):
        ramac.plot("live", quiet=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "los_td"], "no metric 'los_td'; there are loss_bc, loss_td, .* and the pictures .*'loss_td'"),
        (["run", "qantiles"], "no metric 'qantiles'; .*; did you mean 'quantiles'?"),
        (["run", "grad*"], r"no metric 'grad\*'"),
        (["run", "other/run"], "no folder 'other/run'; plot takes run folders first"),
        (["run", "loss_td", "--smooth", "0"], "--smooth must be a whole number from 1"),
        (["run", "loss_td", "--states", "1"], "--states has no effect on loss_td; it is for quantiles and actions"),
        (["run", "--dimensions", "1"], "--dimensions has no effect on curves; it is for actions"),
        (["run", "returns", "--smooth", "3"], "--smooth has no effect on returns; it is for curves"),
        (["run", "returns", "--terminal"], "--terminal has no effect on returns"),
        (["run", "calibration", "--alpha", "0.2"], "--alpha has no effect on calibration"),
        (["run", "loss_td", "--alpha", "0.2"], "--alpha has no effect on loss_td"),
        (["run", "plane", "--alpha", "2"], r"alpha must be in \(0, 1\], got 2"),
        (["run", "returns", "plane", "--out", "x.pdf"], "--out is one file, and these are 2 figures"),
        (["run", "--out", "x.jpg"], "a figure is a file .png, .pdf, .svg"),
        (["run", "--out", "gone/x.png"], "gone/x.png: the folder gone does not exist"),
        (["run", "calibration"], "run has no calibration.json; make it by ramac doctor RUN"),
        (["run", "two", "actions"], "actions is a picture of one run, and these are 2"),
        (["run", "--states", "1,x"], "plot: argument --states: invalid"),
        (["run", "--by", "actr", "loss_td"], "--by=actr: no such setting"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_what_is_refused_writes_nothing(words, message):
    write_run(Path("run"))
    write_run(Path("two"), 1)
    before = sorted(Path().rglob("*"))
    with pytest.raises(InputError, match=message):
        main(words)
    assert sorted(Path().rglob("*")) == before


def test_files_are_where_they_are_asked_for():
    write_run(Path("a/run"))
    write_run(Path("b"), 1)
    assert ramac.plot(["a/run", "b"], "loss_*", quiet=True).files == [Path("a/plots/loss.png").resolve()]
    for kind, start in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        (path,) = ramac.plot("a/run", ["returns"], out=Path(f"x.{kind}"), quiet=True).files
        assert path.read_bytes().startswith(start)
    assert not Path("a/run/plots").exists()
    Path("b/plots").symlink_to(Path("a").resolve())
    with pytest.raises(InputError, match="link out of b"):
        ramac.plot("b", quiet=True)


def test_options_are_those_of_the_function():
    words = ["run", "loss_td", "--states", "0,10", "--dimensions", "1", "--smooth=3", "--terminal", "--alpha=0.2"]
    given = parsed(words)
    assert given == {
        "paths": ["run"], "names": ["loss_td"], "states": (0, 10), "dimensions": (1,), "smooth": 3, "terminal": True,
        "alpha": 0.2,
    }  # fmt: skip
    assert set(given) - {"paths", "names"} <= set(drawing.Options.__dataclass_fields__)


@pytest.mark.parametrize(("encoding", "ascii_only"), [("utf-8", False), ("ascii", True)])
@pytest.mark.parametrize("count", [1, 2])
def test_a_terminal_without_colours(encoding, ascii_only, count, monkeypatch):
    """No code for a colour, lines that fit, letters for several lines, and nothing that a terminal would obey."""
    monkeypatch.setenv("COLUMNS", "60")
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    line = pd.Series({0.0: 1.0, 50.0: math.nan, 100.0: 3.0})
    labels = ["flow", "two \x1b[31m"][:count]
    lines = {label: line + place for place, label in enumerate(labels)}
    terminal.draw({"loss\x1b[2J": lines}, "gradient steps", stream)
    stream.seek(0)
    shown = stream.read()
    assert "\x1b" not in shown
    assert shown.isascii() == ascii_only
    assert max(map(len, shown.splitlines())) <= 60
    assert "gradient steps" in shown and "loss" in shown
    assert ("A flow" in shown and "B two" in shown) == (count == 2)


def test_curves_go_to_a_terminal_only(monkeypatch):
    write_run(Path("run"))
    drawn = []
    monkeypatch.setattr(drawing, "draw", lambda panels, xlabel, stream: drawn.append(list(panels)))
    for tty, options, count in ((False, {}, 0), (True, {}, 1), (False, {"terminal": True}, 2)):
        monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda tty=tty: tty, write=len, flush=int))
        ramac.plot("run", "loss_td", **options)
        assert len(drawn) == count
    assert drawn[0] == ["loss_td"]


def test_true_quantiles_of_the_bandit_against_its_distribution():
    normal = NormalDist().cdf
    seen, action = np.array([[0.5]] * 4, np.float32), np.array([[0.1, 0], [0, 0.9], [0.5, 0], [0.85, 0.85]])
    levels = np.array([0.001, 0.03, 0.074, 0.076, 0.2, 0.5, 0.99])
    found = Bandit(context=True, rare=10).quantiles(seen, action, levels)
    assert found[2].tolist() == [0] * 7
    for row, struck, paid in ((0, 0.0, 5), (1, 0.05 * 1.5, 9), (3, 0.1, 9)):
        below = [struck * normal((q + 50) / 0.5) + (1 - struck) * normal((q - paid) / 0.5) for q in found[row]]
        assert below == pytest.approx(levels, abs=1e-6)


def test_pictures_of_a_policy(trained):
    """Lines are the critic's quantiles and the truth; the random generators of others are left alone."""
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    subject = Subject(RunFolder(trained))
    figure, caption = quantiles(subject, (3, 70), (), 0.25)
    assert "2 logged states" in caption and "Dashed: the true" in caption
    log, agent = subject.data.log, subject.agent
    levels = (np.arange(200) + 0.5) / 200
    for axes, level, row in zip(figure.axes, [levels, levels, levels / 4, levels / 4], [3, 70, 3, 70], strict=True):
        logged = next(line for line in axes.lines if line.get_label() == "logged action")
        plain = agent.returns(log.observation[row], log.action[row], level)
        assert logged.get_xydata() == pytest.approx(np.stack([level, plain], 1), rel=1e-4, abs=1e-4)
        assert axes.get_xlim() == pytest.approx((0, level[0] + level[-1]))
    assert [text.get_text() for text in figure.legends[0].texts] == ["policy's action", "truth", "logged action"]
    figure, caption = actions(subject, (), (), 0.1)
    (axes,) = figure.axes  # all states of the bandit are the same
    assert axes.collections[0].get_array().sum() == 5000, "every sample is in a hexagon"
    assert "1 logged state" in caption
    histogram, _ = actions(subject, (), (1,), 0.1)
    heights = histogram.axes[0].patches[1].get_data()
    assert (heights.values * np.diff(heights.edges)).sum() == pytest.approx(1)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002


@pytest.mark.parametrize(
    ("picture", "states", "dimensions", "message"),
    [
        (quantiles, (90,), (), "--states: no row 90; the log of .* has rows 0 to 89"),
        (quantiles, tuple(range(7)), (), "--states names 7 rows; a figure has room for 6"),
        (actions, (), (0, 2), "--dimensions 0,2: name one or two different numbers from 0 to 1"),
        (actions, (), (1, 1), "--dimensions 1,1: name one or two different numbers"),
    ],
)
def test_rows_and_dimensions_must_be_there(trained, picture, states, dimensions, message):
    with pytest.raises(InputError, match=message):
        picture(Subject(RunFolder(trained)), states, dimensions, 0.1)


def test_calibration_is_that_of_the_run(made):
    write_run(Path("run"))
    lines = [{"alpha": a, "predicted": a, "realised": 2 * a, "low": a, "high": 3 * a} for a in (1, 0.1)]
    found = {"episodes": 20, "miscalibration": 0.3, "miscalibration_of_chance": 0.2, "cvar": lines}
    Path("run/calibration.json").write_text(json.dumps(found))
    ramac.plot("run", "calibration", quiet=True)
    (axes,) = made["calibration"][0].axes
    assert axes.get_title().startswith("run\n"), "the run's own name"
    realised, predicted = axes.lines
    assert realised.get_xydata().tolist() == [[0, 2], [1, 0.2]]
    assert predicted.get_ydata().tolist() == [1, 0.1]
    intervals = [segment[:, 1].tolist() for segment in axes.collections[0].get_segments()]
    assert intervals == [[1, 3], [0.1, pytest.approx(0.3)]]
    assert "n = 20 episodes each" in made["calibration"][1]
