"""Checks for authors of entries: each reports all findings at once, in words.

`check_actor("mine")`, `check_critic("mine")` and `check_risk("mine0.3")` take a registered name, with a numeric suffix
if it has one, and raise AssertionError with the findings. The test suite runs them over everything registered.
"""

import copy
import math
from collections.abc import Callable, Iterator
from inspect import Parameter

import torch
from tensordict import TensorDict
from torch import Tensor

from ramac.actors import Actor
from ramac.critics import Critic
from ramac.registry import Registry, actors, critics, losses, risks, summary
from ramac.risk import Distortion, RiskMeasure, edges
from ramac.risk.distortions import CVaR, Neutral
from ramac.spec import Spec

BOX = Spec(3, 2, (-2.0, 0.0), (2.0, 0.5), (1.0, 0.0, -1.0), (2.0, 1.0, 0.5), 1.0, 4.0)  # no default value


def check_actor(entry: str) -> None:
    """Shapes, action box, gradients, independence of samples, copying. Raises AssertionError with the findings."""
    _report(actors, entry, Actor, _actor_findings)


def check_critic(entry: str) -> None:
    """Shapes, gradients, independence of samples, and whether it learns N(3, 2). Raises AssertionError."""
    _report(critics, entry, Critic, _critic_findings)


def check_risk(entry: str) -> None:
    """Constants, shifts, order and weights of atoms; for a distortion range, monotonicity and agreement of its forms.

    Raises AssertionError with the findings.
    """
    _report(risks, entry, RiskMeasure, _risk_findings)


def _report(registry: Registry, entry: str, base: type, findings: Callable[[str], Iterator[str]]) -> None:
    name, _ = registry.parse(entry)
    found = list(_declaration(registry, name, base))
    if not found:
        try:
            found = list(findings(entry))
        except Exception as error:
            found = [f"{type(error).__name__} while it was tried: {error}"]
    assert not found, "\n- ".join([f"{registry.group} {entry!r}: {len(found)} finding(s)", *found])


def _declaration(registry: Registry, name: str, base: type) -> Iterator[str]:
    entry = registry[name]
    if not issubclass(entry, base):
        yield f"class {entry.__name__} must inherit from {base.__module__}.{base.__name__}"
    if not summary(entry) or entry.__doc__ is None:
        yield "the class needs a docstring: its first line is the help text"
    for key, parameter in registry.parameters(name).items():
        if parameter.annotation is Parameter.empty:
            yield f"argument {key!r} needs a type"
        if parameter.default is Parameter.empty:
            yield f"argument {key!r} needs a default"


def _state(*shape: int) -> TensorDict:
    return TensorDict({"observation": torch.randn(*shape, BOX.obs_dim)}, shape)


def _pair(*shape: int) -> TensorDict:
    low, high = torch.tensor(BOX.low), torch.tensor(BOX.high)
    return _state(*shape).set("action", low + (high - low) * torch.rand(*shape, BOX.act_dim))


def _seeded(function: Callable[[], Tensor]) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return function()


def _losses(name: str, loss: Callable[[TensorDict], Tensor], module: torch.nn.Module) -> Iterator[str]:
    """Findings about a loss per sample: shape, finite values, independence of other samples, gradients."""
    pair = _pair(8)
    value = _seeded(lambda: loss(pair))
    if value.shape != (8,):
        yield f"{name} must give one loss per sample, [8] for a batch of 8, not {list(value.shape)}; do not reduce"
        return
    if not value.isfinite().all():
        yield f"{name} is nan or infinite at initialisation"
    if value.grad_fn is None:
        yield f"{name} carries no gradient"
        return
    module.zero_grad()
    value.sum().backward()
    if not any(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters()):
        yield f"{name} sends no gradient to any parameter"
    other = _pair(8)
    other[0] = pair[0]
    if not torch.allclose(_seeded(lambda: loss(other))[0], value[0], rtol=1e-3, atol=1e-4):
        yield f"{name} of one sample changes with the other samples of the batch"


