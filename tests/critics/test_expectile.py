"""The expectile critic: reading distributions out of expectiles, and bootstrapping with them."""

import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm

from ramac.critics import Critic
from ramac.critics.expectile import convex_slopes
from ramac.registry import critics, risks
from ramac.spec import Spec
from trials.skewed import SPEC, fit, skewed_quantile


def test_expectile_finds_mean_and_tail_of_a_skewed_return():
    critic = critics.build({"name": "expectile", "hidden": (64, 64)}, SPEC)
    pair = fit(critic)
    with torch.no_grad():
        read = {spec: critic.risk(pair, risks.build(spec)).mean().item() for spec in ("neutral", "cvar0.1", "cvar0.25")}
    quarter = (0.1 * -10 + quad(skewed_quantile, 0.1, 0.25)[0]) / 0.25
    assert read["neutral"] == pytest.approx(4.4, abs=0.3)
    assert read["cvar0.1"] == pytest.approx(-10, abs=1.5)
    assert read["cvar0.25"] == pytest.approx(quarter, abs=1.0)


def exact_expectiles(critic: Critic) -> torch.Tensor:
    """Expectiles of N(0, 1) at the critic's levels, by their first-order condition."""

    def condition(e: float, t: float) -> float:
        above = norm.pdf(e) - e * (1 - norm.cdf(e))  # E(Z - e)+
        return t * above - (1 - t) * (above + e)

    levels = critic.grid(torch.zeros(1, dtype=torch.float64)).tolist()
    return torch.tensor([brentq(condition, -9, 9, args=(t,)) for t in levels])


def test_expectiles_are_read_out_in_closed_form():
    critic = critics.build({"name": "expectile", "ensemble": 1}, Spec.unit(1, 1))
    features = exact_expectiles(critic).float().reshape(1, 1, -1)
    assert critic.measure(features, risks.build("neutral")).item() == pytest.approx(0, abs=1e-4)
    assert critic.measure(features, risks.build("cvar0.1")).item() == pytest.approx(-1.755, abs=0.02)
    assert critic.measure(features, risks.build("wang-0.75")).item() == pytest.approx(-0.75, abs=0.05)


def test_imputed_atoms_have_the_expectiles_they_come_from():
    critic = critics.build({"name": "expectile", "ensemble": 1}, Spec.unit(1, 1))
    features = exact_expectiles(critic).double().reshape(1, 1, -1)
    atom, edge = critic.atoms(features)
    weight = edge.diff(dim=-1)
    assert weight.sum().item() == pytest.approx(1)
    assert (weight >= 0).all()
    for i, e in enumerate(features.flatten().tolist()):
        t, above = critic.grid(features)[i].item(), (weight * (atom - e).clamp_min(0)).sum().item()
        below = (weight * (e - atom).clamp_min(0)).sum().item()
        assert t * above == pytest.approx((1 - t) * below, abs=1e-5)


def test_expectiles_bootstrap_without_losing_the_tail():
    """Fifty backups of r = 1, or -49 with 5 %, gamma 0.99: drawn levels keep the mean, fixed midpoints lose it."""
    critic = critics.build({"name": "expectile", "ensemble": 1}, Spec.unit(1, 1))
    atoms, t = torch.zeros(4000), critic.grid(torch.zeros(1))
    for _ in range(50):
        y = torch.where(torch.rand(4000) < 0.05, -49.0, 1.0) + 0.99 * atoms
        e = y.mean().expand(33).clone()
        for _ in range(60):  # weighted means converge to the expectiles
            weight = (t.unsqueeze(-1) - (y < e.unsqueeze(-1)).float()).abs()
            e = (weight * y).sum(-1) / weight.sum(-1)
        features = e.reshape(1, 1, -1).expand(1, 125, -1)
        atoms = critic.quantile(features, critic.default_level(features)).flatten()  # 32 of each
    truth = -1.5 * (1 - 0.99**50) / 0.01
    assert atoms.mean().item() == pytest.approx(truth, abs=0.12 * abs(truth))


def test_a_tail_beyond_the_expectiles_reads_as_the_worst_atom():
    critic = critics.build({"name": "expectile", "ensemble": 1}, Spec.unit(1, 1))
    features = exact_expectiles(critic).float().reshape(1, 1, -1)
    worst = critic.atoms(features)[0].min().item()
    assert critic.measure(features, risks.build("cvar1e-4")).item() == pytest.approx(worst)
    assert -3.96 < worst < -2.5, "CVaR_0.0001 of a normal is -3.96; the expectiles reach no further"


def test_convex_slopes_are_those_of_the_greatest_convex_minorant():
    x, y = torch.tensor([[0.0, 1, 2, 3, 4], [0, 2, 3, 7, 8]]), torch.tensor([[0.0, 1, 0.5, 2, 5], [0, 1, 2, 3, 3.5]])
    plain = []
    for xs, ys in zip(x.tolist(), y.tolist(), strict=True):  # pool neighbours until slopes rise
        blocks = [[b - a, d - c, 1] for a, b, c, d in zip(xs, xs[1:], ys, ys[1:], strict=False)]
        i = 0
        while i < len(blocks) - 1:
            (run, rise, n), (run2, rise2, n2) = blocks[i], blocks[i + 1]
            if rise / run <= rise2 / run2:
                i += 1
            else:
                blocks[i : i + 2], i = [[run + run2, rise + rise2, n + n2]], max(i - 1, 0)
        plain.append([rise / run for run, rise, n in blocks for _ in range(n)])
    assert torch.allclose(convex_slopes(x, y), torch.tensor(plain))


def test_forced_expectiles_keep_their_mean():
    """A network's expectiles belong to no distribution; what a target is drawn from must keep their mean."""
    critic = critics.build({"name": "expectile", "ensemble": 1}, Spec.unit(1, 1))
    features = exact_expectiles(critic).float().reshape(1, 1, -1) + 0.1 * torch.randn(1, 50, 33)
    atom, edge = critic.atoms(features)
    middle = features.sort(-1).values[..., 16]
    assert torch.allclose((atom * edge.diff(dim=-1)).sum(-1), middle, atol=1e-5)
    assert (edge.diff(dim=-1) >= 0).all()
