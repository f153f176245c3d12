"""Coverage of the intervals of off-policy estimates on problems whose true returns are known: docs/results/offline.md.

python scripts/estimate_coverage.py [REPETITIONS]     30 of each problem: six minutes of one core

Every repetition has a new log. The fits of ten repetitions are members of one ensemble, trained at once: small networks
and batches, no clipping, otherwise the estimator of `ramac estimate`.
"""

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import t as student
from torch import Tensor

from ramac.critics import levels_of
from ramac.critics.quantile import QR
from ramac.data import Log, from_arrays
from ramac.evaluation.fqe import DECAY, DRAWS, LEVELS, mixture
from ramac.nets import Ensemble
from ramac.registry import tasks
from ramac.risk import stratified
from ramac.spec import Scaling
from ramac.statistics import cvar, cvar_terms
from ramac.tasks.bandit import Bandit, reward

ALPHAS, BATCH, TOGETHER = (1.0, 0.1, 0.25), 64, 10
KINDS = ["shared"] * 2 + ["seeds"] * 3 + ["resampled"] * 5  # members with shared targets: one fit, as before 0.2
WAYS = (("one fit, first states", "shared", 2), ("3 seeds", "seeds", 3), ("2 fits", "resampled", 2),
        ("3 fits", "resampled", 3), ("5 fits", "resampled", 5))  # fmt: skip
Policy = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@dataclass
class Problem:
    """A new log per seed, a policy, its true returns [n], and how the critic is fitted."""

    log: Callable[[int], Log]
    policy: Policy
    truth: np.ndarray
    gamma: float
    steps: int
    quantiles: int
    box: tuple[float, float] | None = None


