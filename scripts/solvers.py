"""Solvers on one trained run of the bandit with `actor=flow critic=flow`: evaluations, distance, actions outside.

    python scripts/solvers.py RUN

Every solver starts from the same noise and levels. Distances are to the same networks' exact flow, solved by rk4 with
200 steps (doubling them is the last row), as root mean squares; processor seconds are of one thread.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

import ramac
from ramac.solvers import TOLERANCE
from ramac.tasks.bandit import shares

FIXED = [
    ("euler", 10),
    ("midpoint", 4),
    ("midpoint", 5),
    ("midpoint", 10),
    ("midpoint", 20),
    ("rk4", 5),
    ("rk4", 10),
    ("midpoint", 40),
    ("rk4", 20),
]
ADAPTIVE = [(solver, tolerance) for solver in ("dopri5", "tsit5") for tolerance in (1e-1, 1e-2, TOLERANCE, 1e-4)]
EXACT, ROWS, PAIRS = 200, 10_000, 100


def measured(part: Any, call: Callable[[], Tensor], network: str, solver: str, setting: float) -> tuple[Tensor, str]:
    """The result under a solver; evaluations of the part's method `network` and processor seconds, as cells."""
    part.solver, plain, count = solver, getattr(part, network), 0
    part.steps, part.tolerance = (int(setting), TOLERANCE) if setting >= 1 else (1, setting)

    def counted(*arguments: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return plain(*arguments)

    object.__setattr__(part, network, counted)
    begin = time.process_time()
    result = call()
    seconds = time.process_time() - begin
    object.__delattr__(part, network)
    return result, f"{count} | {seconds:.2f}"


def rows_of(part: Any, call: Callable[[], Tensor], network: str, *, outside: bool) -> None:
    """Print a row for each solver."""
    exact, _ = measured(part, call, network, "rk4", EXACT)
    for solver, setting in [*FIXED, *ADAPTIVE, ("rk4", 2 * EXACT)]:
        found, cost = measured(part, call, network, solver, setting)
        distance = (found - exact).square().mean().sqrt().item()
        share = f" | {100 * shares(found.numpy())['mass_off_support']:.2f}" if outside else ""
        print(f"| {solver} {setting:g} | {cost} | {distance:.1e}{share} |")


@torch.no_grad()
def main(folder: str) -> None:
    """Print the tables of the actor and of the critic."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    agent: Any = ramac.load(folder)
    start, observation = torch.randn(ROWS, 2), torch.zeros(ROWS, agent.actor.data_spec.obs_dim)
    print("| actor | evaluations | seconds | distance | outside % |\n|---|---|---|---|---|")
    rows_of(agent.actor, lambda: agent.actor.carry(start, observation), "velocity", outside=True)
    pairs = TensorDict({"observation": observation[:PAIRS], "action": torch.rand(PAIRS, 2) * 2 - 1}, [PAIRS])
    level = ((torch.arange(32) + 0.5) / 32).expand(PAIRS, -1)
    features = agent.critic.features(pairs)
    print("\n| critic | evaluations | seconds | distance |\n|---|---|---|---|")
    rows_of(agent.critic, lambda: agent.critic.quantile(features, level), "end", outside=False)


if __name__ == "__main__":
    main(sys.argv[1])
