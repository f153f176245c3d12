"""Short sweeps in this process."""

import sys

from hydra.core.global_hydra import GlobalHydra

from ramac.cli import main

SHORT = ("critic=qr", "trainer.steps=4", "evaluation.episodes=10", "log_every=2")


def ramac_m(monkeypatch, *arguments) -> int:
    """`ramac -m ...` in this process; returns the exit status."""
    monkeypatch.setattr(sys, "argv", ["ramac", "-m", *SHORT, *arguments])
    GlobalHydra.instance().clear()
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0
