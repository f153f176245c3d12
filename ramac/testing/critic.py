"""Findings about a critic."""

import math
from collections.abc import Iterator

import torch

from ramac.critics import Critic
from ramac.registry import critics
from ramac.risk import RiskMeasure
from ramac.risk.distortions import CVaR, Neutral
from ramac.testing.samples import BOX, pairs, sample_findings


def critic_findings(entry: str) -> Iterator[str]:
    """Shapes, gradients, independence of samples, and whether the critic learns N(3, 2)."""
    critic: Critic = critics.build(entry, BOX)
    for shape in ((), (5,), (2, 3)):
        pair = critic(pairs(*shape), torch.full((*shape, 7), 0.5))
        if pair["value"].shape != (*shape, critic.ensemble, 7):
            wanted = [*shape, critic.ensemble, 7]
            yield f"value at 7 levels for a batch {list(shape)} must be {wanted}, not {list(pair['value'].shape)}"
            return
        level = critic(pairs(*shape))["level"]
        if not ((level > 0) & (level < 1)).all():
            yield "its own levels must lie inside (0, 1)"
        if (risk := critic.risk(pairs(*shape), CVaR())).shape != (*shape, critic.ensemble):
            yield f"risk for a batch {list(shape)} must be {[*shape, critic.ensemble]}, not {list(risk.shape)}"
    action = pairs(8)
    leaf = action["action"].requires_grad_()
    value = critic.risk(action, CVaR())
    if value.grad_fn is None or not torch.autograd.grad(value.sum(), leaf)[0].abs().sum() > 0:
        yield "risk carries no gradient to the action: no actor could learn from it"
    yield from sample_findings(
        "regress", lambda pair: critic.regress(pair, torch.arange(12.0).expand(len(pair), -1)), critic
    )
    own = torch.arange(12.0).expand(critic.ensemble, 8, -1)
    if (loss := critic.regress(pairs(8), own)).shape != (8,):
        yield f"regress for targets {list(own.shape)}, one for each member, must be [8], not {list(loss.shape)}"
    yield from learned_findings(critic)


def learned_findings(critic: Critic) -> Iterator[str]:
    """Fit N(3, 2) from single draws, as temporal differences would, and compare with the closed form."""
    optimiser = torch.optim.Adam(critic.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(600):
        optimiser.param_groups[0]["lr"] = 3e-3 * (1 - step / 600)
        target = 3 + 2 * torch.randn(128, 8, generator=generator)
        optimiser.zero_grad()
        critic.regress(pairs(128), target).mean().backward()
        optimiser.step()
    truth: dict[str, tuple[RiskMeasure, float]] = {"the mean": (Neutral(), 3.0)}
    if critic.distributional:
        truth["CVaR_0.25"] = (CVaR(alpha=0.25), 3 - 2 * math.exp(-0.5 * 0.6744898**2) / math.sqrt(2 * math.pi) / 0.25)
    with torch.no_grad():
        for name, (measure, value) in truth.items():
            read = critic.risk(pairs(512), measure).mean().item()
            if not abs(read - value) < 0.5:
                yield f"after fitting N(3, 2) {name} reads {read:.2f}, the truth is {value:.2f}"
