from functools import partial

import numpy as np
import pytest
import torch
from tensordict import TensorDict

from ramac.actors.diffusion import betas
from ramac.actors.gaussian import Gaussian
from ramac.agent import Agent
from ramac.errors import InputError
from ramac.registry import actors
from ramac.spec import Spec
from ramac.testing import check_actor
from ramac.testing.actor import actor_findings

SPEC = Spec.unit(3, 2)


@pytest.mark.parametrize("name", actors)
def test_contract(name):
    check_actor(name)


PENDULUM = Spec(3, 1, (-2.0,), (2.0,), (0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize("name", actors)
def test_rolls_out_in_torchrl(name):
    """An actor is an ordinary TorchRL policy, float64 observations and a box of its own included."""
    from torchrl.envs import GymEnv

    env = GymEnv("Pendulum-v1")
    low, high = (tuple(bound.tolist()) for bound in (env.action_spec.space.low, env.action_spec.space.high))
    actor = actors.build(name, Spec(3, 1, low, high, (0.0,) * 3, (1.0,) * 3))
    with torch.no_grad():
        rollout = env.rollout(5, policy=actor)
    assert rollout.shape == (5,)
    assert rollout["action"].abs().max() <= 2
    assert rollout["next", "reward"].isfinite().all()


@pytest.mark.parametrize("name", actors)
def test_collects_in_torchrl(name):
    """A collector takes an actor as its policy; `spec` tells TorchRL what it writes."""
    from torchrl.collectors import Collector
    from torchrl.envs import GymEnv

    actor = actors.build(name, PENDULUM)
    assert actor.spec["action"] == GymEnv("Pendulum-v1").action_spec
    settings = {"frames_per_batch": 4, "total_frames": 8, "auto_register_policy_transforms": False}
    collector = Collector(partial(GymEnv, "Pendulum-v1"), actor, **settings)
    batches = list(collector)
    collector.shutdown()
    assert len(batches) == 2 and all(actor.spec.is_in(batch.select("action")) for batch in batches)


@pytest.mark.parametrize("candidates", [1, 3])
def test_an_agent_is_a_policy_that_obeys_the_exploration_type(candidates):
    """Deterministic gives the actor's mode, random or nothing a sample, the best of several where it acts so."""
    from torchrl.envs.utils import ExplorationType, set_exploration_type

    parts = {"actor": "gaussian", "critic": "mean", "risk": "neutral", "candidates": candidates}
    agent, state = Agent.build(parts, PENDULUM), TensorDict({"observation": torch.randn(2, 5, 3)}, [2, 5])
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        central = agent(state.copy())["action"]
        assert torch.equal(agent.actor(state.copy())["action"], central)
        drawn = [agent.act(state["observation"], deterministic=False, seed=seed) for seed in (0, 1)]
        assert not np.array_equal(*drawn), "what a call asks for comes before the exploration type"
    assert torch.equal(central, agent.actor(state.copy(), mode=True)["action"])
    for explore in (ExplorationType.RANDOM, None):
        with set_exploration_type(explore):
            torch.manual_seed(1)
            found = agent(state.copy())["action"]
        torch.manual_seed(1)
        repeated = state["observation"].reshape(10, 1, 3).expand(10, candidates, 3)
        several = agent.actor(TensorDict({"observation": repeated}, [10, candidates]))
        best = agent.critic.risk(several, agent.risk).amin(-1).argmax(-1)
        assert torch.equal(found.reshape(10, 1), several["action"][torch.arange(10), best])


def test_rolls_out_in_mujoco_through_torchrl():
    from torchrl.envs import GymEnv

    actor = actors.build("flow2", Spec.unit(11, 3))
    with torch.no_grad():
        rollout = GymEnv("Hopper-v5").rollout(8, policy=actor)
    assert rollout["observation"].dtype == torch.float64
    assert rollout["action"].shape == (len(rollout), 3)


def test_variance_preserving_schedule():
    """The five-step schedule of Diffusion-QL and RADAC, and what is left of the signal after each step."""
    beta = betas("vp", 5)
    assert beta == pytest.approx([0.195875, 0.458818, 0.635781, 0.754878, 0.835031], abs=1e-6)
    assert np.cumprod(1 - np.array(beta)) == pytest.approx([0.804125, 0.435178, 0.158500, 0.038852, 0.006409], abs=1e-6)


def test_ddpm_samples_by_the_ancestral_formula():
    """Plain lines against the scheduler: posterior mean of the clipped x0, its variance, no noise at the end."""
    actor, observation = actors.build("ddpm", SPEC), torch.randn(16, 3)
    torch.manual_seed(1)
    sample = actor.sample(observation)
    torch.manual_seed(1)
    x, beta = torch.randn(16, 2), torch.tensor(betas("vp", 5))
    signal = (1 - beta).cumprod(0)
    for t in reversed(range(5)):
        before = signal[t - 1] if t else torch.tensor(1.0)
        epsilon = actor.predict(x, torch.full((16,), t), observation)
        start = ((x - (1 - signal[t]).sqrt() * epsilon) / signal[t].sqrt()).clamp(-1, 1)
        mean = (before.sqrt() * beta[t] * start + (1 - beta[t]).sqrt() * (1 - before) * x) / (1 - signal[t])
        x = mean + ((1 - before) / (1 - signal[t]) * beta[t]).sqrt() * torch.randn(16, 2) if t else mean
    assert torch.allclose(sample, x.clamp(-1, 1), atol=1e-5)


def test_ddpm_clones_by_predicting_the_noise():
    actor, observation, action = actors.build("ddpm", SPEC), torch.randn(16, 3), torch.rand(16, 2) * 2 - 1
    torch.manual_seed(1)
    loss = actor.clone(observation, action)
    torch.manual_seed(1)
    t, epsilon = torch.randint(5, (16,)), torch.randn(16, 2)
    signal = (1 - torch.tensor(betas("vp", 5))).cumprod(0)[t].unsqueeze(-1)
    x = signal.sqrt() * action + (1 - signal).sqrt() * epsilon
    assert torch.allclose(loss, (actor.predict(x, t, observation) - epsilon).square().mean(-1), atol=1e-5)


def test_ddim_samples_by_the_deterministic_formula():
    """x0 predicted, clipped, and carried to the next of five levels along its noise; only the start is drawn.

    Levels 49 (i / 4)^2; the noise is that of the clipped x0.
    """
    actor, observation = actors.build("ddim", SPEC), torch.randn(16, 3)
    torch.manual_seed(1)
    sample = actor.sample(observation)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    x, signal = torch.randn(16, 2), (1 - torch.tensor(betas("vp", 50))).cumprod(0)
    assert torch.equal(torch.get_rng_state(), state)
    for t, after in ((49, 28), (28, 12), (12, 3), (3, 0), (0, None)):
        epsilon = actor.predict(x, torch.full((16,), t), observation)
        start = ((x - (1 - signal[t]).sqrt() * epsilon) / signal[t].sqrt()).clamp(-1, 1)
        before = torch.tensor(1.0) if after is None else signal[after]
        x = before.sqrt() * start + (1 - before).sqrt() * (x - signal[t].sqrt() * start) / (1 - signal[t]).sqrt()
    assert torch.allclose(sample, x.clamp(-1, 1), atol=1e-4)


class Decay(torch.nn.Module):
    def forward(self, x, t, observation):
        return -x


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"solver": "euler", "steps": 10}, 0.06),
        ({"solver": "midpoint", "steps": 10}, 2e-3),
        ({"solver": "rk4", "steps": 10}, 2e-6),
        ({"solver": "dopri5"}, 1e-3),
        ({"solver": "tsit5", "tolerance": 1e-5}, 1e-5),
    ],
)
def test_flow_solves_its_equation(settings, error):
    """With the velocity dx/dt = -x the flow carries z to z / e."""
    if "steps" not in settings:
        pytest.importorskip("torchdyn")
    actor = actors.build({"name": "flow", **settings}, SPEC)
    actor.velocity = Decay()
    torch.manual_seed(1)
    sample = actor.sample(torch.zeros(64, 3))
    torch.manual_seed(1)
    exact = torch.randn(64, 2) / np.e
    inside = exact.abs() < 0.9
    assert (sample - exact)[inside].abs().max() < error


