"""The losses of TorchRL as its own examples train them, on ramac's networks, against ramac's updates.

peers.csv also has rows of code that is no dependency of ramac; this part leaves them as they are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchrl
from tensordict import TensorDict
from tensordict.nn import NormalParamExtractor, TensorDictModule
from torch import nn
from torchrl.data import Bounded, TensorDictReplayBuffer, TensorStorage
from torchrl.modules import Actor, ProbabilisticActor, TanhNormal
from torchrl.objectives import IQLLoss, SoftUpdate, TD3BCLoss

from benchmarks import tables
from benchmarks.contenders import Row
from benchmarks.options import Settings
from benchmarks.plain.common import DECAY, GAMMA, Q, mlp
from benchmarks.timing import alternate, processor_and_wall, spread
from benchmarks.updates import ACT_DIM, BATCH, OBS_DIM, data, ramac_trainer

RESULTS = Path(__file__).parent / "results/peers.csv"
MODE = "flat"  # trainer.compile of the captured updates
STATE: list[Any] = ["observation"]
PAIR: list[Any] = ["observation", "action"]
Update = Callable[[], Any]


def adam(*groups: Any) -> torch.optim.Adam:
    """The optimiser of the examples."""
    return torch.optim.Adam(list(chain(*(group.flatten_keys().values() for group in groups))), 1e-3)


def step(optimiser: torch.optim.Adam, loss: torch.Tensor) -> None:
    """One step of a network."""
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def buffer(logged: TensorDict) -> TensorDictReplayBuffer:
    """Batches of the data, with the entry `done` that these losses read."""
    whole = logged.copy()
    whole["next"] = logged.get("next").copy().set("done", logged["next", "terminated"])
    storage = TensorStorage(whole, device=whole.device or "cpu")
    return TensorDictReplayBuffer(storage=storage, batch_size=BATCH)


def critic(device: torch.device | None) -> TensorDictModule:
    """One critic, which the loss doubles."""
    return TensorDictModule(Q(OBS_DIM, ACT_DIM).to(device), in_keys=PAIR, out_keys=["state_action_value"])


def td3bc(logged: TensorDict) -> Update:
    """TD3BCLoss, with the actor and the targets at every second update."""
    spec = Bounded(-1, 1, torch.Size([ACT_DIM]), device=logged.device)
    actor = Actor(nn.Sequential(mlp(OBS_DIM, (256, 256), ACT_DIM), nn.Tanh()).to(logged.device), spec=spec)
    loss = TD3BCLoss(actor, critic(logged.device), action_spec=spec, loss_function="l2")
    loss.make_value_estimator(gamma=GAMMA)
    batches, average, count = buffer(logged), SoftUpdate(loss, eps=DECAY), 0
    critic_adam, actor_adam = adam(loss.qvalue_network_params), adam(loss.actor_network_params)

    def update() -> None:
        nonlocal count
        batch, count = batches.sample(), count + 1
        step(critic_adam, loss.qvalue_loss(batch)[0])
        if count % 2 == 0:
            step(actor_adam, loss.actor_loss(batch)[0])
            average.step()

    return update


def iql(logged: TensorDict) -> Update:
    """IQLLoss: value, actor and critics one after the other."""
    net = nn.Sequential(mlp(OBS_DIM, (256, 256), 2 * ACT_DIM), NormalParamExtractor()).to(logged.device)
    module = TensorDictModule(net, in_keys=STATE, out_keys=["loc", "scale"])
    actor = ProbabilisticActor(module, in_keys=["loc", "scale"], distribution_class=TanhNormal)
    value = TensorDictModule(mlp(OBS_DIM, (256, 256), 1).to(logged.device), in_keys=STATE, out_keys=["state_value"])
    loss = IQLLoss(actor, critic(logged.device), value, loss_function="l2", temperature=3.0, expectile=0.7)
    loss.make_value_estimator(gamma=GAMMA)
    batches, average = buffer(logged), SoftUpdate(loss, eps=DECAY)
    groups = loss.value_network_params, loss.actor_network_params, loss.qvalue_network_params
    value_adam, actor_adam, critic_adam = map(adam, groups)

    def update() -> None:
        batch = batches.sample()
        step(value_adam, loss.value_loss(batch)[0])
        step(actor_adam, loss.actor_loss(batch)[0])
        step(critic_adam, loss.qvalue_loss(batch)[0])
        average.step()

    return update


LOSSES: dict[str, Callable[[TensorDict], Update]] = {"td3bc": td3bc, "iql": iql}


@contextmanager
def one_thread() -> Iterator[None]:
    """Operators inside the block run on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def ratios(peer: np.ndarray, eager: np.ndarray, captured: np.ndarray) -> Row:
    """Columns of the peer's times [rounds, 2] over ours: quartiles by processor time, median by wall time."""
    row: Row = {}
    for name, own in (("eager", eager), ("captured", captured)):
        ratio = peer / own
        row |= {**spread(name, ratio[:, 0]), f"{name}_wall": float(np.median(ratio[:, 1]))}
    return {**row, "rounds": len(peer)}


def measure(settings: Settings) -> dict[str, list[Row]]:
    """Table `peers`: a row per algorithm, after those of other code that are recorded."""
    logged = data(device=settings.device)
    recorded = tables.read(RESULTS) if RESULTS.exists() else []
    rows: list[Row] = [dict(row) for row in recorded if row["peer"] != "torchrl"]
    for algorithm, make in LOSSES.items():
        work = {"peer": make(logged)}
        for mode in ("off", MODE):
            trainer = ramac_trainer([f"recipe={algorithm}", f"trainer.compile={mode}"], logged)
            work[mode] = lambda trainer=trainer: trainer.update(trainer.batch())
        with one_thread():
            times = alternate(work, 5 if settings.short else 15, clock=processor_and_wall)
        row = {"peer": "torchrl", "revision": torchrl.__version__, "algorithm": algorithm}
        row |= {"compared": "its loss on ramac's networks", "compile": MODE, "threads": 1}
        rows.append({**row, **ratios(times["peer"], times["off"], times[MODE])})
    return {"peers": rows}
