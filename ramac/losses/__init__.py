"""Loss terms of behaviour-regularised, risk-aware offline reinforcement learning; `ramac.composite` adds them up.

L_critic = sum of the critic's terms, L_actor = sum of the actor's, each with a weight that may move over time:
with td, bc and risk, L_critic = L_td and L_actor = w_bc L_bc - w_risk(step) rho(Z(s, a)), a ~ pi(.|s).
"""

from collections.abc import Mapping
from typing import Any

from ramac.losses.batch import DENOISED, POLICY_ACTION, POLICY_LOG_PROB, POLICY_TEACHER, draw, pair_of
from ramac.losses.term import Term
from ramac.registry import losses
from ramac.spec import Spec

__all__ = [
    "DENOISED", "POLICY_ACTION", "POLICY_LOG_PROB", "POLICY_TEACHER", "Term", "build_terms", "draw", "pair_of",
]  # fmt: skip


def build_terms(nodes: Mapping[str, Any], spec: Spec) -> dict[str, Term]:
    """Build every term of `nodes` (term -> name or configuration node), each with the terms that it uses.

    Raises InputError.
    """
    typed = {name: losses.typed(losses.plain(node)) for name, node in nodes.items()}
    built: dict[str, Term] = {}
    for name in sorted(typed, key=lambda name: losses[typed[name].name].uses_others):
        built[name] = losses.build(typed[name], spec, list(built.values()))
    return {name: built[name] for name in nodes}
