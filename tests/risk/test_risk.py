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
from ramac.risk import Distortion, closed, edges, interpolate, midpoints, stratified
from ramac.risk.distortions import CPW, CVaR, Power, Wang
from ramac.statistics import cvar
from ramac.testing import check_risk

CONTINUOUS = {"normal(0,1)": norm(), "uniform(0,1)": uniform(), "exponential(1)": expon()}


ALL = {
    "neutral": "neutral", "cvar": "cvar", "var": "var", "wang": "wang", "power": "power", "spectral_exp": "spectral",
    "maxvar": "maxvar", "minmaxvar": "minmaxvar", "maxminvar": "maxminvar", "entropic": "entropic",
    "expectile": "expectile",
}  # fmt: skip


def reference(*, distortions: bool) -> list:
    with (Path(__file__).parent / "risk_reference.csv").open() as file:
        rows = list(csv.DictReader(file))
    known = []
    for row in rows:
        name, number = row["measure"], row["parameter"]
        if name == "mean_cvar":
            weight, alpha = map(float, number.split())
            spec = {"name": name, "mean_weight": weight, "alpha": alpha}
        elif name.startswith("cpw"):
            spec = {"name": "cpw", "eta": float(number), "convention": name.partition("_")[2]}
        else:
            spec = risks.plain(ALL[name] if name == "neutral" else f"{ALL[name]}{number}")
        label = f"{name}{number}-{row['distribution']}"
        if isinstance(risks.build(spec), Distortion) or not distortions:
            known.append(pytest.param(spec, row["distribution"], float(row["value"]), id=label))
    return known


def test_the_whole_table_is_checked():
    assert len(reference(distortions=False)) == 108
    assert len(reference(distortions=True)) == 108 - 16


def face(function, x: float) -> float:
    return function(torch.tensor([x], dtype=torch.float64)).item()


# the domain is cut where a measure may have a kink and where the tails need a finer rule
CUTS = [1e-14, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1 - 1e-4, 1 - 1e-6, 1 - 1e-9]


@pytest.mark.parametrize(("spec", "distribution", "value"), reference(distortions=True))
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


