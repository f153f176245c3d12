"""Risk measures of an ensemble's mixture against closed forms."""

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from tensordict import TensorDict

from ramac.critics import Critic
from ramac.registry import critics, risks
from ramac.risk import cumulative, edges, midpoints, mixture, stratified
from ramac.risk.distortions import CVaR
from ramac.spec import Spec

MEASURES = ("cvar0.1", "wang", "maxvar1", "var0.3", "mean_cvar0.2", "entropic1", "expectile0.2")
DISTRIBUTIONAL = ("iqn", "fqf", "qr", "ncqr", "expectile", "c51", "hlgauss", "flow")


def truth(means, deviations, alpha: float) -> float:
    """CVaR of equally likely normals: with the quantile q, E[Z; Z < q] / alpha."""

    def score(q):
        return (q - np.array(means)) / np.array(deviations)

    z = score(brentq(lambda q: norm.cdf(score(q)).mean() - alpha, -100, 100))
    return (np.array(means) * norm.cdf(z) - np.array(deviations) * norm.pdf(z)).mean() / alpha


def tail_mean(values, probabilities, alpha: float) -> float:
    """CVaR of weighted atoms, one after the other from the worst."""
    total, left = 0.0, alpha
    for value, probability in sorted(zip(values, probabilities, strict=True)):
        total, left = total + value * min(probability, left), left - min(probability, left)
    return total / alpha


def small(name: str, ensemble: int = 2, **settings) -> Critic:
    return critics.build({**critics.plain(name), "ensemble": ensemble, "hidden": (8,), **settings}, Spec.unit(1, 1))


def normals(means, deviations, count: int) -> torch.Tensor:
    """The output of `qr` when its members have learned these normals: [E, 1, N]."""
    score = torch.special.ndtri(midpoints(edges(count, torch.zeros(1))))
    return torch.tensor(means)[:, None, None] + torch.tensor(deviations)[:, None, None] * score


@pytest.mark.parametrize("alpha", [0.005, 0.05, 0.1, 0.25, 0.5])
@pytest.mark.parametrize(("means", "deviations"), [((0.0, 1.0), (1.0, 1.0)), ((0.0, 3.0, 3.0), (1.0, 2.0, 0.5))])
def test_pooled_quantiles_of_normals(means, deviations, alpha):
    critic = small("qr", len(means), quantiles=200)
    found = critic.measure_mixture(normals(means, deviations, 200), risks.build(f"cvar{alpha}"))
    assert found.item() == pytest.approx(truth(means, deviations, alpha), abs=0.015)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.25, 0.5])
@pytest.mark.parametrize(("means", "deviations"), [((0.0, 1.0), (1.0, 1.0)), ((0.0,) * 3 + (-5.0,), (1.0,) * 4)])
def test_eight_levels_of_quantile_functions(means, deviations, alpha):
    """The members of an implicit critic are read at few random levels: docs/results/ensembles.md."""
    mean, deviation = (torch.tensor(x)[:, None, None] for x in (means, deviations))
    u = stratified((4000,), 8, torch.zeros(1))
    found = mixture.of_quantiles(
        risks.build(f"cvar{alpha}"), lambda level: mean + deviation * torch.special.ndtri(level), u, len(means)
    )
    assert found.mean().item() == pytest.approx(truth(means, deviations, alpha), abs=0.05)


@pytest.mark.parametrize(  # `var` interpolates between neighbouring atoms, here equal ones of several members
    ("name", "spec"),
    [
        (name, spec)
        for name in ("c51", "hlgauss", "expectile")
        for spec in MEASURES
        if (name, spec[:3]) != ("expectile", "var")
    ],
)
def test_equal_members_are_one_member_where_atoms_are_exact(name, spec):
    critic, risk = small(name, 3), risks.build(spec)
    features = torch.randn(1, 6, critic.trunk(torch.zeros(3, 1, 2)).shape[-1]).expand(3, -1, -1)
    one = risk(*(critic.atoms if name == "expectile" else critic.support)(features))[0]
    assert torch.allclose(critic.measure_mixture(features, risk), one, atol=1e-4)