def ring(observation: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A random place on the risky ring of the bandit."""
    angle = random.uniform(0, 2 * np.pi, len(observation))
    return 0.92 * np.stack([np.cos(angle), np.sin(angle)], -1)


def decisions(seed: int) -> Log:
    """The bandit's own log."""
    return Bandit(transitions=2000, data_seed=seed).dataset().log


def chain(seed: int, episodes: int = 100, length: int = 4) -> Log:
    """Each step pays N(1, 1) for the action 1 and 0 for the action -1; the behaviour tosses a coin."""
    random, steps = np.random.default_rng(seed), episodes * length
    step, action = np.arange(steps) % length, random.choice([-1.0, 1.0], steps)
    paid = np.where(action > 0, random.normal(1, 1, steps), 0)
    return from_arrays(step[:, None] / length, action[:, None], paid, step == length - 1, np.zeros(steps))


def swing(gain: float, noise: float) -> Policy:
    """Pendulum: pump energy, then balance; noise on the torque."""

    def act(observation: np.ndarray, random: np.random.Generator) -> np.ndarray:
        cos, sin, speed = observation.T
        angle, energy = np.arctan2(sin, cos), speed**2 / 6 + 5 * (cos - 1)
        torque = np.where(np.abs(angle) < 0.6, -(10 * angle + 2 * speed), -gain * np.sign(speed + 1e-9) * energy)
        return np.clip(np.clip(torque, -2, 2) + noise * random.standard_normal(len(cos)), -2, 2)[:, None]

    return act


def swings(policy: Policy, episodes: int, length: int, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Episodes of Gymnasium's Pendulum-v1: observations [n, T + 1, 3], actions [n, T, 1], rewards [n, T]."""
    angle, speed = random.uniform(-np.pi, np.pi, episodes), random.uniform(-1, 1, episodes)
    seen, taken, paid = [np.stack([np.cos(angle), np.sin(angle), speed], -1)], [], []
    for _ in range(length):
        taken.append(policy(seen[-1], random))
        torque, apart = taken[-1][:, 0], (angle + np.pi) % (2 * np.pi) - np.pi
        paid.append(-(apart**2 + 0.1 * speed**2 + 0.001 * torque**2))
        speed = np.clip(speed + (15 * np.sin(angle) + 3 * torque) * 0.05, -8, 8)
        angle = angle + speed * 0.05
        seen.append(np.stack([np.cos(angle), np.sin(angle), speed], -1))
    return np.stack(seen, 1), np.stack(taken, 1), np.stack(paid, 1)


def pendulum(seed: int, episodes: int = 60, length: int = 100) -> Log:
    """Cut episodes of a noisier controller."""
    seen, taken, paid = swings(swing(0.5, 1.0), episodes, length, np.random.default_rng(seed))
    last, flat = np.tile(np.arange(length) == length - 1, episodes), (-1, 3)
    return from_arrays(
        seen[:, :-1].reshape(flat), taken.reshape(-1, 1), paid.ravel(), 0 * last, last, seen[:, 1:].reshape(flat)
    )


def problems() -> dict[str, Problem]:
    """The three problems, with many true returns each."""
    random, policy = np.random.default_rng(0), swing(1.0, 0.3)
    four = random.normal(1, 1, (2_000_000, 4)) @ 0.9 ** np.arange(4)
    played = swings(policy, 100_000, 200, random)[2] @ 0.95 ** np.arange(200)
    struck = reward(np.ones(2_000_000, int), random)[0]
    return {
        "chain": Problem(chain, lambda seen, _: np.ones((len(seen), 1)), four, 0.9, 400, 40),
        "bandit": Problem(
            lambda seed: Bandit(transitions=2000, data_seed=seed).dataset().log, ring, struck, 0, 2000, 100
        ),
        "pendulum": Problem(pendulum, policy, played, 0.95, 800, 40, (-2.0, 2.0)),
    }


class Fit:
    """Inputs of one repetition's fits, standardised: a log, next actions of the policy, bootstrap samples."""

    def __init__(self, problem: Problem, seed: int) -> None:
        bounds = {} if problem.box is None else dict(zip(("low", "high"), problem.box, strict=True))
        task = tasks.build({**tasks.plain("logs"), "gamma": problem.gamma, **bounds})
        task.use(data=problem.log(seed))
        data, random = task.dataset(), np.random.default_rng(seed)
        self.spec, rows, count = data.spec, data.transitions, len(data.log.start)
        self.scaling, going = Scaling(data.spec), ~rows["next", "terminated"]

        def pair(seen: Tensor, action: Tensor | None = None) -> Tensor:
            action = (
                torch.from_numpy(problem.policy(seen.double().numpy(), random)).float() if action is None else action
            )
            return torch.cat([self.scaling.observe(seen), self.scaling.to_unit(action)], -1)

        assert data.held_out is not None
        self.now, self.next = pair(rows["observation"], rows["action"]), pair(rows["next", "observation"])
        first = torch.from_numpy(data.held_out.observation[data.held_out.start])
        self.first = pair(first.repeat_interleave(DRAWS, 0))
        self.reward = self.scaling.standard_reward(rows["next", "reward"], problem.gamma, going)
        self.discount = problem.gamma * going.float()
        drawn = random.multinomial(count, np.full(count, 1 / count), KINDS.count("resampled"))[:, data.log.episode]
        plain = np.ones((len(KINDS) - len(drawn), drawn.shape[1]))
        self.weight = torch.from_numpy(np.concatenate([plain, drawn])).float()


def fitted(problem: Problem, fits: list[Fit]) -> Tensor:
    """Standardised quantiles [R, members, first states, 100] of all members after the gradient steps."""
    count, rows = len(KINDS), torch.arange(len(fits))[:, None]
    critic = QR(fits[0].spec, quantiles=problem.quantiles, hidden=(64, 64), ensemble=len(fits) * count)
    target = copy.deepcopy(critic).requires_grad_(False)
    stack = {key: torch.stack([getattr(fit, key) for fit in fits]) for key in ("now", "next", "reward", "discount")}
    weight = torch.stack([fit.weight for fit in fits])
    shared = torch.arange(len(fits) * count).view(-1, count)[:, :2]  # members whose target is their mean
    optimiser = torch.optim.Adam(critic.parameters(), 1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, problem.steps)
    for step in range(problem.steps):
        chosen = torch.randint(stack["now"].shape[1], (len(fits), BATCH))
        now, after, paid, discount = (part[rows, chosen].repeat_interleave(count, 0) for part in stack.values())
        with torch.no_grad():
            if problem.gamma:
                features = target.trunk(after)
                value = target.quantile(features, stratified((BATCH,), 16, features))
                value[shared.flatten()] = value[shared].mean(1).repeat_interleave(2, 0)
                paid = paid + discount * value
        loss = critic.regression(critic.trunk(now), paid.expand(len(weight) * count, -1, -1))
        drawn = weight.gather(2, chosen[:, None].expand(-1, count, -1)).flatten(0, 1)
        (loss * drawn).mean(1).sum().backward()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        with torch.no_grad():
            for average, online in zip(target.parameters(), critic.parameters(), strict=True):
                average.lerp_(online, 1 - DECAY if step else 1.0)
    first = torch.stack([fit.first for fit in fits]).repeat_interleave(count, 0)
    with torch.no_grad():
        level = levels_of(LEVELS, LEVELS).float().expand(first.shape[1], -1)
        return target.quantile(target.trunk(first), level).view(len(fits), count, -1, LEVELS)


def judged(value: np.ndarray, truth: float, alpha: float, kind: str) -> tuple[bool, float, float]:
    """Of members [K, first states, 100]: whether the interval covers the truth, its half-width, and the error."""
    mixed, *each = (mixture(part, DRAWS) for part in (value.mean(0), *value))
    terms, found = cvar_terms(mixed, alpha), [cvar(part.ravel(), alpha) for part in each]
    error = float(np.mean(found)) - truth
    state, spread = terms.std(ddof=1) / len(terms) ** 0.5, np.std(found, ddof=1)
    spread *= {"shared": 0, "seeds": len(found) ** -0.5, "resampled": 1}[kind]
    half = float(np.hypot(student.ppf(0.975, len(found) - 1) * spread, student.ppf(0.975, len(terms) - 1) * state))
    return abs(error) <= half, half, error


def main(repetitions: int) -> None:
    """Print a row of Markdown per problem, measure and way to make an interval."""
    torch.set_num_threads(1)
    Ensemble.forward = Ensemble.batched  # faster for many small members
    print("| problem | | truth | way | covered | half-width | bias | deviation |\n|---|---|---|---|---|---|---|---|")
    for name, problem in problems().items():
        found = []
        for begin in range(0, repetitions, TOGETHER):
            torch.manual_seed(begin)
            fits = [Fit(problem, seed) for seed in range(begin, min(begin + TOGETHER, repetitions))]
            value = fitted(problem, fits)
            found += [fit.scaling.to_return(part).double().numpy() for fit, part in zip(fits, value, strict=True)]
        for alpha in ALPHAS:
            truth = float(cvar(problem.truth, alpha))
            for label, kind, count in WAYS:
                begin = KINDS.index(kind)
                rows = [judged(part[begin : begin + count], truth, alpha, kind) for part in found]
                covered, half, error = (np.array(column) for column in zip(*rows, strict=True))
                numbers = (
                    f"{covered.mean():.0%} | {np.median(half):.3g} | {error.mean():+.2g} | {error.std(ddof=1):.2g}"
                )
                measure = "mean" if alpha == 1 else f"CVaR_{alpha:g}"
                print(f"| {name} | {measure} | {truth:.2f} | {label} | {numbers} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
