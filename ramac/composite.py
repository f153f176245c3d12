"""All loss terms over one agent, as a loss module of TorchRL."""

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from tensordict import NestedKey, TensorDict, TensorDictBase
from tensordict.nn import dispatch
from torch import Tensor, nn
from torchrl.envs.utils import ExplorationType
from torchrl.objectives import LossModule

from ramac.agent import Agent
from ramac.errors import InputError
from ramac.losses.batch import DENOISED, check_entry, draw, reads_of
from ramac.losses.term import Term, extras_of
from ramac.registry import GROUPS, label_of

TRAINED = ("critic", "actor")  # parameter groups, in the order in which they are trained


class CompositeLoss(LossModule):
    """The sum of all terms per parameter group, L = sum_k w_k(step) L_k: batch TensorDict [B] -> TensorDict of losses.

    `loss_critic` and `loss_actor` send gradients to their own group only; with Lagrange multipliers there is also
    `loss_multiplier`. Beside them stand each term's `<term>_loss` without its weight, what terms report, such as
    `scale_<term>`, and `multiplier_<term>`, all without gradient. `critic_loss` and `actor_loss` compute one group.

    An action that several terms ask for is sampled once. If terms ask for several extras of the actor, each extra has
    its own draw, and `("policy", "action")` is that of the first one in the order of the terms.

    `target` is the agent of the TD target, a copy whose parameters, `target_agent_params`, SoftUpdate and HardUpdate of
    TorchRL move; buffers are left to the caller. `step` counts gradient steps; whoever trains adds one after each,
    because weights may change over the run. `steps`: gradient steps of the run, of which warm-ups may be fractions.
    `reduction` over the batch: `mean`, `sum` or `none`, which keeps [B]. Other leading dimensions are flattened to [B].
    """

    @dataclass
    class _AcceptedKeys:
        """Names of a batch's entries, also below `next`: after `set_keys(reward="gain")` `("next", "gain")` is read."""

        observation: NestedKey = "observation"
        action: NestedKey = "action"
        reward: NestedKey = "reward"
        terminated: NestedKey = "terminated"
        followed: NestedKey = "followed"

    default_keys = _AcceptedKeys
    tensor_keys: Any
    use_prioritized_weights = False
    deterministic_sampling_mode: Any = ExplorationType.RANDOM  # losses are expectations over the actor's actions
    agent: Agent
    target: Agent
    step: Tensor  # [] gradient steps so far

    def __init__(
        self,
        agent: Agent,
        terms: Mapping[str, Term],
        *,
        steps: int | None = None,
        target: Agent | None = None,
        reduction: Literal["mean", "sum", "none"] = "mean",
    ) -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise InputError(f"reduction must be mean, sum or none, got {reduction!r}")
        device = agent.actor.scaling.centre.device
        self.reduction = reduction
        # as in TorchRL, not registered: their parameters are in `agent_params` and `target_agent_params`
        vars(self)["agent"] = agent
        target = copy.deepcopy(agent) if target is None else target
        vars(self)["target"] = target if target is agent else target.requires_grad_(False)
        self.terms: Any = nn.ModuleDict(terms).to(device)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64, device=device))
        for name, term in terms.items():
            term.check(name, agent, terms)
            if steps is not None:
                try:
                    if text := term.schedule.of_run(steps):
                        warnings.warn(f"loss={name}: {text}", stacklevel=2)
                except ValueError as error:
                    raise InputError(f"loss={name}: {error}") from error
        for name in agent.actor.trained_by:
            if name not in terms and self.group("actor"):
                given = label_of(GROUPS["actor"], type(agent.actor))
                raise InputError(f"actor={given} needs {name} among the losses: loss=[{','.join([*terms, name])}]")
        self.share()
        self._has_update_associated["agent"] = False  # TorchRL warns until a target updater is made
        self.reads = reads_of(terms.values())
        self.others = {"critic": self.parameters_of("actor"), "actor": self.parameters_of("critic")}
        self.set_keys()

    def share(self) -> None:
        """Register the tensors of both agents under the names that TorchRL's target updaters look for."""
        self.agent_params = TensorDict.from_module(self.agent, as_module=True)
        self.target_agent_params = TensorDict.from_module(self.target, as_module=True)

    def __deepcopy__(self, memo: dict[int, Any]) -> "CompositeLoss":
        twin = memo[id(self)] = type(self).__new__(type(self))
        vars(twin).update({key: copy.deepcopy(value, memo) for key, value in vars(self).items()})
        twin.share()  # a copied TensorDictParams holds tensors of its own
        return twin

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "CompositeLoss":
        for part in (self.agent, self.target):  # their buffers are replaced by new tensors
            part._apply(fn, recurse)
        super()._apply(fn)
        self.share()
        return self

    def named_parameters(self, prefix: str = "", recurse: bool = True, **_: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """What is trained: the agent, networks of the terms, and multipliers."""
        found = super().named_parameters(prefix, recurse)
        return ((name, p) for name, p in found if not name.startswith(f"{prefix}target_"))

    def _forward_value_estimator_keys(self, **_: Any) -> None:
        """Called by `set_keys`: tell TorchRL what is read and written."""
        written = [f"loss_{group}" for group in TRAINED if self.group(group)]
        written += ["loss_multiplier"] if self.multipliers() else []
        for name, term in self.terms.items():
            if term.group:
                written += [f"{name}_loss", *(f"{report}_{name}" for report in term.reports)]
                written += [f"multiplier_{name}"] if term.multiplier else []
        self.in_keys: Any = [self.named(key) for key in self.reads]
        self.out_keys: Any = written

    def named(self, key: NestedKey) -> NestedKey:
        """The name in a batch of what terms call `key`."""
        *parents, last = [key] if isinstance(key, str) else key
        name = getattr(self.tensor_keys, str(last), last)
        return (*parents, *((name,) if isinstance(name, str) else name)) if parents else name

    def group(self, name: str) -> dict[str, Term]:
        """Terms that train the parameters of `name`, `"critic"` or `"actor"`."""
        return {key: term for key, term in self.terms.items() if isinstance(term, Term) and term.group == name}

    def parameters_of(self, group: str) -> list[nn.Parameter]:
        """What `group` trains: the actor or the critic, and networks of the group's own terms; no multipliers."""
        own = [(name, p) for term in self.group(group).values() for name, p in term.named_parameters()]
        own = [p for name, p in own if not name.startswith("multiplier.")]
        return [*getattr(self.agent, group).parameters(), *own]

    def multipliers(self) -> dict[str, nn.Parameter]:
        """The Lagrange multipliers' logarithms, by term."""
        terms = {**self.group("critic"), **self.group("actor")}
        return {name: term.multiplier.logarithm for name, term in terms.items() if term.multiplier is not None}

    def sample_losses(
        self, tensordict: TensorDictBase, names: Iterable[str] | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses [B] of a batch [B] by term, per sample and without their weights, and what terms report []."""
        terms = {**self.group("critic"), **self.group("actor")}
        terms = terms if names is None else {name: terms[name] for name in names}
        read = {key: tensordict.get(self.named(key), None) for key in self.reads}
        for key, value in read.items():
            check_entry(key, value, tensordict.batch_size)
        batch = TensorDict(read, tensordict.batch_size)
        self.agent.risk.relabel(batch, self.agent.actor.data_spec.obs_dim)
        self.agent.context.draw(batch, self.agent.actor.data_spec.obs_dim)
        batch.set("step", self.step.expand(tensordict.batch_size))
        asked = [key for term in terms.values() for key in term.in_keys]
        if any(key[0] == "policy" for key in asked):
            batch.set("policy", draw(self.agent.actor, batch.get("observation"), *extras_of(asked)))
        if DENOISED in asked:
            state = self.agent.actor.scaling.observe(batch.get("observation"))
            denoised = self.agent.actor.denoise(state, self.agent.actor.scaling.to_unit(batch.get("action")))  # type: ignore[operator]
            batch.set(DENOISED, TensorDict(denoised._asdict(), tensordict.batch_size))
        losses, reports = {}, {}
        for name, term in terms.items():
            loss, *scalars = found if isinstance(found := term(batch, self.agent, self.target), tuple) else (found,)
            if loss.shape != tensordict.batch_size:
                shapes = f"{list(loss.shape)} for a batch {list(tensordict.batch_size)}"
                raise InputError(f"loss={name} gave {shapes}; a term gives one loss per sample and does not reduce")
            losses[name] = loss
            reports |= {f"{report}_{name}": value for report, value in zip(term.reports, scalars, strict=True)}
        return losses, reports

    def weighted_sum(self, losses: Mapping[str, Tensor], reports: Mapping[str, Tensor], step: Tensor) -> Tensor:
        """Sum of losses [*b] by term, each times its weight at step `step` [], over its scale if it has one."""
        parts = []
        for name, loss in losses.items():
            parts.append(self.terms[name].weight_at(step) / reports.get(f"scale_{name}", 1) * loss)
        return torch.stack(parts).sum(0)

    def group_loss(self, tensordict: TensorDictBase, group: str) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one group, and its other entries in `forward`, among them `loss_multiplier`."""
        batch, terms = tensordict if tensordict.ndim == 1 else tensordict.reshape(-1), self.group(group)
        valid = self.valid(batch)
        with held_out(self.others[group]):
            samples, reports = self.sample_losses(batch if valid is None else batch[valid], list(terms))
        losses = {name: self._reduce_loss(loss) for name, loss in samples.items()}
        if self.reduction == "none" and valid is not None:  # masked samples have no loss
            losses = {k: loss.new_zeros(len(batch)).masked_scatter(valid, loss) for k, loss in losses.items()}
        total = self.weighted_sum(losses, reports, self.step)
        entries = {f"{name}_loss": loss for name, loss in losses.items()} | reports
        entries = {name: value.detach() for name, value in entries.items()}
        held = {name: term.multiplier for name, term in terms.items() if term.multiplier is not None}
        if held:
            weights = {name: terms[name].weight_at(self.step) for name in held}
            # a large multiplier must not fill Adam's memory of squared gradients (Stooke et al. 2020, PID Lagrangian)
            total = total / (1 + torch.stack(list(weights.values())).sum())
            entries |= {f"multiplier_{name}": weight for name, weight in weights.items()}
            active = [(self.step >= terms[name].schedule.warmup).to(total.dtype) for name in held]
            dual = [share * held[name](samples[name]) for share, name in zip(active, held, strict=True)]
            entries["loss_multiplier"] = torch.stack(dual).sum()
        return total, entries

    def valid(self, batch: TensorDictBase) -> Tensor | None:
        """Which samples of a batch [B] count, by the masks of `loss_mask_key`: bool [B]; None without a mask."""
        masks = [mask for key in self._loss_mask_keys() if (mask := batch.get(key, None)) is not None]
        return torch.stack([mask.reshape(len(batch), -1).all(-1) for mask in masks]).all(0) if masks else None

    def critic_loss(self, tensordict: TensorDictBase) -> tuple[Tensor, dict[str, Tensor]]:
        """`loss_critic` of a batch, and its other entries in `forward`."""
        return self.group_loss(tensordict, "critic")

    def actor_loss(self, tensordict: TensorDictBase) -> tuple[Tensor, dict[str, Tensor]]:
        """`loss_actor` of a batch, and its other entries in `forward`."""
        return self.group_loss(tensordict, "actor")

    @dispatch()
    def forward(self, tensordict: TensorDictBase) -> TensorDict:
        result, multiplier = dict[str, Tensor](), []
        for group in TRAINED:
            if self.group(group):
                loss, entries = self.group_loss(tensordict, group)
                multiplier += [entries.pop("loss_multiplier")] if "loss_multiplier" in entries else []
                result |= {f"loss_{group}": loss, **entries}
        if multiplier:
            result["loss_multiplier"] = torch.stack(multiplier).sum()
        return TensorDict(result)


@contextmanager
def held_out(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """No gradient for these parameters from what is computed inside the block."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_()
