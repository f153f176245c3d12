"""ODE solvers shared by actors and critics: fixed Runge-Kutta steps of our own, adaptive ones of torchdyn."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from ramac.errors import at_least, at_most

TABLEAUX: dict[str, tuple[tuple[float, ...], ...]] = {  # explicit Runge-Kutta: rows a_i of the stages, then weights b
    "euler": ((), (1,)),
    "midpoint": ((), (1 / 2,), (0, 1)),
    "rk4": ((), (1 / 2,), (0, 1 / 2), (0, 0, 1), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}
ADAPTIVE = ("dopri5", "tsit5")  # Dormand and Prince 1980; Tsitouras 2011
TOLERANCE = 1e-3  # of adaptive solvers, absolute and relative: torchdyn's default
EVALUATIONS = 4000  # at most by an adaptive solver: as many as 1000 steps of rk4


def check_solver(solver: str, steps: int, default_steps: int, tolerance: float) -> None:
    """Refuse a solver that cannot run here, or with a setting that would have no effect. Raises ValueError."""
    at_least(1, steps=steps)
    at_most(1000, steps=steps)
    at_least(1e-6, tolerance=tolerance)  # below it, float32 rounding is as large as the error that is controlled
    at_most(1, tolerance=tolerance)
    if solver not in ADAPTIVE:
        if tolerance != TOLERANCE:
            allowed = f"leave it at {TOLERANCE:g}, or choose solver={' or '.join(ADAPTIVE)}"
            raise ValueError(f"tolerance={tolerance:g} has no effect with solver={solver}, of fixed steps; {allowed}")
        return
    if steps != default_steps:
        allowed = f"leave it at {default_steps}, or choose solver={', '.join(TABLEAUX)}"
        raise ValueError(f"steps={steps} has no effect with solver={solver}, which adapts its steps; {allowed}")
    # its dependency torchvision may require another torch: unpinned, pip could replace the one that is here
    pinned = f"pip install 'ramac[torchdyn]' 'torch=={torch.__version__}'"
    if find_spec("torchdyn") is None:
        raise ValueError(f"solver={solver} needs the package torchdyn: {pinned}")
    try:
        import_module("torchdyn.numerics.odeint")
    except Exception as error:  # a torchvision that does not fit this torch raises errors of its own
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"solver={solver}: torchdyn cannot be imported ({reason}): {pinned}") from error


def integrate(
    velocity: Callable[[Tensor, Tensor], Tensor],
    start: Tensor,
    steps: int,
    solver: str,
    end: float = 1,
    tolerance: float = TOLERANCE,
) -> Tensor:
    """Solution at time `end` of dx/dt = velocity(t, x) with x(0) = start, t of one element.

    Fixed solvers take `steps` equal steps without a host-device sync. Adaptive ones take steps whose estimated error is
    below tolerance (1 + |x|), as a root mean square over all of x. Raises FloatingPointError when that is impossible.
    """
    if solver in ADAPTIVE:
        return integrate_adaptively(velocity, start, solver, end, tolerance)
    *stages, weights = TABLEAUX[solver]
    x, size = start, end / steps
    for step in range(steps):
        time, slopes = start.new_full((), step * size), []
        for row in stages:  # a stage's time is the sum of its row: c_i = sum_j a_ij
            slopes.append(velocity(time + sum(row) * size if row else time, moved(x, slopes, row, size)))
        x = moved(x, slopes, weights, size)
    return x


def moved(x: Tensor, slopes: list[Tensor], weights: tuple[float, ...], size: float) -> Tensor:
    """x + size * sum of weighted slopes."""
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            x = x + weight * size * slope
    return x


def integrate_adaptively(
    velocity: Callable[[Tensor, Tensor], Tensor], start: Tensor, solver: str, end: float, tolerance: float
) -> Tensor:
    """`integrate` by torchdyn's embedded Runge-Kutta pairs; the gradient is that of the steps taken, held fixed."""
    from torchdyn.numerics.odeint import odeint  # an extra, and slow to import; the only use of torchdyn
    from torchdyn.numerics.solvers.ode import str_to_solver

    if not start.numel():
        return start
    method: Any = str_to_solver(solver, start.dtype)
    step, count = method.step, 0

    def fixed_size(f: Any, x: Tensor, t: Tensor, dt: Tensor, **more: Any) -> Any:
        return step(f, x, t.detach(), dt.detach(), **more)  # the root of a zero error has a nan gradient

    def counted(t: Tensor, x: Tensor) -> Tensor:
        nonlocal count
        count += 1
        if count > EVALUATIONS:  # torchdyn's loop has no end of its own
            reason = f"the velocity is non-finite, or too stiff for tolerance={tolerance:g}"
            raise FloatingPointError(f"solver={solver} did not arrive in {EVALUATIONS} evaluations: {reason}")
        return velocity(t * end, x) * end

    method.step = fixed_size
    # over [0, 1], where t + (1 - t) is exactly 1 in floating point: torchdyn drops a last step that misses the end
    span = torch.linspace(0, 1, 2, dtype=start.dtype, device=start.device)
    return odeint(counted, start, span, method, atol=tolerance, rtol=tolerance)[1][-1]
