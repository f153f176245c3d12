"""Checks for authors of entries: each reports all findings at once, in words.

`check_actor("mine")`, `check_critic("mine")`, `check_risk("mine0.3")` and `check_term("mine")` take a registered name,
with a numeric suffix if it has one, and raise AssertionError with the findings. The test suite runs them over
everything registered.
"""

from collections.abc import Callable, Iterator
from inspect import Parameter

from ramac.actors import Actor
from ramac.critics import Critic
from ramac.losses import Term
from ramac.registry import Registry, actors, critics, losses, risks, summary
from ramac.risk import RiskMeasure
from ramac.testing.actor import actor_findings
from ramac.testing.critic import critic_findings
from ramac.testing.risk import risk_findings
from ramac.testing.term import term_findings


def check_actor(entry: str) -> None:
    """Shapes, action box, gradients, independence of samples, copying. Raises AssertionError with the findings."""
    _report(actors, entry, Actor, actor_findings)


def check_critic(entry: str) -> None:
    """Shapes, gradients, independence of samples, and whether it learns N(3, 2). Raises AssertionError."""
    _report(critics, entry, Critic, critic_findings)


def check_risk(entry: str) -> None:
    """Constants, shifts, order and weights of atoms; for a distortion range, monotonicity and agreement of its forms.

    Also whether its numbers may be ranges. Raises AssertionError with the findings.
    """
    _report(risks, entry, RiskMeasure, risk_findings)


def check_term(entry: str) -> None:
    """Group, keys, shape of the loss, gradient, and what it adds to TD's target. Raises AssertionError."""
    _report(losses, entry, Term, term_findings)


def _report(registry: Registry, entry: str, base: type, findings: Callable[[str], Iterator[str]]) -> None:
    name, _ = registry.parse(entry)
    found = list(_declaration(registry, name, base))
    if not found:
        try:
            found.extend(findings(entry))  # keeps what was found before an error
        except Exception as error:
            found.append(f"{type(error).__name__} while it was tried: {error}")
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