def cells(count: int = 400_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Edges of cells that resolve both ends of (0, 1), and their middles."""
    t = torch.linspace(0, 1, count + 1, dtype=torch.float64)
    edge = (t**3 * (10 - 15 * t + 6 * t**2)).clamp(max=1)
    return edge, ((edge[1:] + edge[:-1]) / 2).clamp(max=1 - 2**-53)


def quantile(distribution: str, level: torch.Tensor) -> torch.Tensor:
    if distribution.startswith("two_point"):
        return torch.where(level < 0.1, -10.0, 1.0).double()
    return torch.as_tensor(CONTINUOUS[distribution].ppf(level.clamp(1e-300, 1 - 1e-16).numpy()))


@pytest.mark.parametrize(("spec", "distribution", "value"), reference(distortions=True))
def test_sampling_map_gives_the_reference_value(spec, distribution, value):
    """rho = integral of F^-1(beta(u)) du, by a fine midpoint rule."""
    edge, middle = cells()
    found = (quantile(distribution, risks.build(spec).level(middle)) * edge.diff()).sum().item()
    # a jump of the quantile function costs a cell of the rule; smooth laws are exact to 1e-5
    assert found == pytest.approx(value, abs=1e-4 if "two_point" in distribution else 1e-5)


@pytest.mark.parametrize(("spec", "distribution", "value"), reference(distortions=False))
def test_weighted_atoms_give_the_reference_value(spec, distribution, value):
    risk = risks.build(spec)
    if distribution.startswith("two_point"):
        if spec["name"] == "var":
            pytest.skip("between atoms VaR is interpolated")
        atoms, edge = torch.tensor([-10.0, 1.0], dtype=torch.float64), torch.tensor([0, 0.1, 1], dtype=torch.float64)
        assert risk(atoms, edge).item() == pytest.approx(value, abs=2e-6)
        return
    edge, middle = cells()
    # where the weight is cut off inside a cell, the cell counts as a whole
    assert risk(quantile(distribution, middle), edge).item() == pytest.approx(value, abs=1e-5)


X = torch.special.ndtri
DENSITIES = {  # w(tau) as the literature writes it
    "neutral": torch.ones_like,
    "cvar0.3": lambda t: (t < 0.3).double() / 0.3,
    "wang-0.75": lambda t: torch.exp(-0.75 * X(t) - 0.75**2 / 2),
    "power-2": lambda t: 3 * (1 - t) ** 2,
    "power2": lambda t: 3 * t**2,
    "dual_power1.5": lambda t: 1.5 * (1 - t) ** 0.5,
    "spectral5": lambda t: 5 * torch.exp(-5 * t) / (1 - math.exp(-5)),
    "mean_cvar0.3": lambda t: 0.5 + 0.5 * (t < 0.3).double() / 0.3,
    "maxvar0.5": lambda t: t ** (-0.5 / 1.5) / 1.5,
    "minmaxvar0.5": lambda t: (1 - t ** (1 / 1.5)) ** 0.5 * t ** (-0.5 / 1.5),
    "maxminvar0.5": lambda t: (1 - t) ** 0.5 * (1 - (1 - t) ** 1.5) ** (-0.5 / 1.5),
}


@pytest.mark.parametrize("spec", DENSITIES)
def test_density_is_the_weight_of_the_literature(spec):
    tau = torch.linspace(0.005, 0.995, 100, dtype=torch.float64)
    assert torch.allclose(risks.build(spec).density(tau), DENSITIES[spec](tau).double(), rtol=1e-9)


@pytest.mark.parametrize("convention", ["iqn", "cdf", "gain"])
def test_density_of_cpw_is_the_slope_of_its_distortion(convention):
    risk, tau = CPW(convention=convention), torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    slope = (risk.distort(tau + 1e-5) - risk.distort(tau - 1e-5)) / 2e-5
    assert torch.allclose(risk.density(tau), slope, rtol=1e-4)
    ends = risk.density(torch.tensor([0.001, 0.5, 0.999], dtype=torch.float64))
    assert (ends[0] < ends[1]) == (ends[2] < ends[1]) == (convention == "iqn"), "iqn under-weights both tails"


def test_var_has_no_density():
    with pytest.raises(ValueError, match="no density"):
        risks.build("var0.2").density(torch.tensor([0.5]))


def test_weighting_function_of_cpw():
    """Spot values computed apart: W(.5), W(.1), W^-1(.1) for 0.71."""
    risk = CPW()
    assert face(risk.weight, 0.5) == pytest.approx(0.460588, abs=1e-6)
    assert face(risk.weight, 0.1) == pytest.approx(0.165612, abs=1e-6)
    assert face(risk.inverse, 0.1) == pytest.approx(0.045387, abs=1e-6)


@pytest.mark.parametrize("spec", [*risks, "cvar0.05", "wang0.75", "power3", "cpw0.5", "mean_cvar1", "expectile0.7"])
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


EVERY = [*risks, "wang0.75", "power2", "expectile0.8", "entropic-1"]
AVERSE = ["cvar0.1", "wang-0.75", "power-2", "dual_power3", "spectral5", "mean_cvar0.1", "maxvar1", "minmaxvar1"]
AVERSE += ["maxminvar1", "entropic1", "expectile0.1"]


@pytest.fixture
def sample() -> torch.Tensor:
    """Unordered values [5, 40]: skewed, of any sign."""
    return torch.randn(5, 40, dtype=torch.float64).exp() * 3 - 4


@pytest.mark.parametrize("spec", EVERY)
def test_shifts_and_scales_with_the_return(spec, sample):
    risk = risks.build(spec)
    read = risk.of_samples(sample)
    assert torch.allclose(risk.of_samples(sample + 7), read + 7)
    if not spec.startswith("entropic"):
        assert torch.allclose(risk.of_samples(sample * 2.5), read * 2.5)


@pytest.mark.parametrize("spec", AVERSE)
def test_an_averse_measure_is_below_the_mean(spec, sample):
    risk, mean = risks.build(spec), sample.mean(-1)
    assert (risk.of_samples(sample) < mean).all()
    wider = 2 * sample - mean.unsqueeze(-1)  # same mean, twice the spread
    assert (risk.of_samples(wider) < risk.of_samples(sample)).all()


@pytest.mark.parametrize("spec", EVERY)
def test_a_better_return_never_reads_worse(spec, sample):
    risk = risks.build(spec)
    better = sample + torch.rand_like(sample)
    assert (risk.of_samples(better) > risk.of_samples(sample) - 1e-12).all()


def test_the_mean_is_the_limit(sample):
    mean = sample.mean(-1)
    for spec in ("neutral", "cvar1", "mean_cvar1", "wang0", "power0", "dual_power1", "spectral1e-5", "entropic1e-5",
                 "expectile0.5", "maxvar0", "minmaxvar0", "maxminvar0", "cpw1"):  # fmt: skip
        assert torch.allclose(risks.build(spec).of_samples(sample), mean, atol=1e-3), spec


def test_wang_of_a_loss_is_minus_wang_of_the_gain(sample):
    assert torch.allclose(Wang(eta=0.6).of_samples(-sample), -Wang(eta=-0.6).of_samples(sample))


def test_cvar_rises_with_its_share(sample):
    reads = torch.stack([CVaR(alpha=a).of_samples(sample) for a in (0.01, 0.05, 0.1, 0.5, 1.0)])
    assert (reads.diff(dim=0) >= 0).all()
    assert torch.allclose(reads[0], sample.amin(-1))


@pytest.mark.parametrize("level", [0.02, 0.3, 0.5, 0.9])
def test_expectile_meets_its_condition(level, sample):
    e = risks.build(f"expectile{level}").of_samples(sample).unsqueeze(-1)
    above, below = (sample - e).clamp_min(0).mean(-1), (e - sample).clamp_min(0).mean(-1)
    assert torch.allclose(level * above, (1 - level) * below)
    uniform = midpoints(edges(100_000, sample))
    closed_form = math.sqrt(level) / (math.sqrt(level) + math.sqrt(1 - level))
    assert risks.build(f"expectile{level}").of_samples(uniform).item() == pytest.approx(closed_form, abs=1e-6)


def test_entropic_is_the_log_of_the_mean_exponential():
    value, weight = torch.tensor([-3.0, 0.5, 2.0]).double(), torch.tensor([0.2, 0.5, 0.3]).double()
    found = risks.build("entropic0.7")(value, torch.cat([torch.zeros(1), weight.cumsum(0)]))
    assert found.item() == pytest.approx(-math.log((weight * torch.exp(-0.7 * value)).sum()) / 0.7)
    far = risks.build("entropic1")(1000 * value, torch.cat([torch.zeros(1), weight.cumsum(0)]))
    assert far.item() == pytest.approx(-3000 - math.log(0.2)), "no overflow"


@pytest.mark.parametrize("spec", [name for name in EVERY if isinstance(risks.build(name), Distortion)])
def test_gradients_of_a_distortion_are_its_weights(spec):
    """Cells of unequal size, some empty: d rho / d z_i = g(F_i) - g(F_i-1)."""
    risk, value = risks.build(spec), torch.randn(8, dtype=torch.float64).sort().values.requires_grad_()
    edge = torch.tensor([0, 0.05, 0.05, 0.1, 0.3, 0.6, 0.95, 1, 1], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(risk(value, edge), value)
    assert gradient.sum().item() == pytest.approx(1)
    assert (gradient >= 0).all()
    if spec != "var":  # interpolated between the middles of cells
        assert torch.allclose(gradient, risk.distort(edge).diff(), atol=1e-9)


def test_gradients_of_entropic_and_expectile_are_their_weights():
    value = torch.randn(8, dtype=torch.float64).sort().values.requires_grad_()
    (gradient,) = torch.autograd.grad(risks.build("entropic2").of_samples(value), value)
    assert torch.allclose(gradient, torch.softmax(-2 * value, -1))
    read = risks.build("expectile0.2").of_samples(value)
    (gradient,) = torch.autograd.grad(read, value)
    weight = torch.where(value < read, 0.8, 0.2).double()
    assert torch.allclose(gradient, weight / weight.sum())


CONVENTIONS = [{"name": "cpw", "convention": convention} for convention in ("cdf", "gain")]


@pytest.mark.parametrize("spec", [*EVERY, *CONVENTIONS], ids=str)
def test_gradients_stay_finite_where_probabilities_vanish(spec):
    """A categorical critic is sure: most of its probabilities round to 0, the inner edges to 0 and 1."""
    logit = torch.tensor([-200.0, -90, -10, 10, -60, -200]).requires_grad_()  # edges at 0, 4e-44, 2e-9 and 1
    inner = logit.softmax(-1).cumsum(-1)[:-1].clamp(max=1)
    read = risks.build(spec)(torch.arange(6.0), closed(inner))
    (gradient,) = torch.autograd.grad(read, logit)
    assert read.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("spec", EVERY)
def test_quantile_functions_and_samples_agree(spec):
    """The same normal law by 4000 drawn levels and by its atoms."""
    risk, like = risks.build(spec), torch.empty(0, dtype=torch.float64)
    drawn = risk.of_quantiles(X, stratified((1,), 4000, like)).item()
    assert drawn == pytest.approx(risk.of_samples(X(midpoints(edges(4000, like)))).item(), abs=0.02)


def test_interpolation_is_linear_and_extends_beyond_the_ends():
    value, at = torch.tensor([[1.0, 2.0, 4.0]]), torch.tensor([0.0, 1.0, 2.0])
    found = interpolate(value, at, torch.tensor([-1.0, 0.0, 0.5, 1.5, 3.0]))
    assert found.tolist() == [[0.0, 1.0, 1.5, 3.0, 6.0]]
    assert interpolate(torch.tensor([[5.0]]), torch.tensor([0.5]), torch.tensor([0.1, 0.9])).tolist() == [[5.0, 5.0]]


def test_cvar_of_a_sample_counts_the_boundary_in_part():
    value = torch.tensor([-4.0, 1.0, 2.0, 3.0])
    assert CVaR(alpha=0.375)(value, edges(4, value)).item() == pytest.approx((-4 + 0.5 * 1) / 1.5)


def test_stratified_levels_have_a_third_of_the_error():
    value = torch.empty(0, dtype=torch.float64)
    plain = torch.special.ndtri(0.1 * torch.rand(4000, 8, dtype=torch.float64)).mean(-1)
    strata = torch.special.ndtri(0.1 * stratified((4000,), 8, value)).mean(-1)
    assert strata.mean().item() == pytest.approx(-1.754983, abs=0.01)
    assert strata.std() < plain.std() / 3 + 0.005


def ring(u: torch.Tensor) -> torch.Tensor:
    """The bandit's ring, 0.95 N(9, 0.5^2) + 0.05 N(-50, 0.5^2), per standard deviation of its returns."""
    struck, safe = (X(level.clamp(1e-6, 1 - 1e-6)) for level in (u / 0.05, (u - 0.05) / 0.95))
    return torch.where(u < 0.05, -50 + 0.5 * struck, 9 + 0.5 * safe) / 12.7


@pytest.mark.parametrize(
    ("spec", "law", "truth", "bias", "deviation"),
    [
        ("entropic1", ring, -1.11, 0.04, 0.25),  # 8 uniform levels: -0.35 +- 1.29
        ("entropic3", X, -1.5, 0.1, 0.19),  # 8 uniform levels: -1.03 +- 0.38
        ("entropic1", X, -0.5, 0.01, 0.07),
        ("entropic-1", X, 0.5, 0.01, 0.07),
        ("expectile0.1", ring, -0.785, 0.04, 0.28),
        ("expectile0.9", lambda u: -ring(1 - u), 0.785, 0.04, 0.28),
        ("expectile0.1", X, -0.862, 0.01, 0.1),
    ],
)
def test_eight_levels_estimate_a_measure_that_is_no_distortion(spec, law, truth, bias, deviation):
    u = stratified((20_000,), 8, torch.empty(0, dtype=torch.float64)).clamp(1e-9, 1 - 1e-9)
    found = risks.build(spec).of_quantiles(lambda level: law(level.clamp(1e-9, 1 - 1e-9)), u)
    assert found.mean().item() == pytest.approx(truth, abs=bias)
    assert found.std().item() < deviation


def test_values_of_a_quantile_function_that_crosses_keep_their_probabilities():
    """Two levels, in the cells [0, 1/8] and [1/8, 1], whose values are out of order."""
    found = risks.build("entropic1").of_quantiles(lambda level: torch.tensor([[2.0, -1.0]]), torch.tensor([[0.2, 0.7]]))
    assert found.item() == pytest.approx(-math.log(math.exp(-2) / 8 + math.exp(1) * 7 / 8))


def test_there_is_one_cvar(sample):
    """Of episodes (numpy) and of critics (torch)."""
    for alpha in (0.03, 0.1, 0.55, 1.0):
        assert np.allclose(cvar(sample.numpy(), alpha), CVaR(alpha=alpha).of_samples(sample).numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    "spec", ["cvar0", "cvar-0.1", "cvar1.01", "var0", "mean_cvar0", "cpw0.2", "cpw1.5", "expectile1"]
)
def test_parameters_outside_their_range_are_refused(spec):
    with pytest.raises(InputError, match="must be in"):
        risks.build(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("dual_power0.5", "nu must be at least 1"),
        ("maxvar-1", "stress must be at least 0"),
        ("spectral0", "k must be positive"),
        ("spectral-3", "k must be positive"),
        ("entropic0", "beta must not be 0"),
        ({"name": "mean_cvar", "mean_weight": 1.5}, "mean_weight must be in"),
    ],
)
def test_other_parameters_outside_their_range_are_refused(spec, message):
    with pytest.raises(InputError, match=message):
        risks.build(spec)


@pytest.mark.parametrize("name", [name for name in risks if risks.suffix[name]])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_infinity_are_refused(name, bad):
    with pytest.raises(InputError, match=f"risk={name}: {risks.suffix[name]} must"):
        risks.build({"name": name, risks.suffix[name]: bad})
