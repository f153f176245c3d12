"""The terms beyond td, bc and risk against plain formulas, and the parts they refuse."""

import math

import pytest
import torch
from tensordict import TensorDict

from ramac.actors.gaussian import Gaussian
from ramac.agent import Agent
from ramac.errors import InputError
from ramac.losses import CompositeLoss, Term, build_terms
from ramac.registry import losses
from ramac.spec import Spec
from ramac.training.trainer import Trainer

SPEC = Spec(3, 2, (-1.0,) * 2, (1.0,) * 2, (0.0,) * 3, (1.0,) * 3, 2.0, 3.0)


def agent(actor="gaussian", critic="mean", risk="neutral") -> Agent:
    return Agent.build({"actor": actor, "critic": critic, "risk": risk}, SPEC)


def terms(*nodes) -> dict[str, Term]:
    return build_terms({node if isinstance(node, str) else node["name"]: node for node in nodes}, SPEC)


def pair(observation, action) -> TensorDict:
    return TensorDict({"observation": observation, "action": action}, observation.shape[:-1])


def value(critic, observation, action):
    """Q of each member in reward units [*b, E], for the scalar critic."""
    flat = critic.features(pair(observation, action)).squeeze(-1).movedim(0, -1)
    return 2 + 3 * flat.reshape(*observation.shape[:-1], -1)


@pytest.fixture
def log(batch):
    after = {"action": torch.rand(32, 2) * 2 - 1, "followed": torch.arange(32).unsqueeze(-1) % 5 != 0}
    for key, column in after.items():
        batch.set(("next", key), column)
    return batch


def test_iql_is_the_expectile_loss_and_the_source_of_the_target(batch):
    online, target = agent(), agent()
    loss = CompositeLoss(online, target, terms({"name": "td", "gamma": 0.9}, {"name": "iql", "expectile": 0.8}))
    found = loss(batch)
    net = loss.terms["iql"].net
    q = value(target.critic, batch["observation"], batch["action"]).amin(-1)
    u = (q - 2) / 3 - net(batch["observation"]).squeeze(-1)
    assert torch.allclose(found["loss_iql"], torch.where(u > 0, 0.8, 0.2) * u**2, atol=1e-5)
    after = 2 + 3 * net(batch["next", "observation"])
    y = batch["next", "reward"] + 0.9 * (1 - batch["next", "terminated"].float()) * after
    q = value(online.critic, batch["observation"], batch["action"])
    assert torch.allclose(found["loss_td"], (((y - q) / 3) ** 2).sum(-1), atol=1e-4)


