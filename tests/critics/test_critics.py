from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm
from tensordict import TensorDict

import ramac.critics.implicit as implicit_module
from ramac.critics import Critic, quantile_huber
from ramac.critics.expectile import convex_slopes
from ramac.errors import InputError
from ramac.nets import EnsembleLinear, EnsembleReLU, integrate
from ramac.registry import critics, risks
from ramac.spec import Spec
from ramac.testing import check_critic

SPEC = Spec(1, 1, (-1.0,), (1.0,), (0.0,), (1.0,), 4.5, 4.9, (-14.0, 10.0))  # returns as those of `skewed`
LEVELS = torch.tensor([0.02, 0.05, 0.2, 0.5, 0.8, 0.95])


def skewed(*shape: int) -> torch.Tensor:
    """Mixture 0.1 N(-10, 1) + 0.9 N(6, 1): a rare bad tail."""
    return torch.where(torch.rand(*shape) < 0.1, -10.0, 6.0) + torch.randn(*shape)


def skewed_cdf(z):
    return 0.1 * norm.cdf(z + 10) + 0.9 * norm.cdf(z - 6)


def skewed_quantile(level: float) -> float:
    return brentq(lambda z: skewed_cdf(z) - level, -20, 20)


def fit(critic: Critic, updates: int = 1200) -> TensorDict:
    """Regress on single draws, as temporal differences do; returns one state-action pair."""
    pair = TensorDict({"observation": torch.zeros(128, 1), "action": torch.zeros(128, 1)}, [128])
    optimiser = torch.optim.Adam(critic.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    for _ in range(updates):
        optimiser.zero_grad()
        critic.regress(pair, skewed(128, 4)).mean().backward()
        optimiser.step()
        schedule.step()
    return pair[:64]


@pytest.mark.parametrize("name", critics)
def test_contract(name):
    check_critic(name)


@pytest.mark.parametrize("name", ["iqn", "fqf", "qr", "ncqr", "c51", "hlgauss", "flow"])
def test_finds_the_quantiles_of_a_skewed_return(name):
    critic = critics.build({"name": name, "hidden": (64, 64)}, SPEC)
    pair = fit(critic)
    with torch.no_grad():
        value = critic(pair, LEVELS.expand(64, -1))["value"].mean((0, 1)).numpy()
        tail = critic.risk(pair, risks.build("cvar0.1")).mean().item()
    truth = [skewed_quantile(level) for level in LEVELS.tolist()]
    assert np.abs(value - truth).max() < 1.0, f"learned {value.round(2)}, truth {np.round(truth, 2)}"
    assert tail == pytest.approx(-10, abs=0.7)


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


def project(name: str, target: torch.Tensor) -> tuple[torch.Tensor, Critic]:
    spec = Spec(1, 1, (-1.0,), (1.0,), (0.0,), (1.0,), 0.0, 1.0, (-5.0, 5.0))
    critic = critics.build({"name": name, "ensemble": 1, "atoms": 13}, spec)  # one atom per unit, from -6 to 6
    return critic.project(target), critic


def test_c51_shares_a_return_between_its_neighbours():
    share, critic = project("c51", torch.tensor([[-6.0, 1.25, 6.0]]))
    assert critic.atom.tolist() == pytest.approx(list(range(-6, 7)))
    plain = torch.zeros(3, 13)
    plain[0, 0], plain[1, 7], plain[1, 8], plain[2, 12] = 1, 0.75, 0.25, 1
    assert torch.allclose(share[0], plain, atol=1e-5)


def test_hlgauss_spreads_a_return_by_a_normal():
    share, _ = project("hlgauss", torch.tensor([[1.25, 6.0]]))
    for i, target in enumerate([1.25, 6.0]):
        edge = (np.arange(-6, 8) - 0.5 - target) / 0.75
        mass = np.diff(norm.cdf(edge))
        assert np.allclose(share[0, i].numpy(), mass / mass.sum(), atol=1e-5)


def test_hlgauss_takes_its_smoothing_out_again():
    """Perfectly fitted to N(0.3, 1), its support has that mean and deviation."""
    share, critic = project("hlgauss", (0.3 + torch.special.ndtri((torch.arange(4000) + 0.5) / 4000)).unsqueeze(0))
    features = (share.mean(1) + 1e-30).log() + critic.atom.square() / 2
    atom, edge = critic.support(features.unsqueeze(0))
    mass = edge.diff(dim=-1)
    mean = (mass * atom).sum()
    assert mean.item() == pytest.approx(0.3, abs=1e-3)
    assert (mass * (atom - mean).square()).sum().sqrt().item() == pytest.approx(1, abs=0.01)
    assert (mass * (critic.atom - mean).square()).sum().sqrt().item() > 1.2


def test_returns_outside_the_support_are_clipped():
    critic = critics.build({"name": "c51", "ensemble": 1}, SPEC)
    pair = TensorDict({"observation": torch.zeros(2, 1), "action": torch.zeros(2, 1)}, [2])
    far = critic.regress(pair, torch.tensor([[-1e6], [1e6]]))
    end = critic.regress(pair, critic.scaling.to_return(critic.atom[[0, -1]]).unsqueeze(-1))
    assert torch.allclose(far, end, rtol=1e-4)


@pytest.mark.parametrize("name", ["c51", "hlgauss"])
@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        (0.0, 20.0, r"atoms from 0 to 20 leave out logged returns from -14 to 10"),
        (5.0, -5.0, r"low must be below high and both finite, got 5 and -5"),
        (float("nan"), None, r"low must be below high and both finite, got nan"),
    ],
)
def test_a_support_that_cannot_hold_the_returns_is_refused(name, low, high, message):
    with pytest.raises(InputError, match=f"critic={name}: {message}"):
        critics.build({"name": name, "low": low, "high": high}, SPEC)


