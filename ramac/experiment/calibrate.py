"""Calibration of a run's critic against realised returns, and of a new critic on problems with known answers."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ramac.checkpoint import load
from ramac.errors import InputError, optional, whole_number
from ramac.evaluation.calibration import compare
from ramac.evaluation.critic_check import CriticCheck
from ramac.experiment.compose import compose
from ramac.experiment.folder import RunFolder, make_folder
from ramac.registry import critics, evaluations, risks
from ramac.system.files import alone, write_json
from ramac.system.paths import refuse_unsafe
from ramac.system.runtime import device_of
from ramac.tasks import configured

# the problems take few gradient steps and many backups, hence a larger learning rate and a faster target network than
# in training; the mean of the ensemble, because pessimism is the target's and not the critic's
SETTINGS = ["loss=[td]", "loss.td.aggregation=mean", "trainer.critic_lr=0.002", "trainer.average_decay=0.95"]
SETTINGS += ["trainer.batch_size=128"]
TAKES = ("critic", "risk", "trainer", "loss.td.aggregation", "loss.td.drop", "seed", "device", "run_dir")


def calibrate(run: Path, episodes: int | None = None) -> dict[str, Any]:
    """Compare a run's predicted with its realised returns; write `calibration.json` and `calibration.png` into it.

    The episodes are those of the run's evaluation, or `episodes` of them. Raises InputError for an unusable folder.
    """
    if episodes is not None:
        whole_number("episodes", episodes, 1, 10**6)
    folder = RunFolder(run)
    refuse_unsafe(run)  # the calibration would be written through them
    config = folder.config
    if "td" not in config.loss:
        raise InputError(f"{run} was trained without loss=[td,...]: its critic predicts nothing")
    agent, task = load(run), configured(config.plain)
    evaluation = evaluations.build(config.evaluation | ({} if episodes is None else {"episodes": episodes}))
    if not os.access(run, os.W_OK):
        raise InputError(f"{run} cannot be written to")
    folder.warn_unfinished()
    calibration, report = compare(agent, task, evaluation, config.gamma, config.seed)
    predicted, outcome, curve = (x.numpy() for x in (calibration.predicted, calibration.outcome, calibration.curve))
    title, path = f"{run.name}: {report['episodes']} episodes", folder.calibration_file
    with alone(path):
        write_json(path, found := {"run_dir": str(run), **agent.context.played, **report})
        with optional("calibration.png"):
            from ramac.plotting import calibration_figure  # matplotlib

            calibration_figure(predicted, outcome, curve, title, path.with_suffix(".png"))
    return found


def refuse_others(words: Sequence[str]) -> None:
    """Refuse settings that have no effect on the check of a critic. Raises InputError."""
    for word in words:
        key, equals, _ = word.partition("=")
        if not equals or not any(key == name or key.startswith(f"{name}.") for name in TAKES):
            raise InputError(f"doctor takes a run folder, or settings of {', '.join(TAKES)}; got {word!r}")


def examine(words: Sequence[str], quiet: bool = False) -> dict[str, Any]:
    """Fit a critic on problems with known answers; write `doctor.json` and `doctor.png`.

    `words`: settings of TAKES, as on the command line. Returns the content of `doctor.json` and `run_dir`. Raises
    InputError before anything is written.
    """
    refuse_others(words)
    config = compose([*SETTINGS, *words])
    if reads := risks.build(config.risk).context:
        text = f"risk={risks.label(config.risk)} reads {' and '.join(reads)} of an observation"
        raise InputError(f"{text}, which the problems of doctor do not have; choose a measure of one level")
    steps = config.trainer["steps"] if any(word.startswith("trainer.steps=") for word in words) else None
    check = CriticCheck(
        config.critic, config.risk, config.trainer, config.loss["td"], seed=config.seed,
        device=device_of(config.device), steps=steps, quiet=quiet,
    )  # fmt: skip
    folder = make_folder(config.run_dir, f"doctor-{critics.label(config.critic)}-seed{config.seed}")
    return {**check.run(folder), "run_dir": str(folder)}
