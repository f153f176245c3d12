"""What layer normalisation, SiLU, Fourier features and float32 products cost, and what they bring.

    python -m scripts.width cost                # processor time of a gradient step without each part, by recipe
    python -m scripts.width train FOLDER        # the runs below, one after the other; finished ones are kept
    python -m scripts.width table FOLDER        # their returns, with intervals over the episodes of all seeds

No setting of the library turns these parts off, so networks are changed when an agent is built: a swapped layer leaves
the initial weights as they were. Runs of a variant can only be evaluated by this script.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import ramac
from benchmarks.timing import alternate
from benchmarks.updates import data, ramac_trainer
from ramac import nets
from ramac.experiment.writers.tables import episodes_of
from ramac.registry import Registry
from ramac.statistics import cvar, interval

SWAPS: dict[str, list[tuple[str, type[nn.Module], type[nn.Module]]]] = {  # group, layer, what replaces it
    "default": [],
    "no layer norm": [("critic", nn.LayerNorm, nn.Identity)],
    "relu critic": [("critic", nn.SiLU, nn.ReLU)],
    "relu actor": [("actor", nn.SiLU, nn.ReLU)],
    "relu": [("critic", nn.SiLU, nn.ReLU), ("actor", nn.SiLU, nn.ReLU)],
    "plain": [("critic", nn.LayerNorm, nn.Identity), ("critic", nn.SiLU, nn.ReLU), ("actor", nn.SiLU, nn.ReLU)],
    "no fourier": [],
    "medium": [],
}
COLUMNS = ("default", "no layer norm", "relu critic", "relu actor", "plain", "no fourier", "medium")
COSTS = (
    ("td3bc", "flat"),
    ("td3bc", "off"),
    ("iql", "flat"),
    ("iql", "off"),
    ("bc", "flat"),
    ("bc", "off"),
    ("rafmac", "flat"),
    ("rafmac", "off"),
    ("radac", "flat"),
    ("radac", "off"),
)
HOPPER, BANDIT, SEEDS = "task=hopper-medium-expert", "task=bandit", (0, 1, 2)
SMALL = ["trainer.steps=1000", "trainer.batch_size=64"]  # a quarter of the time of 256
RUNS: list[tuple[str, list[str], tuple[str, ...]]] = [  # study, words, variants; in the order of what they decide
    ("bandit-clone", ["recipe=bc", BANDIT, "trainer.steps=4000"], ("default", "no fourier", "relu actor")),
    ("hopper-td3bc", ["recipe=td3bc", HOPPER, "trainer.steps=5000"], ("default", "no layer norm")),
    ("bandit-rafmac", ["recipe=rafmac", BANDIT, *SMALL], ("default", "no layer norm")),
    ("hopper-clone", ["recipe=bc", HOPPER, "trainer.steps=3000"], ("default", "no fourier")),
    ("bandit-neutral", ["recipe=rafmac", "risk=neutral", BANDIT, *SMALL], ("default", "no layer norm")),
    ("hopper-td3bc", ["recipe=td3bc", HOPPER, "trainer.steps=5000"], ("relu",)),
    ("hopper-clone", ["recipe=bc", HOPPER, "trainer.steps=3000"], ("relu actor",)),
    ("bandit-rafmac", ["recipe=rafmac", BANDIT, *SMALL], ("relu",)),
    ("hopper-iql", ["recipe=iql", HOPPER, "trainer.steps=5000"], ("default", "no layer norm", "relu")),
]


def swap(module: nn.Module, old: type[nn.Module], new: type[nn.Module]) -> None:
    """Replace every layer of one type."""
    for name, child in module.named_children():
        if isinstance(child, old):
            setattr(module, name, new())
        swap(child, old, new)


class Nothing(nets.Fourier):
    """No features: [*b, A] -> [*b, 0]."""

    def forward(self, x: Tensor) -> Tensor:
        return x[..., :0]


def without_features(net: nets.ConditionalNet, obs_dim: int, act_dim: int, hidden: Any, times: int = 1) -> None:
    """`ConditionalNet.__init__` without Fourier features of the noisy action."""
    nn.Module.__init__(net)
    net.times, net.time = times, nets.Fourier(8)
    net.shape = Nothing(0)
    net.net = nets.mlp(obs_dim + act_dim + 16 * times, hidden, act_dim)


@contextmanager
def variant(name: str) -> Iterator[None]:
    """Agents that are built here are without one part."""
    build = Registry.build

    def changed(registry: Registry, node: Any, *args: Any, **kwargs: Any) -> Any:
        built = build(registry, node, *args, **kwargs)
        for group, old, new in SWAPS[name]:
            if registry.group == group:
                swap(built, old, new)
        return built

    init = without_features if name == "no fourier" else nets.ConditionalNet.__init__
    with patch.object(Registry, "build", changed), patch.object(nets.ConditionalNet, "__init__", init):
        yield


def words_of(name: str) -> list[str]:
    """Settings of a variant that the library has."""
    return ["trainer.precision=medium"] if name == "medium" else []


def cost(rounds: int) -> None:
    """Print processor time over that of the default in the same round: medians and quartiles."""
    torch.set_num_threads(1)
    logged = data()
    print("| recipe | compile | " + " | ".join(COLUMNS) + " |\n" + "|---" * (2 + len(COLUMNS)) + "|")
    for recipe, way in COSTS:
        work: dict[str, Callable[[], Any]] = {}
        for name in COLUMNS:
            with variant(name):
                trainer = ramac_trainer([f"recipe={recipe}", f"trainer.compile={way}", *words_of(name)], logged)
            if name == "no fourier" and not any(isinstance(m, nets.ConditionalNet) for m in trainer.agent.modules()):
                continue
            work[name] = lambda trainer=trainer: trainer.update(trainer.batch())
        times = alternate(work, rounds, clock=time.process_time)
        cells = [f"{1e3 * np.median(times['default']):.1f} ms"]
        for name in COLUMNS[1:]:
            low, middle, high = np.quantile(times.get(name, np.nan) / times["default"], [0.25, 0.5, 0.75])
            cells.append(f"{middle:.2f} ({low:.2f} to {high:.2f})" if name in times else "")
        print(f"| {recipe} | {way} | " + " | ".join(cells) + " |", flush=True)


def folder_of(root: Path, study: str, name: str, seed: int) -> Path:
    """Run folder of a variant."""
    return root / f"{study}-{name.replace(' ', '-')}-seed{seed}"


def train(root: Path) -> None:
    """Train and evaluate what is missing."""
    for study, words, variants in RUNS:
        for seed in SEEDS:
            for name in variants:
                folder = folder_of(root, study, name, seed)
                if (folder / "summary.json").exists():
                    continue
                begin = time.process_time()
                with variant(name):
                    more = [
                        f"seed={seed}",
                        f"run_dir={folder}",
                        "threads=1",
                        "evaluation.episodes=100",
                        *words_of(name),
                    ]
                    result = ramac.train(*words, *more, quiet=True)
                print(folder.name, f"{time.process_time() - begin:.0f} s", result["return_mean"], flush=True)


def end_of_curve(folder: Path) -> str:
    """Mean of the critic's loss, without a critic the actor's, over the last tenth of the gradient steps."""
    rows = pd.read_csv(folder / "metrics.csv")
    rows = rows[rows["step"] > 0.9 * rows["step"].max()]
    name = "loss_td" if "loss_td" in set(rows["name"]) else "loss_bc"
    return f"{rows[rows['name'] == name]['value'].mean():.4f}"


def table(root: Path) -> None:
    """Print mean and CVaR_0.1 of 100 episodes a seed with intervals, and what else tells a variant from the default."""
    print("| runs | variant | mean | by seed | CVaR_0.1 | by seed | outside % | last loss |" + "\n" + "|---" * 8 + "|")
    for study, name in dict.fromkeys((study, name) for study, _, variants in RUNS for name in variants):
        folders = [folder_of(root, study, name, seed) for seed in SEEDS]
        folders = [folder for folder in folders if (folder / "summary.json").exists()]
        if not folders:
            continue
        found = [json.loads((folder / "summary.json").read_text(encoding="utf-8")) for folder in folders]
        returns = [episodes_of(folder)["return"].to_numpy() for folder in folders]
        cells = []
        for statistic in (np.mean, partial(cvar, alpha=0.1)):
            low, high = interval(returns, statistic)
            cells += [f"{statistic(np.concatenate(returns)):.3g} ({low:.3g} to {high:.3g})"]
            cells += [" / ".join(f"{statistic(one):.3g}" for one in returns)]
        outside = [one["mass_off_support"] if "mass_off_support" in one else one["ood"]["rate"] for one in found]
        cells += [" / ".join(f"{100 * share:.0f}" for share in outside), " / ".join(map(end_of_curve, folders))]
        print(f"| {study} | {name} | " + " | ".join(cells) + " |")


def main(arguments: list[str]) -> int:
    """Do what the words say; exit status 2, with a line of usage, where they say something else."""
    match arguments:
        case ["cost"]:
            cost(21)
        case ["cost", rounds] if rounds.isdigit():
            cost(int(rounds))
        case ["train", folder]:
            train(Path(folder))
        case ["table", folder]:
            table(Path(folder))
        case _:
            print("usage: python -m scripts.width cost [ROUNDS] | train FOLDER | table FOLDER", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
