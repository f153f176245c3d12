"""Implicit quantile critics: the axis of the levels, and FQF's fractions."""

from itertools import pairwise

import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from tensordict import TensorDict

import ramac.critics.implicit as implicit_module
from ramac.registry import critics, risks
from ramac.spec import Spec
from ramac.testing import check_critic
from trials.skewed import LEVELS, SPEC, fit


def test_a_level_on_the_target_axis_is_noticed(monkeypatch):
    """The mistake of the released code: every quantile becomes the same Huber location."""

    def broken(value, level, target, kappa):
        error = target.unsqueeze(-2) - value.unsqueeze(-1)
        other = level[..., torch.arange(target.shape[-1]) % level.shape[-1]]
        weight = (other.unsqueeze(-2) - (error.detach() < 0).float()).abs()
        return (weight * error.abs()).mean((-2, -1))

    monkeypatch.setattr(implicit_module, "quantile_huber", broken)
    critic = critics.build({"name": "iqn", "hidden": (64, 64)}, SPEC)
    pair = fit(critic, 400)
    with torch.no_grad():
        value = critic(pair, LEVELS.expand(64, -1))["value"].mean((0, 1))
    assert value[0] > 0, "blind to the tail at -10"
    with pytest.raises(AssertionError, match=r"CVaR_0.25 reads"):
        check_critic("iqn")


def test_fractions_of_fqf_descend_the_wasserstein_distance(monkeypatch):
    """dW1/dtau of its surrogate equals the difference quotient of W1 for a known quantile function."""
    critic = critics.build({"name": "fqf", "quantiles": 4, "ensemble": 1, "entropy": 0.0}, Spec.unit(1, 1))
    monkeypatch.setattr(implicit_module.IQN, "quantile", lambda self, features, level: torch.special.ndtri(level))
    edge = torch.tensor([0, 0.1, 0.4, 0.8, 1.0], dtype=torch.float64)

    def distance(e: list[float]) -> float:
        def cell(a: float, b: float) -> float:
            middle = (a + b) / 2
            return quad(lambda u: abs(norm.ppf(u) - norm.ppf(middle)), a, b, points=[middle])[0]

        return sum(cell(a, b) for a, b in pairwise(e))

    leaf = edge.clone().requires_grad_()
    known = leaf.reshape(1, 1, -1), edge.diff().log().reshape(1, 1, -1)
    monkeypatch.setattr(critic, "cells", lambda features: known)
    loss = critic.regression(torch.zeros(1, 1, 64), torch.zeros(1, 1, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    for i in (1, 2, 3):
        up, down = edge.tolist(), edge.tolist()
        up[i], down[i] = up[i] + 1e-4, down[i] - 1e-4
        assert gradient[i].item() == pytest.approx((distance(up) - distance(down)) / 2e-4, abs=1e-3)


def test_the_trunk_gets_no_gradient_from_the_fractions():
    critic = critics.build({"name": "fqf", "entropy": 0.0}, SPEC)
    features = torch.randn(2, 3, 64, requires_grad=True)
    edge, _ = critic.cells(features)
    assert torch.autograd.grad(edge.sum(), features, allow_unused=True)[0] is None
    assert edge[..., 0].eq(0).all()
    assert edge[..., -1].eq(1).all()


def test_the_trunk_is_evaluated_once_whatever_the_levels():
    critic = critics.build("iqn64", SPEC)
    rows = []
    critic.trunk.register_forward_hook(lambda module, inputs, output: rows.append(output.shape[1]))
    critic(TensorDict({"observation": torch.zeros(5, 1), "action": torch.zeros(5, 1)}, [5]))
    assert rows == [5]


def test_one_drawn_level_is_a_legal_critic():
    critic = critics.build({"name": "iqn", "quantiles": 1, "risk_quantiles": 1}, SPEC)
    pair = TensorDict({"observation": torch.zeros(5, 1), "action": torch.zeros(5, 1)}, [5])
    assert critic.regress(pair, torch.zeros(5, 1)).isfinite().all()
    assert all(
        critic.risk(pair, risks.build(spec)).isfinite().all() for spec in ("cvar0.1", "entropic3", "expectile0.9")
    )


def test_fqf_reads_a_tail_smaller_than_its_lowest_cell(monkeypatch):
    """CVaR_0.01 of N(0, 1) is -2.67; the middle of 16 equal cells is -1.86."""
    critic = critics.build({"name": "fqf", "ensemble": 1}, Spec.unit(1, 1))
    monkeypatch.setattr(implicit_module.IQN, "quantile", lambda self, features, level: torch.special.ndtri(level))
    critic.fraction[0].weight.data.zero_()
    critic.fraction[0].bias.data.zero_()
    assert critic.measure(torch.zeros(1, 1, 64), risks.build("cvar0.01")).item() == pytest.approx(-2.67, abs=0.02)