def _actor_findings(entry: str) -> Iterator[str]:
    actor: Actor = actors.build(entry, BOX)
    if not any(True for _ in actor.parameters()):
        yield "it has no parameters to train"
    low, high = torch.tensor(BOX.low), torch.tensor(BOX.high)
    for shape in ((), (5,), (2, 3)):
        action = actor(_state(*shape))["action"]
        if action.shape != (*shape, BOX.act_dim) or action.dtype != torch.float32:
            found = f"{action.dtype} {list(action.shape)}"
            yield f"action for a batch {list(shape)} must be float32 {[*shape, BOX.act_dim]}, not {found}"
            return
        if not action.isfinite().all():
            yield "actions are nan or infinite at initialisation"
        if ((action < low - 1e-5) | (action > high + 1e-5)).any():
            yield "actions leave the box: sample() must stay inside [-1, 1]"
    action = actor(_state(256))["action"]
    if action.grad_fn is None:
        yield "actions carry no gradient: sample() must be reparameterised"
    else:
        actor.zero_grad()
        action.sum().backward()
        if not any(p.grad is not None and p.grad.abs().sum() > 0 for p in actor.parameters()):
            yield "sample() sends no gradient to any parameter"
    yield from _losses("bc", actor.bc, actor)
    yield from _optional_findings(actor)
    state = _state(4)
    twin = copy.deepcopy(actor)
    if not torch.equal(_seeded(lambda: actor(state.copy())["action"]), _seeded(lambda: twin(state.copy())["action"])):
        yield "a deep copy acts differently under the same seed: keep all state in parameters and buffers"


def _optional_findings(actor: Actor) -> Iterator[str]:
    """Findings about the methods that only some terms ask for: `sample_with_x` where one reads `("policy", "x")`."""
    observation, inside = torch.randn(8, BOX.obs_dim), 2 * torch.rand(8, BOX.act_dim) - 1
    if actor.mode(observation).shape != (8, BOX.act_dim):
        yield f"mode must give actions [8, {BOX.act_dim}], not {list(actor.mode(observation).shape)}"
    shapes = {"log_prob": (8,), "teacher": (8, BOX.act_dim)}
    for name in sorted({key[1] for term in losses.values() for key in term.reads if key[0] == "policy"} - {"action"}):
        if method := getattr(actor, f"sample_with_{name}", None):
            action, more = method(observation)
            second = shapes.get(name, (8, *more.shape[1:]))
            if action.shape != (8, BOX.act_dim) or more.shape != second or not more.isfinite().all():
                yield f"sample_with_{name} must give actions [8, {BOX.act_dim}] and a finite {list(second)}"
            if not action.requires_grad or not more.requires_grad:
                yield f"sample_with_{name}: gradients must reach the action and what comes with it"
    if denoise := getattr(actor, "denoise", None):
        found = denoise(observation, inside)
        wanted = ((8,), (8, BOX.act_dim), (8,), (8, BOX.act_dim))
        if tuple(tuple(part.shape) for part in found) != wanted:
            yield f"denoise must give loss, noisy, signal and clean of {wanted}"
        elif not torch.equal(
            _seeded(lambda: denoise(observation, inside).loss), _seeded(lambda: actor.clone(observation, inside))
        ):
            yield "denoise must give the loss of clone"


