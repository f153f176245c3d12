"""What `ramac eval` prints."""

from pathlib import Path

from ramac.cli.eval import show


def test_the_score_of_a_task_that_has_one_is_shown(capsys):
    figures = {
        "episodes": 400,
        "return_mean": 1.0,
        "return_trimmed_mean": 1.0,
        "return_min": 0.0,
        "return_cvar": {"0.1": 0.5},
    }
    summary = {**figures, "intervals": {}, "hazard_rate": 0.0, "penalties": 0, "settings": {}, "run_dir": "run"}
    show(Path("run"), summary)
    assert "D4RL" not in capsys.readouterr().out
    show(Path("run"), {**summary, "score": 71.25})
    assert "71.2" in capsys.readouterr().out