def test_flow_clones_by_matching_the_straight_path():
    actor, observation, action = actors.build("flow", SPEC), torch.randn(16, 3), torch.rand(16, 2) * 2 - 1
    torch.manual_seed(1)
    loss = actor.clone(observation, action)
    torch.manual_seed(1)
    start, t = torch.randn(16, 2), torch.rand(16)
    velocity = actor.velocity((1 - t[:, None]) * start + t[:, None] * action, t, observation)
    assert torch.allclose(loss, (velocity - (action - start)).square().mean(-1), atol=1e-5)


def test_gaussian_density_integrates_to_one():
    """With beta 0 exp(-bc / 2) over the box is a density: the change of variables of tanh is in it."""
    actor = Gaussian(Spec.unit(1, 1), beta=0)
    action = torch.linspace(-0.9989, 0.9989, 20_001).unsqueeze(-1)
    density = (-actor.clone(torch.zeros(20_001, 1), action) / 2).exp()
    assert torch.trapezoid(density, action.squeeze(-1)).item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", actors)
def test_cloning_moves_the_policy_to_the_data(name):
    """One logged action: after some updates the policy plays near it, in the task's own units."""
    spec = Spec(1, 2, (-2.0, 0.0), (2.0, 4.0), (0.0,), (1.0,))
    actor, logged = actors.build(name, spec), torch.tensor([1.0, 1.0])
    batch = TensorDict({"observation": torch.zeros(256, 1), "action": logged.expand(256, -1)}, [256])
    optimiser = torch.optim.Adam(actor.parameters(), 2e-3)
    for _ in range(800 if name == "mixture" else 200):  # its eight components go to the action one by one
        optimiser.zero_grad()
        actor.bc(batch).mean().backward()
        if name == "onestep":  # bc trains its teacher
            actor.sample_with_teacher(torch.zeros(256, 1))[1].square().mean().backward()
        optimiser.step()
    action = actor(batch.select("observation"))["action"]
    assert (action - logged).abs().mean() < 0.4


