from pathlib import Path

import pytest

import ramac

SMALL = ("actor=gaussian", "actor.hidden=[8]", "critic=mean", "critic.hidden=[8]", "risk=neutral", "trainer.steps=4")
SHORT = (*SMALL, "trainer.batch_size=8", "task.transitions=300", "evaluation.episodes=6")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    return ramac.train(*SHORT, f"run_dir={tmp_path_factory.mktemp('runs') / 'here'}", quiet=True).folder
