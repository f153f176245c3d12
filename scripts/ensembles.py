"""Ensembles where the truth is known: docs/results/ensembles.md.

    python -m scripts.ensembles reading         error of CVaR of a mixture that is read at 8 levels of each member
    python -m scripts.ensembles range SEEDS     how often the truth lies within the range of the members

Every seed of `range` has new data and new networks. The bandit's next state is worth nothing, so that all targets are
the same there; the branches are the smallest problem in which targets differ.
"""

import sys
from dataclasses import dataclass

import numpy as np
import torch
from tensordict import TensorDict
from torch import Tensor

from ramac.agent import Agent
from ramac.losses import build_terms
from ramac.registry import risks, trainers
from ramac.risk import edges, mixture, ndtri, stratified
from ramac.risk.distortions import CVaR
from ramac.spec import Spec, transitions
from ramac.tasks.bandit import RARE, Bandit

ALPHA, LENGTH = 0.1, 4
SETTINGS = {"name": "default", "batch_size": 64, "critic_lr": 2e-3, "average_decay": 0.95}
CRITIC = {"name": "qr", "quantiles": 20, "hidden": (64, 64)}
NORMALS = (((0, 0), (1, 1)), ((0, 1), (1, 1)), ((0, 3), (1, 1)), ((0, 0), (1, 3)), ((0,) * 7 + (-5,), (1,) * 8))
MEMBERS = 8


@dataclass
class Problem:
    """Logged transitions, their discount, and by place an observation, an action, and its true mean and CVaR_0.1."""

    data: TensorDict
    spec: Spec
    gamma: float
    steps: int
    places: dict[str, tuple[list[float], list[float], float, float]]


def bandit(seed: int) -> Problem:
    """2000 draws of the bandit, and 5 of its rare arm."""
    data = Bandit(transitions=2000, rare=5, data_seed=seed).dataset()
    places = {
        "rare arm, 5 draws": ([0.0], list(RARE), 3.1, -50.0),
        "ring, 1500": ([0.0], [0.92, 0.0], 6.05, -21.0),
        "centre, 500": ([0.0], [0.0, 0.0], 5.0, 4.12),
    }
    return Problem(data.transitions, data.spec, 0.0, 2500, places)


def branches(seed: int) -> Problem:
    """`LENGTH` rewards N(0, 1), undiscounted, in two branches: of one 500 episodes are logged, of the other 5."""
    random, step = np.random.default_rng(seed), np.arange(LENGTH)
    branch = np.repeat([1.0, -1.0], [500 * LENGTH, 5 * LENGTH])
    place = np.stack([branch, 2 * np.tile(step, 505) / LENGTH - 1], -1)
    reward, after = random.normal(size=len(place)), place + np.array([0, 2 / LENGTH])
    ended = np.tile(step == LENGTH - 1, 505)
    rows = (torch.from_numpy(part).float() for part in (place, 0 * place[:, :1], reward, after, ended))
    data = transitions(*rows)
    law = (0.0, -1.755 * LENGTH**0.5)
    places = {"rare branch, 5 episodes": ([-1.0, -1.0], [0.0], *law), "other branch, 500": ([1.0, -1.0], [0.0], *law)}
    return Problem(data, Spec.unit(2, 1), 1.0, 1000, places)


def fitted(problem: Problem, aggregation: str, ensemble: int, seed: int) -> Agent:
    """The target network of an ensemble, trained by temporal differences only."""
    torch.manual_seed(seed)
    parts = {"actor": "deterministic", "critic": {**CRITIC, "ensemble": ensemble}, "risk": "neutral"}
    agent = Agent.build(parts, problem.spec)
    terms = build_terms({"td": {"name": "td", "gamma": problem.gamma, "aggregation": aggregation}}, problem.spec)
    trainer = trainers.build({**SETTINGS, "steps": problem.steps}, agent, terms, problem.data, seed)
    for _ in trainer.run():
        pass
    return trainer.target