@pytest.mark.parametrize(
    "node",
    [
        {"name": "flow", "steps": 0},
        {"name": "ddpm", "steps": 0},
        {"name": "ddim", "steps": 60},
        {"name": "ddim", "steps": 1},
        {"name": "shortcut", "steps": 3},
    ],
)
def test_impossible_step_counts_are_refused(node):
    with pytest.raises(InputError, match="steps must be"):
        actors.build(node, SPEC)


@pytest.mark.parametrize("name", ["ddpm", "ddim", "dpmsolver"])
def test_diffusion_noises_by_the_schedule_at_every_step(name):
    """x_t = sqrt(abar_t) a + sqrt(1 - abar_t) eps, also at steps that a coarse sampler skips."""
    actor, action = actors.build(name, SPEC), torch.rand(4096, 2) * 2 - 1
    torch.manual_seed(1)
    found = actor.denoise(torch.zeros(4096, 3), action)
    torch.manual_seed(1)
    t, epsilon = torch.randint(actor.train_steps, (4096,)), torch.randn(4096, 2)
    kept = torch.tensor(betas("vp", actor.train_steps)).neg().add(1).cumprod(0)[t].unsqueeze(-1)
    assert torch.allclose(found.noisy, kept.sqrt() * action + (1 - kept).sqrt() * epsilon, atol=1e-4)


def test_vae_clones_by_its_evidence_bound():
    """Squared error plus half the divergence of N(mu, sigma^2) from N(0, 1), each a mean over dimensions."""
    actor, observation, action = actors.build("vae", SPEC), torch.randn(16, 3), torch.rand(16, 2) * 2 - 1
    torch.manual_seed(1)
    loss = actor.clone(observation, action)
    torch.manual_seed(1)
    mean, log_std = actor.encoder(torch.cat([observation, action], -1)).chunk(2, -1)
    posterior = torch.distributions.Normal(mean, log_std.exp())
    latent = mean + log_std.exp() * torch.randn(16, 4)
    divergence = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0))
    decoded = actor.decoder(torch.cat([observation, latent], -1)).tanh()
    assert torch.allclose(loss, (decoded - action).square().mean(-1) + divergence.mean(-1) / 2, atol=1e-5)


def test_vae_acts_on_clipped_latents():
    actor = actors.build("vae", SPEC)
    seen = []
    actor.decoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:, 3:]))
    actor.sample(torch.zeros(1000, 3))
    assert seen[0].abs().max() == 0.5
    assert seen[0].std() > 0.3


def test_shortcut_learns_leaps_from_two_halves():
    """Flow matching at size 0; a leap is the mean of two half leaps, those of the smallest being flow matching's."""
    actor, observation, action = actors.build("shortcut", SPEC), torch.randn(64, 3), torch.rand(64, 2) * 2 - 1
    torch.manual_seed(1)
    loss = actor.clone(observation, action)
    torch.manual_seed(1)
    start, t = torch.randn(64, 2), torch.rand(64)
    size, leaps = 0.5 ** torch.randint(3, (64,)), torch.rand(64) < 0.25
    for i in range(64):
        s, d = observation[i : i + 1], size[i].item() if leaps[i] else 0.0
        now = t[i].item() // d * d if d else t[i].item()
        x = (1 - now) * start[i : i + 1] + now * action[i : i + 1]
        told = 0.0 if d == 0.25 else d / 2
        first = actor.leap(x, torch.tensor([[now, told]]), s)
        second = actor.leap(x + d / 2 * first, torch.tensor([[now + d / 2, told]]), s)
        target = (first + second) / 2 if d else action[i] - start[i]
        found = actor.leap(x, torch.tensor([[now, d]]), s)
        assert loss[i].item() == pytest.approx((found - target).square().mean().item(), rel=1e-3, abs=1e-5)


