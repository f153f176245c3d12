"""Terms that pass the risk measure to the actor, against plain formulas."""

import pytest
import torch

from ramac.composite import CompositeLoss
from tests.losses.samples import agent, pair, terms, value


@pytest.mark.parametrize("actor", ["ddpm", "ddim", "dpmsolver", "edm", "flow", "shortcut", "onestep"])
def test_a_denoised_estimate_is_the_action_when_the_network_is_right(actor):
    """With the true noise, velocity or residual as prediction the estimate is the logged action itself."""
    policy = agent(actor).actor
    action = torch.rand(64, 2) - 0.5
    found = policy.denoise(torch.zeros(64, 3), action)
    name = {"ddpm": "epsilon", "ddim": "epsilon", "dpmsolver": "epsilon", "edm": "net", "shortcut": "leap"}
    net = name.get(actor, "velocity")

    class Right(torch.nn.Module):
        def forward(self, x, t, observation):
            if net == "velocity":
                return (action - x) / (1 - t).unsqueeze(-1)
            if net == "leap":
                return (action - x) / (1 - t[:, :1])
            if net == "net":
                sigma = (4 * t).exp().unsqueeze(-1)
                root = (sigma**2 + 0.25).sqrt()
                return (action - 0.25 / root**2 * (x * root)) / (0.5 * sigma / root)
            kept = policy.scheduler.alphas_cumprod[(t * policy.train_steps - 1).round().long()].unsqueeze(-1)
            return (x - kept.sqrt() * action) / (1 - kept).sqrt()

    setattr(policy, net, Right())
    exact = policy.denoise(torch.zeros(64, 3), action)
    assert torch.allclose(exact.clean, action, atol=2e-2)
    assert found.clean.shape == found.noisy.shape == (64, 2)
    assert ((found.signal >= 0) & (found.signal <= 1)).all()


def test_onestep_value_and_cloning_share_one_pass(batch):
    online = agent("ddpm", "qr", "cvar0.2")
    loss = CompositeLoss(online, terms("td", "bc", "risk_onestep"), target=online)
    calls = []
    online.actor.epsilon.register_forward_hook(lambda *_: calls.append(1))
    torch.manual_seed(1)
    found = loss.sample_losses(batch, ["bc", "risk_onestep"])
    assert calls == [1]
    torch.manual_seed(1)
    t, epsilon = torch.randint(5, (32,)), torch.randn(32, 2)
    kept = online.actor.scheduler.alphas_cumprod[t].unsqueeze(-1)
    x = kept.sqrt() * batch["action"] + (1 - kept).sqrt() * epsilon
    guess = online.actor.predict(x, t, batch["observation"])
    clean = ((x - (1 - kept).sqrt() * guess) / kept.sqrt()).clamp(-1, 1)
    rho = (online.critic.risk(pair(batch["observation"], clean), online.risk).amin(-1) - 2) / 3
    assert torch.allclose(found[0]["bc"], (guess - epsilon).square().mean(-1), atol=1e-5)
    assert torch.allclose(found[0]["risk_onestep"], -rho, atol=1e-4)


def test_guidance_is_the_noise_along_the_critics_gradient(batch):
    """Up to a constant in the weights: sqrt(1 - abar) <grad Q(x_t), eps>, Q in standard deviations (3)."""
    online = agent("ddpm")
    loss = CompositeLoss(online, terms("td", {"name": "guidance", "members": "first"}), target=online)
    torch.manual_seed(1)
    found = loss.sample_losses(batch, ["guidance"])[0]["guidance"].sum()
    torch.manual_seed(1)
    t, epsilon = torch.randint(5, (32,)), torch.randn(32, 2)
    kept = online.actor.scheduler.alphas_cumprod[t].unsqueeze(-1)
    x = kept.sqrt() * batch["action"] + (1 - kept).sqrt() * epsilon
    leaf = x.clamp(-1, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(value(online.critic, batch["observation"], leaf)[:, 0].sum(), leaf)
    plain = ((1 - kept).sqrt() * gradient / 3 * online.actor.predict(x, t, batch["observation"])).sum()
    weights = list(online.actor.parameters())
    for a, b in zip(torch.autograd.grad(found, weights), torch.autograd.grad(plain, weights), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("members", ["min", "quantile_min", "mean", "first", "random", "pooled"])
def test_which_members_count(batch, members):
    online = agent("deterministic", "qr", "neutral")
    torch.manual_seed(3)
    loss = CompositeLoss(online, terms("td", {"name": "risk", "members": members}), target=online)
    found = loss.sample_losses(batch, ["risk"])[0]["risk"]
    action = online.actor(batch.select("observation"))["action"]
    z = online.critic.features(pair(batch["observation"], action)).sort(-1).values.movedim(0, 1)  # [B, E, N]
    each = z.mean(-1)
    if members == "random":
        assert any(torch.allclose(-found, each[:, i], atol=1e-4) for i in (0, 1))
        return
    plain = {
        "min": each.amin(1),
        "mean": each.mean(1),
        "pooled": each.mean(1),
        "first": each[:, 0],
        "quantile_min": z.amin(1).mean(-1),
    }[members]
    # drawn levels estimate the mean of the lowest quantiles, the rest is exact
    assert torch.allclose(-found, plain, atol=0.1 if members == "quantile_min" else 1e-4)
    if members == "quantile_min":
        assert (-found <= each.amin(1) + 0.1).all()


@pytest.mark.parametrize("name", ["risk", "risk_onestep", "guidance"])
def test_the_mixture_of_the_members_may_count(name, batch):
    """CVaR_0.25 of both members' 100 quantiles together is the mean of the lowest 50, up to the tail's line."""
    online = agent("ddpm", "qr", "cvar0.25")
    loss = CompositeLoss(online, terms("td", {"name": name, "members": "pooled"}), target=online)
    found = loss.sample_losses(batch, [name])[0][name]
    assert found.shape == (32,) and found.isfinite().all()
    assert any(grad.abs().sum() > 0 for grad in torch.autograd.grad(found.sum(), [*online.actor.parameters()]))
    pairs = pair(batch["observation"], batch["action"])
    z = online.critic.features(pairs).movedim(0, 1).flatten(1).sort(-1).values
    rho, scale = loss.terms[name].measure(pairs, online)
    assert torch.allclose(rho, z[:, :50].mean(-1), atol=0.01) and scale == 1


@pytest.mark.parametrize("normalise", ["abs", "none", "std"])
def test_guidance_gives_the_size_of_the_value_where_it_looks(batch, normalise):
    online = agent("ddpm")
    node = {"name": "guidance", "members": "random", "normalise": normalise}
    loss = CompositeLoss(online, terms("td", node), target=online)
    torch.manual_seed(1)
    scale = loss.sample_losses(batch, ["guidance"])[1]["scale_guidance"]
    torch.manual_seed(1)
    noisy = online.actor.denoise(batch["observation"], batch["action"]).noisy.clamp(-1, 1)
    index = torch.randint(2, (1,)).item()
    other = value(online.critic, batch["observation"], noisy)[:, 1 - index].abs().mean().item()  # of two members
    expected = {"abs": other / 3, "none": 1 / 3, "std": 1.0}[normalise]
    assert scale.item() == pytest.approx(expected, rel=1e-4)
