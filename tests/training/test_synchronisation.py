"""A gradient step forces no host-device sync: it reads no value on the host and copies none from the host.

Shown without a GPU: tensors on torch's device `meta` have no values, so reading one is an error.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import diffusers
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.updates import data, ramac_trainer
from ramac.experiment.compose import compose
from ramac.experiment.presets import presets
from ramac.training.trainer import Trainer

SCHEDULERS = ("DDPMScheduler", "DPMSolverMultistepScheduler", "EDMDPMSolverMultistepScheduler")
LATE = "++loss.risk.warmup=0"  # the risk counts at once
CELLS = [
    *[f"recipe={recipe}" for recipe in presets("recipe")],
    "actor=edm critic=expectile", "actor=dpmsolver critic=flow", "actor=shortcut critic=fqf",
    "actor=mixture critic=ncqr", "actor=ddim critic=c51", "actor=vae critic=hlgauss",
    "loss=[td,bc,entropy,risk] actor=gaussian", "loss=[td,bc,guidance]", "loss=[td,bc,risk_onestep]",
    "loss=[td,bc] loss.bc.budget=0.1", "loss.td.aggregation=tqc", "loss.td.aggregation=risk_min loss.td.candidates=3",
    "loss.td.aggregation=own loss.risk.members=pooled", "critic=qr risk=wang loss.risk.members=pooled",
    "critic=qr risk=cvar risk.alpha=[0.05,0.5]", "critic=qr risk=cvar risk.alpha=[0.05,0.5] risk.horizon=episode",
]  # fmt: skip


class Copies(TorchDispatchMode):
    """Notes every operation that copies a tensor from the host to the device; a scalar argument is allowed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = [argument.device.type for argument in args if isinstance(argument, torch.Tensor)]
        name = func.overloadpacket.__name__
        to_device = isinstance(result, torch.Tensor) and result.device.type == "meta"
        if to_device and name in ("_to_copy", "copy_") and "cpu" in given:
            self.found.append(name)
        return result


@pytest.fixture
def without_values(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`meta` has no generators, so the host's are used; diffusers must be imported before the patch."""
    assert all(getattr(diffusers, name) for name in SCHEDULERS)
    own = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device=None: own())
    monkeypatch.setattr(import_module("torch.optim.adam"), "_device_dtype_check_for_fused", lambda _: None)
    with torch.library._scoped_library("aten", "IMPL") as library:  # torch's fused Adam knows no meta
        library.impl("_fused_adam_.tensor_lr", lambda *_, **__: None, "Meta")
        yield


def trainer_without_values(cell: str) -> Trainer:
    logged = data(100)
    logged["next", "action"], logged["next", "followed"] = logged["action"], logged["next", "terminated"]
    overrides = ["trainer.batch_size=8", "trainer.delay=1", "trainer.compile=off", *cell.split()]
    overrides += [LATE] if "risk" in compose(overrides).loss else []
    return ramac_trainer(overrides, logged.to("meta"))


def after(trainer: Trainer, work: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Do some work on the losses per sample of each gradient step."""
    compute = trainer.loss.sample_losses

    def computed(*given: Any) -> Any:
        losses, reports = compute(*given)
        work(losses)
        return losses, reports

    trainer.loss.sample_losses = computed


@pytest.mark.filterwarnings("ignore:this critic learns the mean only")
@pytest.mark.parametrize("cell", CELLS)
def test_a_step_forces_no_sync(cell: str, without_values: None) -> None:
    trainer = trainer_without_values(cell)
    trainer.update(trainer.batch())  # the first makes the optimisers' state
    with Copies() as copies:
        metrics = trainer.update(trainer.batch())
    assert copies.found == []
    assert metrics["gradient_norm_actor"].device.type == "meta"


@pytest.mark.parametrize("read", [float, bool, torch.Tensor.tolist, torch.Tensor.nonzero, torch.Tensor.cpu])
def test_a_value_read_on_the_host_is_noticed(read: Any, without_values: None) -> None:
    trainer = trainer_without_values("recipe=bc")
    after(trainer, lambda losses: print(read(losses["bc"].detach().sum())))
    with pytest.raises(RuntimeError):  # NotImplementedError is one
        trainer.update(trainer.batch())


def test_a_copy_from_the_host_is_noticed(without_values: None) -> None:
    trainer = trainer_without_values("recipe=bc")
    after(trainer, lambda losses: losses.update(bc=losses["bc"] * torch.ones(8).to("meta")))

    with Copies() as copies:
        trainer.update(trainer.batch())
    assert copies.found == ["_to_copy"]
