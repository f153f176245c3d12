"""Folders like those of finished runs, to time a report: python -m trials.many_runs FOLDER RUNS

Five actors x four critics x five risk measures x four seeds, and from 400 runs on several learning rates of the actor.
"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import yaml

ACTORS, CRITICS = ("gaussian", "flow", "ddpm", "onestep", "shortcut"), ("iqn", "fqf", "qr", "c51")
RISKS, SEEDS = ("neutral", "cvar0.05", "cvar0.1", "cvar0.25", "cvar0.5"), range(4)
NAMES = ("loss_td", "loss_bc", "loss_risk", "gradient_norm_critic", "gradient_norm_actor")
STEPS, EVERY, EPISODES = 3000, 50, 100  # gradient steps, steps between rows of metrics.csv, evaluation episodes


def run(folder: Path, seed: int, actor: str, critic: str, risk: str, rate: float) -> None:
    """One folder of the files that a report reads: an evaluation of 100 episodes, and 300 rows of metrics."""
    folder.mkdir(parents=True)
    random = np.random.default_rng([seed, ACTORS.index(actor), CRITICS.index(critic), RISKS.index(risk)])
    names = {"task": "bandit", "actor": actor, "critic": critic, "risk": risk}
    settings = {key: {"name": name} for key, name in names.items()}
    settings |= {"seed": seed, "trainer": {"steps": STEPS, "actor_lr": rate}}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    summary = names | {"loss": ["td", "bc", "risk"], "steps": STEPS, "seed": seed, "updates_per_second": 100.0}
    summary |= {"wall_seconds": 30.0, "ood": {"rate": 0.02, "nominal": 0.01}}
    (folder / "summary.json").write_text(json.dumps(summary))
    returns = random.normal(ACTORS.index(actor), 2, size=EPISODES)
    episodes = [f"{STEPS},{number},{value:.6f},5,1,0" for number, value in enumerate(returns)]
    header = "step,episode,return,length,risky_steps,penalties"
    (folder / "episodes.csv").write_text("\n".join([header, *episodes, ""]))
    metrics = [f"{step},{name},{random.normal():.6g}" for step in range(EVERY, STEPS + 1, EVERY) for name in NAMES]
    (folder / "metrics.csv").write_text("\n".join(["step,name,value", *metrics, ""]))


def main(root: Path, count: int) -> None:
    """Make `count` runs in a folder that is not there yet."""
    root.mkdir(parents=True)
    rates = (round(1e-4 * (1 + number), 6) for number in itertools.count())
    cells = itertools.product(itertools.islice(rates, 1 + count // 400), ACTORS, CRITICS, RISKS, SEEDS)
    for number, (rate, *cell, seed) in enumerate(itertools.islice(cells, count)):
        run(root / f"run-{number:05}", seed, *cell, rate)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
