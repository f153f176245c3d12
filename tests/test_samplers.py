"""The constants of a sampler against diffusers' own steps, one after the other."""

import diffusers
import pytest
import torch

from ramac.actors.diffusion import betas, quadratic
from ramac.registry import actors
from ramac.samplers import Step, steps_of, take
from ramac.spec import Spec

CHAINS = [
    ({"name": "ddpm"}, "DDPMScheduler", 5, "vp", None),
    ({"name": "ddpm", "steps": 1}, "DDPMScheduler", 1, "vp", None),
    ({"name": "ddpm", "steps": 40, "schedule": "linear"}, "DDPMScheduler", 40, "linear", None),
    ({"name": "ddpm", "steps": 20, "schedule": "cosine"}, "DDPMScheduler", 20, "cosine", None),
    ({"name": "ddim"}, "DPMSolverMultistepScheduler", 50, "vp", 5),
    ({"name": "ddim", "steps": 20, "schedule": "linear"}, "DPMSolverMultistepScheduler", 50, "linear", 20),
    ({"name": "dpmsolver"}, "DPMSolverMultistepScheduler", 50, "vp", 5),
    ({"name": "dpmsolver", "steps": 16, "schedule": "cosine"}, "DPMSolverMultistepScheduler", 50, "cosine", 16),
]


def label(chain):
    return "-".join(map(str, chain[0].values()))


def close(found, expected):
    return (found - expected).abs().max() <= 1e-6 * max(1, expected.abs().max())


@pytest.mark.parametrize("chain", CHAINS, ids=label)
def test_the_steps_are_those_of_diffusers(chain):
    """Each step of the chain from the same point and the same noise prediction, which diffusers itself converts."""
    node, kind, train_steps, schedule, count = chain
    actor, observation = actors.build(node, Spec.unit(3, 2)), torch.randn(64, 3)
    options = {"trained_betas": betas(schedule, train_steps), "prediction_type": "epsilon"}
    options |= {"clip_sample": True} if count is None else {"solver_order": actor.order}
    scheduler = getattr(diffusers, kind)(train_steps, **options)
    if count is not None:
        scheduler.set_timesteps(timesteps=quadratic(count, train_steps))
    torch.manual_seed(1)
    found = actor.sample(observation)
    end = torch.get_rng_state()
    torch.manual_seed(1)
    x = torch.randn(64, 2)
    for t in scheduler.timesteps.tolist():
        epsilon = actor.predict(x, torch.full((1,), t), observation)
        if count is not None:  # this scheduler does not clip, so it gets the noise of the clipped action
            kept = scheduler.alphas_cumprod[t]
            action = ((x - (1 - kept).sqrt() * epsilon) / kept.sqrt()).clamp(-1, 1)
            epsilon = (x - kept.sqrt() * action) / (1 - kept).sqrt()
        x = scheduler.step(epsilon, t, x, return_dict=False)[0]
    assert torch.equal(end, torch.get_rng_state()), "as many draws, in the same order"
    assert (found - x.clamp(-1, 1)).abs().max() < (1e-6 if count is None else 1e-5)  # the detour over the noise rounds


@pytest.mark.parametrize("steps", [2, 5, 20])
def test_the_steps_of_edm_are_those_of_diffusers(steps):
    actor, observation = actors.build(f"edm{steps}", Spec.unit(3, 2)), torch.randn(64, 3)
    scheduler = diffusers.EDMDPMSolverMultistepScheduler(sigma_min=0.002, sigma_max=10.0, sigma_data=0.5)
    scheduler.set_timesteps(steps)
    torch.manual_seed(1)
    found = actor.sample(observation)
    torch.manual_seed(1)
    x = scheduler.init_noise_sigma * torch.randn(64, 2)
    for t in scheduler.timesteps:
        out = actor.net(scheduler.scale_model_input(x, t), t.reshape(1), observation)
        x = scheduler.step(out, t, x, return_dict=False)[0]
    assert (found - x.clamp(-1, 1)).abs().max() < 1e-6


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("schedule", ["vp", "linear", "cosine"])
def test_one_step_at_a_time_in_float64(order, schedule):
    """Every step of 21 from points and estimates that are drawn anew, so no error of a chain adds up or hides."""
    options = {"trained_betas": betas(schedule, 50), "prediction_type": "sample", "solver_order": order}
    scheduler = diffusers.DPMSolverMultistepScheduler(50, **options)
    scheduler.set_timesteps(timesteps=quadratic(21, 50))
    steps, previous = steps_of(scheduler), torch.zeros(8, 2, dtype=torch.float64)
    scheduler.set_timesteps(timesteps=quadratic(21, 50))
    assert any(step.previous for step in steps) == (order == 2) and not any(step.noise for step in steps)
    for t, step in zip(scheduler.timesteps.tolist(), steps, strict=True):
        x, clean = torch.randn(8, 2), torch.randn(8, 2, dtype=torch.float64)
        expected = scheduler.step(clean, t, x, return_dict=False)[0]
        assert close(step.sample * x + step.estimate * clean + step.previous * previous, expected)
        previous = clean


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_ancestral_steps_by_the_formula_of_the_paper(steps):
    """Ho et al. 2020, equations 6 and 7, in float64."""
    beta = torch.tensor(betas("vp", steps), dtype=torch.float64)
    scheduler = diffusers.DDPMScheduler(
        steps, trained_betas=betas("vp", steps), prediction_type="sample", clip_sample=False
    )
    kept = (1 - beta).cumprod(0)
    for step, t in zip(steps_of(scheduler), reversed(range(steps)), strict=True):
        before = kept[t - 1] if t else torch.ones((), dtype=torch.float64)
        assert step.estimate == pytest.approx((before.sqrt() * beta[t] / (1 - kept[t])).item(), rel=3e-6)
        assert step.sample == pytest.approx(
            ((1 - beta[t]).sqrt() * (1 - before) / (1 - kept[t])).item(), rel=3e-6, abs=1e-9
        )
        variance = (1 - before) / (1 - kept[t]) * beta[t]
        assert step.noise == pytest.approx(variance.sqrt().item() if t else 0.0, rel=3e-6)
        assert step.previous == 0


def test_a_chain_takes_the_steps_in_order():
    steps = [Step(1.0, 2.0, 0.0, 0.0), Step(0.5, 0.0, 3.0, 0.0), Step(1.0, 1.0, 0.0, 0.1)]
    torch.manual_seed(0)
    found = take(steps, torch.ones(2, 1), lambda index, x: x + index)
    torch.manual_seed(0)
    # 1 -> 1 + 2 * 1 = 3 -> 1.5 + 3 * 1 = 4.5 -> 4.5 + (4.5 + 2) = 11, and noise
    assert torch.allclose(found, 11 + 0.1 * torch.randn(2, 1))
