"""Folders like those of finished runs, to time a report: python trials/many_runs.py FOLDER RUNS (a multiple of 4)."""

import itertools
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import yaml

ACTORS, CRITICS = ("gaussian", "flow", "ddpm", "meanflow", "shortcut"), ("iqn", "fqf", "quantile", "td3", "cql")
NAMES = ("actor", "critic", "return_mean", "q_mean", "bc", "guidance")  # at 50 steps each: 300 rows


def run(folder: Path, seed: int, actor: str, critic: str, risk: str, rate: float) -> None:
    """One folder of the files that a report reads: two evaluations of 50 episodes."""
    folder.mkdir(parents=True)
    random = np.random.default_rng([seed, ACTORS.index(actor), CRITICS.index(critic)])
    names = {"task": "bandit", "recipe": "none", "actor": actor, "critic": critic, "risk": risk, "loss": "bc"}
    settings = {"task": {"name": "bandit"}, "actor": {"name": actor, "lr": rate}, "critic": {"name": critic},
                "risk": {"name": risk}, "seed": seed, "trainer": {"steps": 1000}}  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    summary = names | {"loss": ["bc"], "steps": 1000, "seed": seed, "updates_per_second": 100.0, "wall_seconds": 12.0}
    (folder / "summary.json").write_text(json.dumps(summary | {"ood": {"rate": 0.02, "nominal": 0.01}}))
    returns = random.normal(ACTORS.index(actor), 2, size=(2, 50))
    episodes = [f"{500 * (i + 1)},{j},{returns[i, j]:.6f},5,1,0" for i in range(2) for j in range(50)]
    header = "step,episode,return,length,risky_steps,penalties"
    (folder / "episodes.csv").write_text("\n".join([header, *episodes, ""]))
    metrics = [f"{20 * step},{name},{random.normal():.6g}" for step in range(1, 51) for name in NAMES]
    (folder / "metrics.csv").write_text("\n".join(["step,name,value", *metrics, ""]))


def main(root: Path, count: int) -> None:
    """Groups of four seeds, until there are `count` runs."""
    shutil.rmtree(root, ignore_errors=True)
    risks = ("neutral", *(f"cvar{alpha:g}" for alpha in (0.05, 0.1, 0.25, 0.5)))
    rates = [round(1e-4 * (1 + number), 6) for number in range(20)]
    cells = itertools.product(rates, ACTORS, CRITICS, risks, range(4))
    for number, (rate, actor, critic, risk, seed) in enumerate(itertools.islice(cells, count)):
        run(root / f"run-{number:05}", seed, actor, critic, risk, rate)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
