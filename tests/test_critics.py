import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import norm
from tensordict import TensorDict

import ramac.critics.quantile as quantile_module
from ramac.critics import Critic, quantile_huber
from ramac.errors import InputError
from ramac.registry import critics, risks
from ramac.spec import Spec
from ramac.testing import check_critic

SPEC = Spec(1, 1, (-1.0,), (1.0,), (0.0,), (1.0,), 4.5, 4.9)  # returns as those of `skewed`
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


@pytest.mark.parametrize("name", ["iqn", "qr"])
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

    monkeypatch.setattr(quantile_module, "quantile_huber", broken)
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


def exact_expectiles(count: int) -> torch.Tensor:
    """Expectiles of N(0, 1) at the midpoints, by their first-order condition."""

    def condition(e: float, t: float) -> float:
        above = norm.pdf(e) - e * (1 - norm.cdf(e))  # E(Z - e)+
        return t * above - (1 - t) * (above + e)

    return torch.tensor([brentq(condition, -9, 9, args=((i + 0.5) / count,)) for i in range(count)])


def test_expectiles_are_read_out_in_closed_form():
    critic = critics.build({"name": "expectile", "ensemble": 1}, Spec.unit(1, 1))
    features = exact_expectiles(33).float().reshape(1, 1, -1)
    assert critic.measure(features, risks.build("neutral")).item() == pytest.approx(0, abs=1e-4)
    assert critic.measure(features, risks.build("cvar0.1")).item() == pytest.approx(-1.755, abs=0.02)
    assert critic.measure(features, risks.build("wang-0.75")).item() == pytest.approx(-0.75, abs=0.05)


def test_imputed_atoms_have_the_expectiles_they_come_from():
    critic = critics.build({"name": "expectile", "ensemble": 1}, Spec.unit(1, 1))
    features = exact_expectiles(33).double().reshape(1, 1, -1)
    atom, edge = critic.atoms(features)
    weight = edge.diff(dim=-1)
    assert weight.sum().item() == pytest.approx(1)
    assert (weight >= 0).all()
    for i, e in enumerate(features.flatten().tolist()):
        t, above = (i + 0.5) / 33, (weight * (atom - e).clamp_min(0)).sum().item()
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
        features = e.reshape(1, 1, -1).expand(1, 121, -1)
        atoms = critic.quantile(features, critic.default_level(features)).flatten()
        atoms = torch.cat([atoms, atoms[:7]])
    truth = -1.5 * (1 - 0.99**50) / 0.01
    assert atoms.mean().item() == pytest.approx(truth, abs=0.12 * abs(truth))


def test_a_tail_beyond_the_expectiles_reads_as_the_worst_atom():
    critic = critics.build({"name": "expectile", "ensemble": 1}, Spec.unit(1, 1))
    features = exact_expectiles(33).float().reshape(1, 1, -1)
    worst = critic.atoms(features)[0].min().item()
    assert critic.measure(features, risks.build("cvar0.001")).item() == pytest.approx(worst)
    assert worst > -3.4, "CVaR_0.001 of a normal is -3.37"


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