def test_awr_weighs_cloning_by_the_advantage(batch):
    online, target = agent(), agent()
    loss = CompositeLoss(
        online,
        target,
        terms("td", "iql", {"name": "awr", "inverse_temperature": 50.0, "most": 7.0, "effective_sample_size": None}),
    )
    value_net = loss.terms["iql"].net(batch["observation"]).squeeze(-1)
    q = value(target.critic, batch["observation"], batch["action"]).amin(-1)
    weight = torch.exp(50 * ((q - 2) / 3 - value_net)).clamp(max=7).detach()
    assert 0 < (weight == 7).float().mean() < 1
    found = loss(batch, ["awr"])
    assert torch.allclose(found["loss_awr"], weight * online.actor.bc(batch), rtol=1e-4, atol=1e-4)
    effective = (weight.sum() ** 2 / (weight**2).sum() / 32).item()
    assert found["effective_sample_size_awr"].tolist() == pytest.approx([effective] * 32, rel=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_awr_weighs_so_that_a_share_of_the_data_counts(scale):
    """Normal advantages of any size: the effective sample size of exp(b A) is exp(-b^2 var A)."""
    term = losses.build({"name": "awr", "effective_sample_size": 0.6, "most": 1e9})
    for shift in (-1.0, 0.0, 1.0):
        weight = term.weights(shift + scale * torch.randn(200_000))
        assert (weight.mean() ** 2 / (weight**2).mean()).item() == pytest.approx(0.6, abs=0.02)


def test_awr_that_only_clones_says_so():
    term = losses.build({"name": "awr", "effective_sample_size": None, "inverse_temperature": 0.01})
    assert "plain cloning" in term.warning({"effective_sample_size": 0.998})
    assert term.warning({"effective_sample_size": 0.9}) is None
    with pytest.raises(InputError, match="one of effective_sample_size and inverse_temperature is null"):
        losses.build({"name": "awr", "inverse_temperature": 3.0})


def test_awr_without_a_value_takes_the_policys_own_action_and_no_gradient_through_it(batch):
    online, target = agent("flow2", "qr", "cvar0.2"), agent("flow2", "qr", "cvar0.2")
    loss = CompositeLoss(online, target, terms("td", "awr"))
    torch.manual_seed(1)
    found = loss(batch, ["awr"])["loss_awr"]
    torch.manual_seed(1)
    with torch.no_grad():
        own = online.actor(batch.select("observation"))["action"]
        rho = [target.critic.risk(pair(batch["observation"], a), target.risk).amin(-1) for a in (batch["action"], own)]
        advantage = (rho[0] - rho[1]) / 3
        centred = advantage - advantage.mean()
        weight = torch.exp(math.sqrt(math.log(2)) * centred / advantage.std(correction=0)).clamp(max=100)
    assert torch.allclose(found, weight * online.actor.bc(batch), rtol=1e-4)


def test_critic_bc_lowers_the_target_where_the_log_continues(log):
    online, target = agent("deterministic"), agent("deterministic")
    loss = CompositeLoss(online, target, terms({"name": "td", "gamma": 0.9}, {"name": "critic_bc", "weight": 0.5}))
    log["step"] = loss.step.expand(32)
    found = loss.terms["td"].returns(log, online, target)
    action = target.actor(pair(log["next", "observation"], log["action"]))["action"]
    q = value(target.critic, log["next", "observation"], action).amin(-1, keepdim=True)
    far = ((action - log["next", "action"]) ** 2).sum(-1, keepdim=True) * log["next", "followed"]
    y = log["next", "reward"] + 0.9 * (1 - log["next", "terminated"].float()) * (q - 0.5 * 3 * far)
    assert torch.allclose(found, (y - 2) / 3, atol=1e-4)


def test_target_smoothing_adds_clipped_noise(batch):
    online, target = agent("deterministic"), agent("deterministic")
    term = terms({"name": "td", "smoothing": 0.4, "smoothing_clip": 0.3})["td"]
    torch.manual_seed(1)
    found = term.next_pair(batch, online, target)["action"]
    torch.manual_seed(1)
    action = target.actor(pair(batch["next", "observation"], batch["action"]))["action"]
    noise = (0.4 * torch.randn(32, 2)).clamp(-0.3, 0.3)
    assert torch.allclose(found, (action + noise).clamp(-1, 1), atol=1e-6)


def test_the_next_actor_is_the_average_or_the_trained_one(batch):
    online, target = agent("deterministic"), agent("deterministic")
    for name, actor in (("average", target.actor), ("online", online.actor)):
        found = terms({"name": "td", "next_actor": name})["td"].next_pair(batch, online, target)["action"]
        assert torch.equal(found, actor(pair(batch["next", "observation"], batch["action"]))["action"])


def test_the_best_of_several_next_actions_counts(batch):
    online, target = agent(), agent()
    term = terms({"name": "td", "candidates": 4, "gamma": 1.0})["td"]
    torch.manual_seed(1)
    found = term.next_returns(batch, online, target)
    torch.manual_seed(1)
    rows = batch["next", "observation"].repeat_interleave(4, 0)
    action = target.actor(pair(rows, torch.zeros(128, 2)))["action"]
    each = value(target.critic, rows, action).amin(-1).reshape(32, 4)
    assert torch.allclose(2 + 3 * found.squeeze(-1), each.amax(-1), atol=1e-4)


@pytest.mark.parametrize("critic", ["iqn", "flow", "qr"])
def test_identical_candidates_change_nothing(critic, batch):
    """Candidates are ranked at common levels and the whole distribution of the chosen one is backed up.

    A deterministic actor gives ten times the same action; the lucky draw of ten sets of levels would read too high.
    """
    online = agent("deterministic", critic, "cvar0.1")
    rows = batch[:1].expand(2000).clone()
    found = {}
    for count in (1, 10):
        torch.manual_seed(1)
        term = terms({"name": "td", "candidates": count, "gamma": 1.0, "aggregation": "mean"})["td"]
        found[count] = term.next_returns(rows, online, online).detach().flatten().sort().values
    spread = found[1].std().item()
    assert found[10].mean().item() == pytest.approx(found[1].mean().item(), abs=0.02 * spread)
    tail = len(found[1]) // 10
    assert found[10][:tail].mean().item() == pytest.approx(found[1][:tail].mean().item(), abs=0.02 * spread)


def test_the_actions_of_one_state_are_compared_at_the_same_levels(batch):
    online = agent("deterministic", "iqn", "cvar0.1")
    same = batch.select("observation", "action").unsqueeze(1).expand(32, 5)
    rho = online.critic.risk(same, online.risk)  # [B, C, E]
    assert torch.allclose(rho, rho[:, :1].expand_as(rho), atol=1e-5)
    apart = online.critic.risk(same.reshape(-1), online.risk).reshape(32, 5, -1)
    assert not torch.allclose(apart, apart[:, :1].expand_as(apart), atol=1e-5)


def test_entropy_is_the_log_density_and_its_temperature_follows_it(batch):
    online, target = agent(), agent()
    loss = CompositeLoss(online, target, terms("td", "entropy"))
    torch.manual_seed(1)
    found = loss(batch, ["entropy"])["loss_entropy"]
    torch.manual_seed(1)
    mean, log_std = online.actor.net(batch["observation"]).chunk(2, -1)
    before = mean + log_std.exp() * torch.randn_like(mean)
    normal = -0.5 * ((before - mean) / log_std.exp()) ** 2 - log_std - 0.5 * math.log(2 * math.pi)
    assert torch.allclose(found, (normal - torch.log(1 - before.tanh() ** 2)).sum(-1), atol=1e-3)
    term = loss.terms["entropy"]
    (slope,) = torch.autograd.grad(term.multiplier(found), term.multiplier.logarithm)
    assert slope.item() == pytest.approx(-(found.mean().item() - 2), rel=1e-4)  # SAC: entropy of -A, alpha = 1


def test_entropy_enters_the_target_where_asked(batch):
    online, target = agent(), agent()
    parts = terms(
        {"name": "td", "gamma": 1.0, "next_actor": "online"}, {"name": "entropy", "backup": True, "weight": 0.5}
    )
    loss = CompositeLoss(online, target, parts)
    torch.manual_seed(1)
    batch["step"] = loss.step.expand(32)
    found = loss.terms["td"].next_returns(batch, online, target)
    torch.manual_seed(1)
    action, log_prob = online.actor.sample_with_log_prob(batch["next", "observation"])
    q = value(target.critic, batch["next", "observation"], action).amin(-1)
    assert torch.allclose(found.squeeze(-1), (q - 2) / 3 - 0.5 * log_prob, atol=1e-4)


@pytest.mark.parametrize("actor", ["gaussian", "flow"])
def test_conservative_is_the_gap_of_cql(batch, actor):
    online = agent(actor)
    loss = CompositeLoss(online, online, terms("td", {"name": "conservative", "actions": 5}))
    torch.manual_seed(1)
    found = loss(batch, ["conservative"])["loss_conservative"]
    torch.manual_seed(1)
    actions, density = [torch.rand(32, 5, 2) * 2 - 1], [torch.full((32, 5), -2 * math.log(2))]
    if actor == "gaussian":
        for state in (batch["observation"], batch["next", "observation"]):
            a, log_prob = online.actor.sample_with_log_prob(state.repeat_interleave(5, 0))
            actions.append(a.reshape(32, 5, 2))
            density.append(log_prob.reshape(32, 5))
    action, density = torch.cat(actions, 1), torch.cat(density, 1)
    states = batch["observation"].unsqueeze(1).expand(-1, action.shape[1], -1)
    q = (value(online.critic, states, action) - 2) / 3
    data = (value(online.critic, batch["observation"], batch["action"]) - 2) / 3
    plain = torch.log((q.exp() / density.exp().unsqueeze(-1)).mean(1)) - data
    assert torch.allclose(found, plain.sum(-1), atol=1e-3)


def test_codac_is_that_gap_level_by_level(batch):
    online = agent("flow2", "qr10", "cvar0.2")
    loss = CompositeLoss(online, online, terms("td", {"name": "conservative", "form": "codac", "actions": 5}))
    torch.manual_seed(1)
    found = loss(batch, ["conservative"])["loss_conservative"]
    torch.manual_seed(1)
    action = torch.rand(32, 5, 2) * 2 - 1
    level = (torch.arange(32) + torch.rand(32, 1, 32)) / 32
    states = batch["observation"].unsqueeze(1)
    z = online.critic(pair(states.expand(-1, 5, -1), action), level.expand(-1, 5, -1))["value"]
    data = online.critic(pair(batch["observation"], batch["action"]), level[:, 0])["value"]
    plain = torch.log(((z - 2) / 3).exp().mean(1) * 4) - (data - 2) / 3  # a box of volume 4
    assert torch.allclose(found, plain.mean(-1).sum(-1), atol=1e-3)


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
    loss = CompositeLoss(online, online, terms("td", "bc", "risk_onestep"))
    calls = []
    online.actor.epsilon.register_forward_hook(lambda *_: calls.append(1))
    torch.manual_seed(1)
    found = loss(batch, ["bc", "risk_onestep"])
    assert calls == [1]
    torch.manual_seed(1)
    t, epsilon = torch.randint(5, (32,)), torch.randn(32, 2)
    kept = online.actor.scheduler.alphas_cumprod[t].unsqueeze(-1)
    x = kept.sqrt() * batch["action"] + (1 - kept).sqrt() * epsilon
    guess = online.actor.predict(x, t, batch["observation"])
    clean = ((x - (1 - kept).sqrt() * guess) / kept.sqrt()).clamp(-1, 1)
    rho = (online.critic.risk(pair(batch["observation"], clean), online.risk).amin(-1) - 2) / 3
    assert torch.allclose(found["loss_bc"], (guess - epsilon).square().mean(-1), atol=1e-5)
    assert torch.allclose(found["loss_risk_onestep"], -rho, atol=1e-4)


def test_guidance_is_the_noise_along_the_critics_gradient(batch):
    """Up to a constant in the weights: sqrt(1 - abar) <grad Q(x_t), eps>, Q in standard deviations (3)."""
    online = agent("ddpm")
    loss = CompositeLoss(online, online, terms("td", {"name": "guidance", "members": "first"}))
    torch.manual_seed(1)
    found = loss(batch, ["guidance"])["loss_guidance"].sum()
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


@pytest.mark.parametrize("members", ["min", "quantile_min", "mean", "first", "random"])
def test_which_members_count(batch, members):
    online = agent("deterministic", "qr", "neutral")
    torch.manual_seed(3)
    loss = CompositeLoss(online, online, terms("td", {"name": "risk", "members": members}))
    found = loss(batch, ["risk"])["loss_risk"]
    action = online.actor(batch.select("observation"))["action"]
    z = online.critic.features(pair(batch["observation"], action)).sort(-1).values.movedim(0, 1)  # [B, E, N]
    each = z.mean(-1)
    if members == "random":
        assert any(torch.allclose(-found, each[:, i], atol=1e-4) for i in (0, 1))
        return
    plain = {"min": each.amin(1), "mean": each.mean(1), "first": each[:, 0], "quantile_min": z.amin(1).mean(-1)}[
        members
    ]
    # drawn levels estimate the mean of the lowest quantiles, the rest is exact
    assert torch.allclose(-found, plain, atol=0.1 if members == "quantile_min" else 1e-4)
    if members == "quantile_min":
        assert (-found <= each.amin(1) + 0.1).all()


@pytest.mark.parametrize(
    ("actor", "critic", "names", "words"),
    [
        ("gaussian", "mean", ["td", "distill"], "loss=distill needs the actor's sample_with_teacher; .*onestep has it"),
        (
            "flow",
            "mean",
            ["td", "entropy"],
            "loss=entropy needs the actor's sample_with_log_prob; .*gaussian, mixture have",
        ),
        ("gaussian", "mean", ["td", "guidance"], "loss=guidance needs the actor's denoise"),
        ("gaussian", "mean", ["bc", "risk"], r"loss=risk needs td beside it: loss=\[td,bc,risk\]"),
        ("gaussian", "c51", ["td", {"name": "risk", "members": "quantile_min"}], "critic's differentiable_quantile"),
        ("onestep", "mean", ["bc"], r"actor=onestep needs distill among the losses: loss=\[bc,distill\]"),
        ("gaussian", "mean", ["td", {"name": "bc", "budget": 1.0, "weight": 0.0}], "a weight above 0"),
        ("gaussian", "mean", ["td", {"name": "critic_bc", "budget": 1.0}], "no loss of its own to hold at budget=1.0"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(actor, critic, names, words):
    with pytest.raises(InputError, match=words):
        CompositeLoss(agent(actor, critic), agent(actor, critic), terms(*names))


@pytest.mark.parametrize(
    "node",
    [
        {"name": "iql", "expectile": 1.0},
        {"name": "bc", "final": 1.0},
        {"name": "bc", "decay": 5},
        {"name": "td", "candidates": 0},
        {"name": "td", "smoothing": -0.1},
        {"name": "td", "smoothing_clip": 0.3},
        {"name": "td", "drop": 0.2},
        {"name": "awr", "most": 0.0},
        {"name": "conservative", "actions": 0},
        {"name": "entropy", "automatic": False, "budget": 1.0},
        {"name": "awr", "most": float("inf")},
    ],
)
def test_impossible_terms_are_refused(node):
    with pytest.raises(InputError, match="loss="):
        losses.build(node, SPEC)


def test_a_delayed_actor_moves_in_every_second_update(batch):
    online = agent("deterministic")
    trainer = Trainer(online, terms("td", "bc"), batch, 0, steps=4, delay=2)
    for moves in (False, True, False, True):
        before = [p.clone() for p in online.actor.parameters()]
        averaged = [p.clone() for p in trainer.target.critic.parameters()]
        trainer.update(batch)
        assert all(torch.equal(a, b) for a, b in zip(before, online.actor.parameters(), strict=True)) != moves
        assert (
            all(torch.equal(a, b) for a, b in zip(averaged, trainer.target.critic.parameters(), strict=True)) != moves
        )


class Taught(Gaussian):
    """An actor with two extras."""

    def sample_with_teacher(self, observation):
        action = self.sample(observation)
        return action, action - 0.5


def test_any_set_of_extras_of_an_actor_works(batch):
    online = Agent(Taught(SPEC), agent().critic, agent().risk)
    loss = CompositeLoss(online, online, terms("td", "bc", "distill", "entropy", "risk"))
    torch.manual_seed(1)
    found = loss(batch, ["distill", "entropy", "risk"])
    torch.manual_seed(1)
    action, teacher = online.actor.sample_with_teacher(batch["observation"])  # the first extra's action is the policy's
    _, log_prob = online.actor.sample_with_log_prob(batch["observation"])
    assert torch.equal(found["loss_distill"], teacher.square().mean(-1))
    assert torch.equal(found["loss_entropy"], log_prob)
    rho = online.critic.standard_risk(pair(batch["observation"], action), online.risk).amin(-1)
    assert torch.allclose(found["loss_risk"], -rho)
    metrics = Trainer(online, terms("td", "bc", "distill", "entropy"), batch, 0, steps=2).update(batch)
    assert all(value.isfinite() for value in metrics.values())


class Asking(Term):
    """A plug-in that asks the actor for something new."""

    group, reads = "actor", [("policy", "speed")]

    def __init__(self, *, scale: float = 1.0, **schedule):
        super().__init__(**schedule)
        self.scale = scale

    def forward(self, tensordict, agent, target):
        return self.scale * tensordict["policy", "speed"]


def test_a_term_asks_the_actor_for_something_new(batch, monkeypatch):
    assert len(losses)  # the built-in entries are imported
    monkeypatch.setitem(losses.entries, "asking", Asking)
    monkeypatch.setitem(losses.suffix, "asking", "weight")
    asking = terms({"name": "asking", "scale": 2.0, "budget": 1.0})
    with pytest.raises(InputError, match=r"loss=asking needs the actor's sample_with_speed; .*, no actor has it"):
        CompositeLoss(agent(), agent(), asking)
    monkeypatch.setattr(Gaussian, "sample_with_speed", lambda actor, s: (actor.sample(s), s.sum(-1)), raising=False)
    loss = CompositeLoss(agent(), agent(), asking)
    assert loss.in_keys == [] and torch.equal(loss(batch)["loss_asking"], 2 * batch["observation"].sum(-1))
    assert isinstance(loss.terms["asking"].multiplier.logarithm, torch.nn.Parameter)


def test_terms_are_complete_once_built(batch):
    built = terms("awr", "td", "iql", {"name": "entropy", "weight": 2.0})
    assert list(built) == ["awr", "td", "iql", "entropy"]  # the order of the configuration
    assert built["entropy"].multiplier.budget == 2 and built["entropy"].multiplier.value.item() == pytest.approx(2)
    assert built["iql"].next_value(batch["observation"]).shape == (32, 1)
    assert built["iql"] in built["td"].others and built["iql"] in built["awr"].others
    first, second = (CompositeLoss(agent(), agent(), built) for _ in range(2))
    first.step += 3
    assert first(batch, ["iql"]).shape == second(batch, ["iql"]).shape == (32,)
    assert second.step == 0


@pytest.mark.parametrize("name", ["critic_bc", "iql"])
def test_terms_that_were_built_apart_are_refused(name):
    apart = {"td": losses.build("td"), **terms(name)}
    with pytest.raises(InputError, match=f"loss=td was built without {name}"):
        CompositeLoss(agent(), agent(), apart)


def test_a_bonus_has_the_weight_of_its_step(log):
    online, target = agent("deterministic"), agent("deterministic")
    node = {"name": "critic_bc", "warmup": 2, "ramp": 4}
    loss = CompositeLoss(online, target, terms({"name": "td", "gamma": 0.9, "candidates": 3}, node))
    pairs = loss.terms["td"].next_pair(log, online, target)
    log["step"] = loss.step.expand(32)
    assert loss.terms["critic_bc"].bonus(pairs, log, online).abs().sum() == 0
    log["step"] = log["step"] + 3  # half of the ramp
    half = loss.terms["critic_bc"].bonus(pairs, log, online)
    log["step"] = log["step"] + 99
    full = loss.terms["critic_bc"].bonus(pairs, log, online)
    assert half.shape == (96, 1) and torch.allclose(2 * half, full) and full.min() < 0


@pytest.mark.parametrize("normalise", ["abs", "none", "std"])
def test_guidance_gives_the_size_of_the_value_where_it_looks(batch, normalise):
    online = agent("ddpm")
    node = {"name": "guidance", "members": "random", "normalise": normalise}
    loss = CompositeLoss(online, online, terms("td", node))
    torch.manual_seed(1)
    scale = loss(batch, ["guidance"])["scale_guidance"]
    torch.manual_seed(1)
    noisy = online.actor.denoise(batch["observation"], batch["action"]).noisy.clamp(-1, 1)
    index = torch.randint(2, (1,)).item()
    other = value(online.critic, batch["observation"], noisy)[:, 1 - index].abs().mean().item()  # of two members
    expected = {"abs": other / 3, "none": 1 / 3, "std": 1.0}[normalise]
    assert scale.tolist() == pytest.approx([expected] * 32, rel=1e-4)
