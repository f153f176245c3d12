"""Findings about a risk measure."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ramac.registry import risks
from ramac.risk import Distortion, RiskMeasure, edges
from ramac.text import shortened


def risk_findings(entry: str) -> Iterator[str]:
    """Constants, shifts, order and weights of a risk measure."""
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
        yield from distortion_findings(risk)
    yield from dial_findings(entry, risk, value)


def dial_findings(entry: str, risk: RiskMeasure, value: Tensor) -> Iterator[str]:
    """Findings about numbers that may be ranges: each row then has its own, in a Tensor [B, 1]."""
    name, _ = risks.parse(entry)
    plain = risk.of_samples(value)
    for key in (key for key, parameter in risks.parameters(name).items() if parameter.annotation is float):
        if not isinstance(own := vars(risk).get(key), float | int):
            yield f"{key} must be an attribute of that name, or it cannot be a range"
            continue
        try:
            rows = risk.dialled({key: value.new_full((len(value), 1), own)}).of_samples(value)
        except (TypeError, ValueError, RuntimeError) as error:
            yield f"{key} cannot be a range: formulas must take a Tensor [B, 1] for it: {shortened(error)}"
        else:
            if not torch.allclose(rows, plain):
                yield f"{key} cannot be a range: as a Tensor [B, 1] it reads {rows.tolist()}, not {plain.tolist()}"


def distortion_findings(risk: Distortion) -> Iterator[str]:
    """Findings about the two forms of a distortion."""
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