@pytest.mark.parametrize("spec", [*MEASURES[:-2], "cvar0.004"])
@pytest.mark.parametrize("name", ["qr", "fqf"])
def test_equal_members_are_one_member_within_the_error_of_its_cells(name, spec):
    """`of_cells` takes its first cell as flat where all of it weighs the same; the mean of a normal's is 0.09 below."""
    critic, risk = small(name, 3, quantiles=100), risks.build(spec)
    level = midpoints(edges(100, torch.zeros(1)))
    value = torch.special.ndtri(level).expand(3, 1, -1)
    found = mixture.of_cells(risk, value, edges(100, value))
    assert found.item() == pytest.approx(risk.of_cells(value, edges(100, value))[0].item(), abs=0.02)
    if name == "qr":
        assert critic.measure_mixture(value, risk).item() == found.item()


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.7])
def test_atoms_of_two_members_by_hand(alpha):
    value = torch.tensor([[-3.0, 0.0, 2.0], [-1.0, 0.5, 4.0]])
    probability = torch.tensor([[0.1, 0.5, 0.4], [0.3, 0.3, 0.4]])
    found = mixture.of_atoms(risks.build(f"cvar{alpha}"), value, cumulative(probability))
    plain = tail_mean(value.flatten().tolist(), (probability / 2).flatten().tolist(), alpha)
    assert found.item() == pytest.approx(plain, abs=1e-5)


def test_the_common_atoms_of_a_categorical_critic_by_hand():
    critic = small("c51", 2, atoms=5)
    features = torch.randn(2, 1, 5)
    probability = critic.log_probability(features).exp().mean(0)[0].tolist()
    plain = tail_mean(critic.atom.tolist(), probability, 0.3)
    assert critic.measure_mixture(features, risks.build("cvar0.3")).item() == pytest.approx(plain, abs=1e-5)


@pytest.mark.parametrize("name", ["qr", "fqf", "c51"])
def test_a_mixture_is_between_the_lowest_member_and_the_mean_of_all(name):
    """CVaR is convex in the law. Members that disagree have a worse mixture than each of them on average."""
    critic = small(name, 3)
    pairs = TensorDict({"observation": torch.randn(40, 1), "action": torch.rand(40, 1)}, [40])
    risk, mean = risks.build("cvar0.2"), risks.build("neutral")
    each, found = critic.standard_risk(pairs, risk), critic.standard_risk_of_mixture(pairs, risk)
    assert (found > each.amin(-1) - 1e-4).all() and (found < each.mean(-1) + 1e-4).all()
    assert (found < each.mean(-1) - 1e-3).any()
    assert torch.allclose(critic.standard_risk_of_mixture(pairs, mean), critic.standard_risk(pairs, mean).mean(-1))


@pytest.mark.parametrize("name", DISTRIBUTIONAL)
def test_a_mixture_has_a_gradient_and_the_shape_of_the_batch(name):
    critic = small(name)
    action = torch.rand(3, 4, 1).requires_grad_()
    pairs = TensorDict({"observation": torch.randn(3, 4, 1), "action": action}, [3, 4])
    for spec in ("cvar0.2", "entropic1", "neutral"):
        found = critic.standard_risk_of_mixture(pairs, risks.build(spec))
        assert found.shape == (3, 4)
        assert (torch.autograd.grad(found.sum(), action)[0] != 0).all()


def test_a_measure_may_have_a_parameter_for_each_row():
    rows, u = CVaR(), stratified((3,), 8, torch.zeros(1))
    vars(rows)["alpha"] = torch.tensor([[0.05], [0.2], [1.0]])
    value, edge = torch.randn(2, 3, 20).sort(-1).values, edges(20, torch.zeros(1))
    ways = (
        lambda risk: mixture.of_atoms(risk, value, edge),
        lambda risk: mixture.of_cells(risk, value, edge),
        lambda risk: mixture.of_quantiles(risk, lambda level: torch.stack([level, 2 * level - 1]), u, 2),
    )
    for way in ways:
        single = [way(CVaR(alpha=alpha))[row] for row, alpha in enumerate((0.05, 0.2, 1.0))]
        assert torch.allclose(way(rows), torch.stack(single), atol=1e-5)
