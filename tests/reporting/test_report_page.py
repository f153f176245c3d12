"""The page of `ramac report` and its files: what is drawn, in a browser, and what a second report leaves."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from ramac.cli.report import main
from ramac.errors import InputError
from ramac.reporting import plots, report, runs
from ramac.reporting.groups import make_groups
from ramac.reporting.runs import curves, gather, text
from tests.reporting.samples import rows, write_run


def test_a_list_is_not_drawn_as_a_map(grid, tmp_path):
    for number in range(3):
        write_run(tmp_path / "list" / f"{number}", actor=f"flow{number + 2}", critic=("iqn", "qr", "mean")[number])
    main([str(tmp_path / "list")])
    main([str(grid[0])])
    assert not list((tmp_path / "list" / "report" / "figures").glob("heat-maps*"))
    assert list((grid[0] / "report" / "figures").glob("heat-maps-bandit.*"))


def test_the_curve_over_nominal_rates_is_drawn(tmp_path):
    """Mean and range over seeds, of policy and data; runs without it are in no line, and what is no number in none."""
    rates = (0.01, 0.05, 0.5)
    for seed in (0, 1):
        curve = [{"nominal": rate, "rate": (1 + seed) * rate, "data": rate} for rate in rates]
        curve += [{"nominal": "x", "rate": 1}, {"nominal": 0.2}, 7, {"nominal": -1, "rate": 1}]
        write_run(tmp_path / f"flow{seed}", seed, summary={"ood": {"rate": 0.1, "nominal": 0.05, "curve": curve}})
    for number, broken in enumerate(({"rate": 0.3}, {"rate": 0.3, "curve": 7}, {"rate": 0.3, "curve": []}, None, "x")):
        write_run(tmp_path / f"old{number}", actor="gaussian", summary={"ood": broken})
    runs = gather([str(tmp_path)]).runs
    made = plots.ood_curves(make_groups(runs, ["actor"]), 0.1)
    assert made is not None
    policy, data = made[0].axes
    for axes, line in ((policy, [0.015, 0.075, 0.75]), (data, rates)):
        assert axes.get_xlabel() == "nominal rate of the detector"
        assert axes.get_legend_handles_labels()[1] == ["flow"]
        assert np.allclose(np.array(axes.lines[0].get_xydata()), np.stack([rates, line], 1))
    band = np.array(policy.collections[0].get_paths()[0].vertices)
    assert {(0.5, 0.5), (0.5, 1.0)} <= set(map(tuple, band.tolist()))
    assert plots.ood_curves(make_groups([run for run in runs if "old" in run.source], ["actor"]), 0.1) is None


def test_metrics_are_read_of_the_groups_that_are_drawn(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(runs, "curves", lambda folder: read.append(folder.path.name) or curves(folder))
    for number in range(9):
        write_run(tmp_path / f"{number}", shift=100.0 * number, actor=f"flow{number + 2}")
    made = plots.losses(make_groups(gather([str(tmp_path)]).runs, ["actor"]), 0.1)
    assert made is not None and made[1].endswith("The 7 groups of highest CVaR_0.1; 2 left out.")
    assert sorted(read) == [f"{number}" for number in range(2, 9)]


def test_hostile_settings_are_text(tmp_path):
    """In the page, in Markdown, in LaTeX and in the titles of figures, where $ would begin a formula."""
    hostile = r"<b>[a](b)|$\frac$|*x*"
    for number, actor in enumerate((hostile, "line\nbreak")):
        write_run(tmp_path / f"{number}", actor=actor)
    report([tmp_path], quiet=True)
    folder = tmp_path / "report"
    assert rows(folder / "table.csv")[0]["actor"] == hostile
    assert r"| \<b\>\[a\](b)\|\$\\frac\$\|\*x\* |" in (folder / "table.md").read_text()
    assert "| line break |" in (folder / "table.md").read_text()
    assert text("half \udcf6") == r"half \udcf6"  # which JSON can spell
    cell = r"\textless{}b\textgreater{}[a](b)\textbar{}\$\textbackslash{}frac\$\textbar{}*x* &"
    assert cell in (folder / "table.tex").read_text()
    assert "<b>" not in (folder / "index.html").read_text()


def test_a_second_report_leaves_nothing_of_the_first(grid):
    folder, _ = grid
    (folder / "report").mkdir()
    (folder / "report" / "mine.txt").write_text("precious")
    main([str(folder), "--baseline=actor=gaussian,risk=neutral"])
    report = folder / "report"
    assert (report / "comparison.tex").exists()
    assert list(report.glob("figures/heat-maps*.pdf"))
    main([str(folder), "--by=actor"])
    assert not (report / "comparison.tex").exists()
    assert not list(report.glob("figures/heat-maps*"))
    assert (report / "mine.txt").read_text() == "precious"


def test_files_that_are_no_reports_stay(grid, tmp_path):
    folder, _ = grid
    paper = tmp_path / "paper"
    (paper / "figures").mkdir(parents=True)
    (paper / "figures" / "losses-mine.png").write_text("precious")
    with pytest.raises(InputError, match="holds a figures that no report wrote; --out names another folder"):
        main([str(folder), f"--out={paper}"])
    assert [str(path.relative_to(paper)) for path in paper.rglob("*.*")] == ["figures/losses-mine.png"]


def test_the_page_opens_in_a_browser(grid, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium")
    from matplotlib.image import imread

    folder, _ = grid
    for number, run in enumerate(sorted(folder.iterdir())):
        summary = json.loads((run / "summary.json").read_text())
        summary |= {"evaluations_per_update": {"actor": 5, "critic": 1}, "mass_ring": 0.25}
        summary["ood"]["curve"] = [{"nominal": rate, "rate": 2 * rate, "data": rate} for rate in (0.01, 0.5)]
        (run / "summary.json").write_text(json.dumps(summary))
        lines = [{"alpha": a, "predicted": a + 1, "realised": a, "low": a - 1, "high": a + 1} for a in (1.0, 0.1)]
        calibration = {"cvar": lines, "miscalibration": 0.1 + number / 100, "miscalibration_of_chance": 0.136}
        (run / "calibration.json").write_text(json.dumps(calibration))
    main([str(folder), "--baseline=actor=gaussian,risk=neutral"])
    index = folder / "report" / "index.html"
    start = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    start += [
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-logging=stderr",
    ]
    start += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1300,1600"]
    picture = tmp_path / "page.png"
    done = subprocess.run(
        [*start, f"--screenshot={picture}", "--dump-dom", index.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr, "the page logs an error"
    dom = done.stdout
    headings = re.findall(r"<h2[^>]*>(.+?)</h2>", dom)
    assert headings == [
        "Results", "Comparison to a baseline", "Mean against CVaR", "Return distributions", "Heat maps",
        "Learning curves", "Losses", "Critic calibration", "Out-of-distribution actions", "Compute",
        "How this page was made",
    ]  # fmt: skip
    assert len(re.findall(r"<svg ", dom)) == len(list((folder / "report" / "figures").glob("*.svg"))) == 7
    shown = [re.findall(r"<td[^>]*>(?:<strong>)?([^<]*)", row) for row in re.findall(r"<tr>(<td.+?)</tr>", dom)]
    assert len(shown) == 2 * 5 + 3 + 4
    for line in (folder / "report" / "table.md").read_text().splitlines()[4:]:
        assert [cell.strip("* ") for cell in line.strip("|").split("|")] in shown
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", dom), "nothing comes from the network"
    pixels = imread(picture)[..., :3]
    assert pixels.std() > 0.05
    dark = (pixels.mean(-1) < 0.5).any(1)
    assert dark[: len(dark) // 2].any() and dark[len(dark) // 2 :].any()


def test_pictures_and_films_of_a_run_are_in_the_page(grid, tmp_path):
    folder, _ = grid
    run = folder / "x0"  # the first seed of a group
    (run / "evaluations" / "1").mkdir(parents=True)
    picture, film = b"\x89PNG\r\n\x1a\n" + b"p" * 99, b"\0\0\0\x18ftypmp42" + b"f" * 99
    (run / "bandit.png").write_bytes(picture)
    (run / "evaluations" / "1" / "episode.mp4").write_bytes(film)
    (run / "returns.png").write_bytes(b"<script>")
    (tmp_path / "secret.png").write_bytes(picture)
    (folder / "x6" / "bandit.png").symlink_to(tmp_path / "secret.png")
    report([folder], quiet=True)
    page = (folder / "report" / "index.html").read_text()
    data = re.findall(r"""src="data:(image/png|video/mp4);base64,([^"]*)\"""", page)
    assert [(kind, base64.b64decode(text)) for kind, text in data] == [("image/png", picture), ("video/mp4", film)]
    assert "2 files are left out" in page