def test_mixture_density_integrates_to_one_and_is_that_of_its_samples():
    actor = actors.build({"name": "mixture", "beta": 0.0}, Spec.unit(1, 1))
    action = torch.linspace(-0.9989, 0.9989, 20_001).unsqueeze(-1)
    density = (-actor.clone(torch.zeros(20_001, 1), action) / 2).exp()
    assert torch.trapezoid(density, action.squeeze(-1)).item() == pytest.approx(1, abs=0.01)
    drawn, log_prob = actor.sample_with_log_prob(torch.zeros(500, 1))
    inside = drawn.abs().squeeze(-1) < 0.99
    assert torch.allclose(log_prob[inside], -actor.clone(torch.zeros(500, 1), drawn)[inside] / 2, atol=1e-3)


@pytest.mark.parametrize("std", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("entry", ["gaussian", "mixture1"])
def test_a_likelihood_clones_in_the_unit_of_a_squared_error(entry, std):
    """The gradient in the mean is that of the mean over dimensions of (tanh mu - a)^2, whatever the deviation."""
    actor = actors.build(entry, Spec.unit(1, 3))
    last, mean = actor.net[-1], torch.tensor([-0.4, 0.0, 0.3])
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.cat([torch.zeros(int(entry == "mixture1")), mean, torch.full((3,), np.log(std))]))
    action = mean.tanh() + std * torch.tensor([[0.1, -0.2, 0.1]])  # near the mean, where tanh is linear
    (found,) = torch.autograd.grad(actor.clone(torch.zeros(1, 1), action).sum(), last.bias)
    leaf = mean.clone().requires_grad_()
    (plain,) = torch.autograd.grad((leaf.tanh() - action).square().mean(), leaf)
    if entry == "gaussian":
        assert torch.allclose(found[:3], plain, rtol=0.05)
    else:  # one variance for all dimensions, the mean of theirs
        variance = ((1 - mean.tanh() ** 2) * std).square()
        assert torch.allclose(found[1:4], plain * variance.mean() / variance, rtol=0.05)


@pytest.mark.parametrize("entry", ["gaussian", "mixture"])
def test_beta_is_in_its_range(entry):
    with pytest.raises(InputError, match=rf"actor={entry}: beta must be in \[0, 1\], got 2"):
        actors.build({"name": entry, "beta": 2.0}, SPEC)


class Nats(Gaussian):
    """A Gaussian whose cloning loss is a plain likelihood, summed over dimensions."""

    def clone(self, observation, action):
        return -self.distribution(observation).log_prob(action.clamp(-0.999, 0.999)).sum(-1)


def test_a_cloning_loss_in_another_unit_is_found(monkeypatch):
    monkeypatch.setitem(actors.entries, "nats", Nats)
    monkeypatch.setitem(actors.suffix, "nats", None)
    with pytest.raises(AssertionError, match="its unit must be that of a squared error"):
        check_actor("nats")


class Wide(Gaussian):
    """A Gaussian that is twice as wide as the box."""

    def sample(self, observation):
        return 2 * super().sample(observation)


def test_a_sample_outside_the_box_is_found(monkeypatch):
    monkeypatch.setitem(actors.entries, "wide", Wide)
    monkeypatch.setitem(actors.suffix, "wide", None)
    assert next(actor_findings("wide")) == "actions leave the box: sample() must stay inside [-1, 1]"


class Reduced(Gaussian):
    """A Gaussian whose cloning loss is one number."""

    def clone(self, observation, action):
        return super().clone(observation, action).mean()


def test_a_reduced_loss_is_told_as_such(monkeypatch):
    monkeypatch.setitem(actors.entries, "reduced", Reduced)
    monkeypatch.setitem(actors.suffix, "reduced", None)
    assert next(actor_findings("reduced")).startswith("bc must give one loss per sample, [8] for a batch of 8, not one")


@pytest.mark.parametrize("schedule", ["vp", "cosine"])
@pytest.mark.parametrize("steps", [2, 5, 19, 20])
@pytest.mark.parametrize("entry", ["ddim", "dpmsolver"])
def test_sampling_is_finite_with_any_number_of_its_levels(entry, schedule, steps):
    actor = actors.build({"name": entry, "steps": steps, "train_steps": 20, "schedule": schedule}, SPEC)
    levels = actor.scheduler.timesteps.tolist()
    assert levels[0] == 19 and levels[-1] == 0 and len(set(levels)) == steps
    assert actor.sample(torch.randn(50, 3)).isfinite().all()


def test_a_mixture_draws_each_component_as_often_as_it_says():
    actor = actors.build("mixture2", Spec.unit(1, 1))
    with torch.no_grad():  # components at -1 and 1 before the tanh, with probabilities 1/4 and 3/4
        last = actor.net[-1]
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.0, -1.0, -9.0, np.log(3), 1.0, -9.0]))
    drawn = actor.sample(torch.zeros(4000, 1))
    assert (drawn > 0).float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert torch.allclose(drawn.abs(), torch.tensor(1.0).tanh(), atol=0.02)
