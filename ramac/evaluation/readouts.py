"""Bias and deviation of the risk estimates themselves: every critic's read-out, given the exact law of the return."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ramac.critics import Critic
from ramac.critics.categorical import Categorical
from ramac.critics.expectile import Expectile
from ramac.critics.flow import Flow
from ramac.critics.implicit import FQF
from ramac.critics.mean import Mean
from ramac.critics.quantile import QR
from ramac.evaluation.calibration import quantile_levels
from ramac.evaluation.critic_check import true_risk
from ramac.evaluation.problems import Law, Problem, Question, bandit, exponential, gaussian
from ramac.registry import critics, risks
from ramac.risk import RiskMeasure, edges, midpoints

HARDER = ("cvar0.01", "entropic3", "entropic-1", "expectile0.9")  # asked besides the defaults: harder, risk-seeking
DRAWS = 4000  # estimates of a critic that draws its levels: the mean within 1.6 % of the deviation


def expectiles(law: Tensor, level: Tensor) -> Tensor:
    """Expectiles [N] of equally likely values [M] at levels [N]: weighted means, iterated to their fixed point."""
    found = law.mean().expand(len(level))
    for _ in range(100):
        weight = (level.unsqueeze(-1) - (law < found.unsqueeze(-1)).to(law.dtype)).abs()
        found = (weight * law).sum(-1) / weight.sum(-1)
    return found


def reader(critic: Critic, law: Law) -> Callable[[RiskMeasure], Tensor]:
    """The critic's estimates [n] of a measure of a standardised law: 1, or DRAWS where levels are drawn.

    A trained network is replaced by what it would have learned: the law's own quantiles, expectiles, probabilities or
    mean. The cells of `fqf`, which it learns, are equal ones.
    """
    outcome = law(quantile_levels(20_000)).float()
    if isinstance(critic, QR):
        critic.values = lambda features: features
        features = law(quantile_levels(critic.quantiles)).float().reshape(1, 1, -1)
    elif isinstance(critic, Expectile):
        features = expectiles(outcome, critic.grid(outcome)).reshape(1, 1, -1)
    elif isinstance(critic, Categorical):
        shares = critic.project(outcome.clamp(critic.atom[0], critic.atom[-1]).unsqueeze(0)).mean(-2)
        features = (shares.clamp_min(1e-30).log() + critic.atom.square() / 2).unsqueeze(0)
    elif isinstance(critic, Mean):
        features = outcome.mean().reshape(1, 1, 1)
    elif isinstance(critic, FQF):
        edge = edges(critic.levels, outcome)
        return lambda risk: risk.of_cells(law(midpoints(edge)), edge).reshape(1)
    else:
        critic.quantile = lambda features, level: law(level.double().clamp(1e-6, 1 - 1e-6)).float().unsqueeze(0)
        features = torch.zeros(1, DRAWS, 1)
        if isinstance(critic, Flow):  # it learns the mean without integration
            critic.end = lambda features, x, t: outcome.mean().expand_as(x)
    return lambda risk: critic.measure(features, risk).flatten()


def laws() -> Iterator[tuple[Problem, Question]]:
    """A normal, a skewed law and a rare hazard, of the problems with known answers."""
    for problem in (gaussian(), exponential(), bandit()):
        yield problem, problem.questions[-1]


@torch.no_grad()
def readouts() -> Iterator[list[str]]:
    """Rows of a table: law, measure, truth, and its estimate's bias and deviation by each critic at its defaults.

    In standard deviations of the logged returns. The first row is the head. Seeds torch's global generator.
    """
    torch.manual_seed(0)
    measures = {name: risks.build(name) for name in sorted({*map(risks.label, risks), *HARDER})}
    yield ["law", "measure", "truth", *(f"`{name}`" for name in critics)]
    for problem, question in laws():
        mean, std = problem.spec.return_mean, problem.spec.return_std

        def standard(level: Tensor, q: Question = question, mean: float = mean, std: float = std) -> Tensor:
            return (q.law(level) - mean) / std

        read = {name: reader(critics.build(name, problem.spec), standard) for name in critics}
        for name, risk in measures.items():
            truth = (true_risk(risk, question.law, problem) - mean) / std
            yield [question.label, f"`{name}`", f"{truth:.2f}", *(figure(one(risk) - truth) for one in read.values())]


def figure(error: Tensor) -> str:
    """Text `bias`, or `bias ± deviation` of several estimates."""
    bias = f"{error.double().mean().item():+.2f}"
    return bias if len(error) == 1 else f"{bias} ± {error.double().std().item():.2f}"