def test_the_flow_of_a_normal_is_exact_before_any_training():
    """With its network silent, a flow critic is N(mean, deviation^2) of the trunk, for either solver."""
    for solver in ("midpoint", "rk4"):
        critic = critics.build({"name": "flow", "steps": 40, "solver": solver, "ensemble": 1}, Spec.unit(1, 1))
        torch.nn.init.zeros_(critic.head[-1].weight)
        torch.nn.init.zeros_(critic.head[-1].bias)
        features = torch.zeros(1, 1, 66)
        features[..., 0], features[..., 1] = 0.7, -1.0
        std = np.log1p(np.exp(-1 + 0.54))
        level = torch.tensor([[0.01, 0.1, 0.5, 0.9]])
        read = critic.quantile(features, level).flatten().detach().numpy()
        assert np.allclose(read, 0.7 + std * norm.ppf(level.flatten().numpy()), atol=0.01)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_solvers_have_their_order(solver, order):
    """dx/dt = x (1 + t) has the solution exp(t + t^2/2); halving the step divides the error by 2^order."""
    start = torch.ones(1, dtype=torch.float64)

    def error(steps: int) -> float:
        return abs(integrate(lambda t, x: x * (1 + t), start, steps, solver).item() - np.exp(1.5))

    assert np.log2(error(8) / error(16)) == pytest.approx(order, abs=0.25)


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


def test_a_relu_network_written_by_its_derivative_is_the_plain_one():
    """Values, gradients of everything, and the gradient of a gradient."""
    network = EnsembleReLU(2, 3, 8).double()
    first, last = (layer for layer in network if isinstance(layer, EnsembleLinear))
    x = torch.randn(2, 20, 3, dtype=torch.float64, requires_grad=True)
    plain = (x @ first.weight + first.bias).relu() @ last.weight + last.bias
    found = network(x)
    torch.testing.assert_close(found, plain)
    with torch.no_grad():
        torch.testing.assert_close(network(x), plain)
    inputs, gradients = [x, *network.parameters()], []
    for value in (found, plain):
        gradient = torch.autograd.grad(value.square().sum(), inputs, create_graph=True)
        gradients.append((*gradient, *torch.autograd.grad(gradient[0].square().sum(), inputs)))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_members_of_an_ensemble_are_separate_networks():
    critic = critics.build({"name": "qr", "hidden": (16,)}, SPEC)
    pair = TensorDict({"observation": torch.randn(8, 1), "action": torch.rand(8, 1)}, [8])
    joined = torch.cat([pair["observation"], pair["action"]], -1)
    first, second = critic.trunk[0], critic.trunk[-1]
    for member in range(2):
        hidden = joined @ first.weight[member] + first.bias[member]
        hidden = torch.nn.functional.silu(torch.nn.functional.layer_norm(hidden, (16,)))
        plain = hidden @ second.weight[member] + second.bias[member]
        assert torch.allclose(critic.features(pair)[member], plain, atol=1e-5)


def test_the_trunk_is_evaluated_once_whatever_the_levels():
    critic = critics.build("iqn64", SPEC)
    rows = []
    critic.trunk.register_forward_hook(lambda module, inputs, output: rows.append(output.shape[1]))
    critic(TensorDict({"observation": torch.zeros(5, 1), "action": torch.zeros(5, 1)}, [5]))
    assert rows == [5]


def test_returns_are_in_reward_units():
    """Shifting and stretching the standardisation moves the value, not the network."""
    pair = TensorDict({"observation": torch.zeros(4, 1), "action": torch.zeros(4, 1)}, [4])
    torch.manual_seed(0)
    plain = critics.build("qr", Spec.unit(1, 1))
    torch.manual_seed(0)
    scaled = critics.build("qr", Spec(1, 1, (-1.0,), (1.0,), (0.0,), (1.0,), 100.0, 10.0))
    measure = risks.build("cvar0.1")
    assert torch.allclose(scaled.risk(pair, measure), 100 + 10 * plain.risk(pair, measure), atol=1e-4)
    target = torch.randn(4, 3)
    assert torch.allclose(scaled.regress(pair, 100 + 10 * target), plain.regress(pair, target), atol=1e-4)


def test_risk_of_a_grid_uses_the_exact_weights():
    critic = critics.build("qr8", Spec.unit(1, 1))
    features = torch.randn(2, 3, 8)
    plain = features.sort(-1).values
    assert torch.allclose(critic.measure(features, risks.build("cvar0.25")), plain[..., :2].mean(-1), atol=1e-6)
    tenth = plain[..., 0]
    assert torch.allclose(critic.measure(features, risks.build("cvar0.1")), tenth, atol=1e-6)


@pytest.mark.parametrize(
    "node",
    [
        {"name": "iqn", "kappa": -1.0},
        {"name": "iqn", "quantiles": 0},
        {"name": "qr", "ensemble": 0},
        {"name": "expectile", "expectiles": 8},
        {"name": "qr", "kappa": float("nan")},
        {"name": "iqn", "kappa": float("inf")},
    ],
)
def test_impossible_arguments_are_refused(node):
    with pytest.raises(InputError, match="critic="):
        critics.build(node, SPEC)
