"""Solvers of differential equations."""

import re

import numpy as np
import pytest
import torch

from ramac.errors import InputError
from ramac.registry import GROUPS
from ramac.solvers import ADAPTIVE, integrate
from trials.skewed import SPEC


def grow(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """dx/dt = x (1 + t): x(1) = x(0) exp(3/2)."""
    return x * (1 + t)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_solvers_have_their_order(solver, order):
    """Halving the step divides the error by 2^order."""
    start = torch.ones(1, dtype=torch.float64)

    def error(steps: int) -> float:
        return abs(integrate(grow, start, steps, solver).item() - np.exp(1.5))

    assert np.log2(error(8) / error(16)) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize(("solver", "name"), [("euler", "Euler"), ("midpoint", "Midpoint"), ("rk4", "RungeKutta4")])
def test_fixed_steps_are_those_of_torchdyn(solver, name):
    """The same bits; its rk4 evaluates at the times 0, 0, 1/2, 1/2 of a step, so it is compared without time."""
    ode = pytest.importorskip("torchdyn.numerics.solvers.ode")
    method, start = getattr(ode, name)(), torch.linspace(-1, 1, 7)

    def velocity(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(3 * x + (0 if solver == "rk4" else t))

    theirs = start
    for step in range(3):
        theirs = method.step(velocity, theirs, torch.tensor(step * (0.98 / 3)), 0.98 / 3)[1]
    ours = integrate(velocity, start, 3, solver, 0.98)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6 if solver == "rk4" else 0)


@pytest.mark.parametrize("solver", ADAPTIVE)
@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("end", [1, 0.98])
def test_adaptive_solvers_keep_their_tolerance(solver, tolerance, end):
    """Error and gradient against the closed form, and more evaluations for less tolerance."""
    pytest.importorskip("torchdyn")
    start, counts = torch.tensor([0.5, 1, 2], dtype=torch.float64, requires_grad=True), []

    def count(t: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        counts[-1] += 1
        return grow(t, x)

    for allowed in (tolerance, tolerance / 100):
        counts.append(0)
        factor = np.exp(end + end**2 / 2)
        found = integrate(count, start, 1, solver, end, allowed)
        # relative errors of a linear equation add up; 1 + |x| <= 3 |x|, and one of three rows holds sqrt(3) rms at most
        bound = counts[-1] / 6 * 3 * 3**0.5 * allowed
        assert (found / (start * factor) - 1).abs().max() < bound
        assert (torch.autograd.grad(found.sum(), start)[0] / factor - 1).abs().max() < bound
    assert counts[0] < counts[1]


@pytest.mark.parametrize("solver", ADAPTIVE)
def test_adaptive_solvers_at_the_edges(solver):
    """No rows; a velocity without error, whose gradient is finite; one that is nan, which must not loop for ever."""
    pytest.importorskip("torchdyn")
    assert integrate(grow, torch.empty(0, 2), 1, solver).shape == (0, 2)
    start = torch.ones(4, 1, requires_grad=True)
    still = integrate(lambda t, x: 0 * x + 1, start, 1, solver)
    torch.testing.assert_close(still, start + 1)
    assert torch.equal(torch.autograd.grad(still.sum(), start)[0], torch.ones(4, 1))
    with pytest.raises(FloatingPointError, match="did not arrive in 4000 evaluations"):
        integrate(lambda t, x: x * torch.nan, start, 1, solver)


@pytest.mark.parametrize(("group", "steps"), [("actor", 5), ("critic", 4)])
def test_a_setting_without_effect_is_refused(group, steps, monkeypatch):
    def build(**settings):
        return GROUPS[group].build({"name": "flow", **settings}, SPEC)

    with pytest.raises(InputError, match=f"{group}=flow: tolerance=0.01 has no effect with solver=midpoint.*dopri5"):
        build(tolerance=0.01)
    with pytest.raises(InputError, match=f"{group}=flow: steps=7 has no effect with solver=tsit5.*leave it at {steps}"):
        build(solver="tsit5", steps=7)
    for value in (0.0, 2.0, float("nan")):
        with pytest.raises(InputError, match=f"{group}=flow: tolerance must be at"):
            build(solver="dopri5", tolerance=value)
    monkeypatch.setattr("ramac.solvers.find_spec", lambda name: None)
    command = r"pip install 'ramac\[torchdyn\]' 'torch==" + re.escape(torch.__version__) + "'$"
    with pytest.raises(InputError, match=f"{group}=flow: solver=dopri5 needs the package torchdyn: {command}"):
        build(solver="dopri5")