def _critic_findings(entry: str) -> Iterator[str]:
    critic: Critic = critics.build(entry, BOX)
    for shape in ((), (5,), (2, 3)):
        pair = critic(_pair(*shape), torch.full((*shape, 7), 0.5))
        if pair["value"].shape != (*shape, critic.ensemble, 7):
            wanted = [*shape, critic.ensemble, 7]
            yield f"value at 7 levels for a batch {list(shape)} must be {wanted}, not {list(pair['value'].shape)}"
            return
        level = critic(_pair(*shape))["level"]
        if not ((level > 0) & (level < 1)).all():
            yield "its own levels must lie inside (0, 1)"
        if (risk := critic.risk(_pair(*shape), CVaR())).shape != (*shape, critic.ensemble):
            yield f"risk for a batch {list(shape)} must be {[*shape, critic.ensemble]}, not {list(risk.shape)}"
    action = _pair(8)
    leaf = action["action"].requires_grad_()
    value = critic.risk(action, CVaR())
    if value.grad_fn is None or not torch.autograd.grad(value.sum(), leaf)[0].abs().sum() > 0:
        yield "risk carries no gradient to the action: no actor could learn from it"
    yield from _losses("regress", lambda pair: critic.regress(pair, torch.arange(12.0).expand(len(pair), -1)), critic)
    yield from _learns(critic)


def _learns(critic: Critic) -> Iterator[str]:
    """Fit N(3, 2) from single draws, as temporal differences would, and compare with the closed form."""
    optimiser = torch.optim.Adam(critic.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(600):
        optimiser.param_groups[0]["lr"] = 3e-3 * (1 - step / 600)
        target = 3 + 2 * torch.randn(128, 8, generator=generator)
        optimiser.zero_grad()
        critic.regress(_pair(128), target).mean().backward()
        optimiser.step()
    truth: dict[str, tuple[RiskMeasure, float]] = {"the mean": (Neutral(), 3.0)}
    if critic.distributional:
        truth["CVaR_0.25"] = (CVaR(alpha=0.25), 3 - 2 * math.exp(-0.5 * 0.6744898**2) / math.sqrt(2 * math.pi) / 0.25)
    with torch.no_grad():
        for name, (measure, value) in truth.items():
            read = critic.risk(_pair(512), measure).mean().item()
            if not abs(read - value) < 0.5:
                yield f"after fitting N(3, 2) {name} reads {read:.2f}, the truth is {value:.2f}"


def _risk_findings(entry: str) -> Iterator[str]:
    risk: RiskMeasure = risks.build(entry)
    generator = torch.Generator().manual_seed(0)
    value = torch.randn(4, 9, generator=generator, dtype=torch.float64).sort(-1).values
    cells = edges(9, value)
    read = risk(value, cells)
    if read.shape != (4,):
        yield f"atoms [4, 9] must give [4], not {list(read.shape)}"
        return
    if not torch.allclose(risk(torch.full_like(value, 2.5), cells), torch.full_like(read, 2.5)):
        yield "a certain return of 2.5 must read as 2.5: the weights must sum to 1"
    if not torch.allclose(risk(value + 3, cells), read + 3):
        yield "a return shifted by 3 must read 3 higher"
    leaf = value.clone().requires_grad_()
    (weight,) = torch.autograd.grad(risk(leaf, cells).sum(), leaf)
    if (weight < -1e-9).any():
        yield "a better outcome must never lower the measure: no negative weights"
    if isinstance(risk, Distortion):
        yield from _distortion_findings(risk)


def _distortion_findings(risk: Distortion) -> Iterator[str]:
    grid = torch.linspace(0, 1, 201, dtype=torch.float64)
    for name, face in (("level", risk.level), ("distort", risk.distort)):
        value = face(grid)
        if value.shape != grid.shape:
            yield f"{name} must keep the shape of its argument"
            return
        if not value.isfinite().all() or value.min() < 0 or value.max() > 1:
            yield f"{name} must stay inside [0, 1] on [0, 1]"
        if (value.diff() < -1e-12).any():
            yield f"{name} must not decrease"
    if risk.distort(grid[[0, -1]]).tolist() != [0.0, 1.0]:
        yield "distort must map 0 to 0 and 1 to 1: the weights must sum to 1"
    inner = grid[1:-1]
    level = risk.level(inner)  # the first level where distort reaches u, perhaps by a jump
    under, over = (risk.distort((level + gap).clamp(0, 1)) for gap in (-1e-9, 1e-9))
    if (under > inner + 1e-6).any() or (over < inner - 1e-6).any():
        yield "distort must undo level: g(beta(u)) = u"