@torch.no_grad()
def read(agent: Agent, observation: list[float], action: list[float]) -> np.ndarray:
    """Mean and CVaR_0.1 of every member in reward units: [2, E]."""
    pair = TensorDict({"observation": torch.tensor([observation]), "action": torch.tensor([action])}, [1])
    measures = (risks.build("neutral"), risks.build(f"cvar{ALPHA}"))
    return np.array([agent.critic.risk(pair.copy(), measure)[0].tolist() for measure in measures])


def row(found: np.ndarray, truth: tuple[float, float]) -> str:
    """Of readings [S, 2, E]: how often the truth is inside the range, median width, and median error of its middle."""
    low, high, target = found.min(-1), found.max(-1), np.array(truth)
    inside = ((low <= target) & (target <= high)).mean(0)
    width, error = np.median(high - low, 0), np.median((high + low) / 2 - target, 0)
    return " | ".join(f"{inside[i]:.0%} | {width[i]:.2f} | {error[i]:+.2f}" for i in range(2))


def ranges(seeds: int) -> None:
    """Print how often the truth is inside the range of the members.

    Members with targets of their own never meet, so pairs of the eight are ensembles of two.
    """
    print("| place | target | E | mean: inside | width | error | CVaR_0.1: inside | width | error |")
    print("|---" * 9 + "|")
    ways = ((bandit, "any", MEMBERS), (branches, "own", MEMBERS))
    for make, target, members in (*ways, (branches, "quantile_min", 2), (branches, "quantile_min", MEMBERS)):
        problems = [make(seed) for seed in range(seeds)]
        aggregation = "own" if target == "any" else target
        agents = [fitted(problem, aggregation, members, seed) for seed, problem in enumerate(problems)]
        for name, (observation, action, mean, tail) in problems[0].places.items():
            found = np.stack([read(agent, observation, action) for agent in agents])  # [S, 2, E]
            for size in sorted({2 if aggregation == "own" else members, members}):
                groups = found.reshape(seeds, 2, -1, size).swapaxes(1, 2).reshape(-1, 2, size)
                print(f"| {name} | {target} | {size} | {row(groups, (mean, tail))} |", flush=True)


def reading(levels: int = 8, rows: int = 20_000) -> None:
    """Print bias and deviation of CVaR of mixtures of normals, with one level in each of 8 cells of each member."""
    print("| means | deviations | level | truth | equal cells | dense cells | dense cells of the levels that weigh |")
    print("|---" * 7 + "|")
    torch.manual_seed(0)
    u, even = stratified((rows,), levels, torch.zeros(1)), edges(levels, torch.zeros(1))
    for means, deviations in NORMALS:
        mean, deviation = (torch.tensor(x, dtype=torch.float64)[:, None, None] for x in (means, deviations))

        def quantile(level: Tensor, mean: Tensor = mean, deviation: Tensor = deviation) -> Tensor:
            return mean + deviation * ndtri(level.double())

        for alpha in (0.05, 0.1, 0.25, 0.5):
            risk = CVaR(alpha=alpha)
            fine = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
            truth = risk(*mixture.pooled(quantile(fine), torch.full((1,), 1e-5, dtype=torch.float64))).item()
            equal = even[:-1] + even.diff() * (u * levels).frac(), even.diff()
            ways = [risk(*mixture.pooled(quantile(level), part.double())) for level, part in (equal, risk.dense(u))]
            ways.append(mixture.of_quantiles(risk, quantile, u, len(means)))
            cells = " | ".join(f"{way.mean() - truth:+.3f} ({way.std():.2f})" for way in ways)
            print(f"| {means} | {deviations} | {alpha} | {truth:.3f} | {cells} |")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["reading"]:
            reading()
        case ["range", seeds] if seeds.isdigit():
            ranges(int(seeds))
        case _:
            sys.exit("usage: python -m scripts.ensembles reading | range SEEDS")
