"""Values against closed forms: each face of a measure by its own integral, in float64."""

import csv
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import fixed_quad
from scipy.stats import expon, norm, uniform

from ramac.errors import InputError
from ramac.registry import risks
from ramac.risk import edges, stratified
from ramac.risk.distortions import CPW, CVaR, Power, Wang
from ramac.testing import check_risk

CONTINUOUS = {"normal(0,1)": norm(), "uniform(0,1)": uniform(), "exponential(1)": expon()}


def reference() -> list:
    with (Path(__file__).parent / "risk_reference.csv").open() as file:
        rows = list(csv.DictReader(file))
    known = []
    for row in rows:
        name, _, convention = row["measure"].partition("_")
        if row["measure"] in ("neutral", "cvar", "wang", "power"):
            spec = {"name": name} if name == "neutral" else risks.plain(f"{name}{row['parameter']}")
        elif name == "cpw":
            spec = {"name": "cpw", "eta": float(row["parameter"]), "convention": convention}
        else:
            continue
        label = f"{row['measure']}{row['parameter']}-{row['distribution']}"
        known.append(pytest.param(spec, row["distribution"], float(row["value"]), id=label))
    return known


def face(function, x: float) -> float:
    return function(torch.tensor([x], dtype=torch.float64)).item()


# the domain is cut where a measure may have a kink and where the tails need a finer rule
CUTS = [1e-14, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1 - 1e-4, 1 - 1e-6, 1 - 1e-9]


@pytest.mark.parametrize(("spec", "distribution", "value"), reference())
def test_distortion_gives_the_reference_value(spec, distribution, value):
    """Choquet integral: of 1 - g(F(z)) over z > 0, minus that of g(F(z)) over z < 0."""
    risk = risks.build(spec)
    if distribution.startswith("two_point"):
        low = face(risk.distort, 0.1)
        assert -10 * low + 1 - low == pytest.approx(value, abs=2e-6)
        return
    law = CONTINUOUS[distribution]

    def tail(z):
        below = risk.distort(torch.as_tensor(law.cdf(z))).numpy()
        return np.where(z > 0, 1 - below, -below)

    cuts = np.unique([*law.ppf(CUTS), 0.0, law.ppf(1e-16), law.ppf(1 - 1e-15)])
    total = sum(fixed_quad(tail, a, b, n=100)[0] for a, b in pairwise(cuts))
    assert total == pytest.approx(value, abs=1e-5)


@pytest.mark.parametrize(("spec", "distribution", "value"), reference())
def test_sampling_map_gives_the_reference_value(spec, distribution, value):
    """rho = integral of F^-1(beta(u)) du, by a fine midpoint rule with a substitution that resolves both ends."""
    risk = risks.build(spec)
    t = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    u, weight = (t**3 * (10 - 15 * t + 6 * t**2)).clamp(max=1 - 2**-53), 30 * t**2 * (1 - t) ** 2 / 400_000
    level = risk.level(u).clamp(1e-300, 1 - 1e-16).numpy()
    quantile = np.where(level < 0.1, -10.0, 1.0) if "two_point" in distribution else CONTINUOUS[distribution].ppf(level)
    # a jump of the quantile function costs a cell of the rule; smooth laws are exact to 1e-5
    assert (quantile * weight.numpy()).sum() == pytest.approx(value, abs=1e-4 if "two_point" in distribution else 1e-5)


def test_weighting_function_of_cpw():
    """Spot values computed apart: W(.5), W(.1), W^-1(.1) for 0.71."""
    risk = CPW()
    assert face(risk.weight, 0.5) == pytest.approx(0.460588, abs=1e-6)
    assert face(risk.weight, 0.1) == pytest.approx(0.165612, abs=1e-6)
    assert face(risk.inverse, 0.1) == pytest.approx(0.045387, abs=1e-6)


@pytest.mark.parametrize("spec", [*risks, "cvar0.05", "wang0.75", "power3", "cpw0.5"])
def test_contract(spec):
    check_risk(spec)


@pytest.mark.parametrize("convention", ["iqn", "cdf", "gain"])
def test_conventions_of_cpw_keep_the_contract(convention):
    risk, grid = CPW(convention=convention), torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    assert torch.allclose(risk.distort(risk.level(grid)), grid, atol=1e-9)


def test_wang_shifts_a_normal_by_eta_deviations():
    tau = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    value = 3 + 2 * torch.special.ndtri(tau)
    assert Wang(eta=-0.75)(value, edges(20_000, value)).item() == pytest.approx(3 - 0.75 * 2, abs=1e-3)


def test_power_is_the_expected_minimum_of_draws():
    draws = np.random.default_rng(0).standard_normal((200_000, 3)).min(-1).mean()
    tau = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    value = torch.special.ndtri(tau)
    assert Power(eta=-2)(value, edges(20_000, value)).item() == pytest.approx(draws, abs=0.01)


def test_weights_of_a_grid_are_the_gradient_and_sum_to_one():
    value = torch.randn(8, dtype=torch.float64).sort().values.requires_grad_()
    for spec in risks:
        (gradient,) = torch.autograd.grad(risks.build(spec)(value, edges(8, value)), value)
        assert gradient.sum().item() == pytest.approx(1)
        assert (gradient >= 0).all()


def test_cvar_of_a_sample_counts_the_boundary_in_part():
    value = torch.tensor([-4.0, 1.0, 2.0, 3.0])
    assert CVaR(alpha=0.375)(value, edges(4, value)).item() == pytest.approx((-4 + 0.5 * 1) / 1.5)


def test_stratified_levels_have_a_third_of_the_error():
    value = torch.empty(0, dtype=torch.float64)
    plain = torch.special.ndtri(0.1 * torch.rand(4000, 8, dtype=torch.float64)).mean(-1)
    strata = torch.special.ndtri(0.1 * stratified((4000,), 8, value)).mean(-1)
    assert strata.mean().item() == pytest.approx(-1.754983, abs=0.01)
    assert strata.std() < plain.std() / 3 + 0.005


@pytest.mark.parametrize("spec", ["cvar0", "cvar-0.1", "cvar1.01", "cpw0.2", "cpw1.5"])
def test_parameters_outside_their_range_are_refused(spec):
    with pytest.raises(InputError, match="must be in"):
        risks.build(spec)


@pytest.mark.parametrize("name", ["wang", "power"])
def test_nan_is_refused(name):
    with pytest.raises(InputError, match="finite"):
        risks.build({"name": name, "eta": math.nan})
    with pytest.raises(InputError, match="alpha"):
        risks.build({"name": "cvar", "alpha": math.nan})
