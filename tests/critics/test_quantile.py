"""Quantile critics on fixed levels, and the quantile Huber loss."""

import pytest
import torch
from scipy.stats import norm

from ramac.critics import Critic, quantile_huber
from ramac.errors import InputError
from ramac.registry import critics, risks
from ramac.risk import edges, midpoints, stratified
from ramac.spec import Spec


def test_quantiles_of_a_normal_survive_backups():
    """Read between and beyond in normal scores, 100 quantiles are the normal; as mere midpoints they lose deviation."""
    critic = critics.build({"name": "qr", "ensemble": 1}, Spec.unit(1, 1))
    middle = (torch.arange(100, dtype=torch.float64) + 0.5) / 100
    features = torch.special.ndtri(middle).flip(-1).reshape(1, 1, -1)  # crossed: it is sorted
    level = ((torch.arange(5000, dtype=torch.float64) + 0.5) / 5000).reshape(1, -1)
    read = critic.quantile(features, level).flatten()
    assert torch.allclose(read, torch.special.ndtri(level.flatten()), atol=1e-6)
    assert features.std(correction=0).item() < 0.994 < 0.999 < read.std(correction=0).item()


def test_noncrossing_quantiles_start_as_a_normal_and_never_cross():
    critic = critics.build({"name": "ncqr", "quantiles": 9, "ensemble": 1}, Spec.unit(1, 1))
    start = critic.values(torch.zeros(1, 1, 9)).flatten()
    assert torch.allclose(start, torch.special.ndtri((torch.arange(9) + 0.5) / 9), atol=1e-6)
    wild = critic.values(5 * torch.randn(1, 200, 9))
    assert (wild.diff(dim=-1) >= 0).all()
    assert (critic.crossing(5 * torch.randn(1, 200, 9)) == 0).all()
    free = critics.build({"name": "qr", "quantiles": 9, "ensemble": 1}, Spec.unit(1, 1))
    assert free.crossing(torch.tensor([[[3.0, 1, 2, 4, 5, 6, 7, 8, 9]]])).item() == pytest.approx(1 / 8)


@pytest.mark.parametrize("kappa", [0.0, 0.3, 1.0])
def test_quantile_huber_equals_the_plain_formula(kappa):
    value, level, target = torch.randn(5), torch.rand(5), torch.randn(7)
    total = 0.0
    for z, tau in zip(value.tolist(), level.tolist(), strict=True):
        for y in target.tolist():
            u = y - z
            huber = abs(u) if kappa == 0 else u**2 / (2 * kappa) if abs(u) < kappa else abs(u) - kappa / 2
            total += abs(tau - (u < 0)) * huber / 35
    assert quantile_huber(value, level, target, kappa).item() == pytest.approx(total, rel=1e-5)


def test_the_pinball_loss_has_the_gradient_of_its_definition():
    value, level, target = torch.randn(3, 5, requires_grad=True), torch.rand(3, 5), torch.randn(3, 7)
    quantile_huber(value, level, target, 0.0).sum().backward()
    below = (target.unsqueeze(-2) < value.detach().unsqueeze(-1)).float().mean(-1)
    torch.testing.assert_close(value.grad, (below - level) / 5)


def test_risk_of_a_grid_uses_the_exact_weights():
    critic = critics.build("qr8", Spec.unit(1, 1))
    features = torch.randn(2, 3, 8)
    plain = features.sort(-1).values
    assert torch.allclose(critic.measure(features, risks.build("cvar0.25")), plain[..., :2].mean(-1), atol=1e-6)
    assert torch.allclose(critic.measure(features, risks.build("cvar0.5")), plain[..., :4].mean(-1), atol=1e-6)


def normal(quantiles: int) -> tuple[Critic, torch.Tensor]:
    """A critic and its output when it has learned N(0, 1)."""
    critic = critics.build({"name": "qr", "quantiles": quantiles, "ensemble": 1}, Spec.unit(1, 1))
    return critic, torch.special.ndtri(midpoints(edges(quantiles, torch.zeros(1)))).reshape(1, 1, -1)


@pytest.mark.parametrize("alpha", [0.02, 0.01, 0.005])
def test_a_tail_smaller_than_a_cell_is_extrapolated(alpha):
    """CVaR_0.01 of N(0, 1) is -2.67; the lowest of 32 quantiles is -2.15."""
    critic, features = normal(32)
    truth, risk = -norm.pdf(norm.ppf(alpha)) / alpha, risks.build(f"cvar{alpha}")
    assert critic.measure(features, risk).item() == pytest.approx(truth, abs=0.01)
    features = features.expand(1, 4000, -1)
    drawn = risk.of_quantiles(lambda level: critic.quantile(features, level), stratified((4000,), 32, features))
    assert drawn.mean().item() == pytest.approx(truth, abs=0.01), "the law that targets are drawn from"


@pytest.mark.parametrize("spec", ["cvar0.1", "cvar0.01", "cvar0.002", "wang-2", "maxvar1", "var0.01", "entropic3"])
def test_there_is_one_read_out(spec):
    """`members=min` and `members=quantile_min` agree for one member; of two, the lowest level by level is not above."""
    (critic, features), risk = normal(32), risks.build(spec)
    assert torch.equal(critic.measure(features, risk).squeeze(0), critic.measure_lowest(features, risk))
    pair = torch.randn(2, 50, 32)
    assert (critic.measure_lowest(pair, risk) <= critic.measure(pair, risk).amin(0)).all()


def test_a_tail_has_a_gradient_and_a_hazard_of_one_quantile_is_no_tail():
    critic, features = normal(32)
    features.requires_grad_()
    (gradient,) = torch.autograd.grad(critic.measure(features, risks.build("cvar0.01")), features)
    assert gradient.sum().item() == pytest.approx(1, abs=1e-5)
    hazard = torch.zeros(1, 1, 32)
    hazard[..., 0] = -70
    assert critic.measure(hazard, risks.build("cvar0.01")).item() == pytest.approx(-70)


@pytest.mark.parametrize("name", ["qr", "ncqr", "fqf"])
def test_a_single_quantile_is_refused(name):
    with pytest.raises(InputError, match=f"critic={name}: quantiles must be at least 2, got 1"):
        critics.build(f"{name}1", Spec.unit(1, 1))
