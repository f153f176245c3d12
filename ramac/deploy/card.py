"""The model card of a packed run: Markdown with the front matter that model hubs read."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ramac.deploy.command import command
from ramac.experiment.config import RunConfig
from ramac.registry import risks
from ramac.risk.context import Context
from ramac.text import for_markdown, printable

FRONT = """---
library_name: ramac
pipeline_tag: reinforcement-learning
tags: [reinforcement-learning, offline-reinforcement-learning, risk-sensitive]
# license: fill in
---
"""
USE = """```python
import ramac

agent = ramac.load("FOLDER")  # this folder
action = agent.act(observation{given})  # [*b, O] in the task's units -> [*b, A] inside the action box
```"""
EPISODE = """The policy is for the risk of the return of a whole episode. It reads where the episode stands, numbers or
arrays [*b]: `reward_so_far`, the sum of gamma^i r_i of the steps before t, and `discount`, gamma^t; gamma is {gamma}.
Left out, they are those of an episode's start, 0 and 1."""


def fenced(text: str) -> str:
    """Text of one line as a block of code, whatever it contains."""
    line = printable(text)
    ticks = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", line) or [""]))
    return f"{ticks}\n{line}\n{ticks}"


def number(value: Any) -> str:
    """A figure as tables show it."""
    return f"{value:.2f}" if isinstance(value, int | float) else ""


def table(summary: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A mapping in a summary; empty where there is none, and where it is something else."""
    found = summary.get(key)
    return found if isinstance(found, Mapping) else {}


def results(summary: Mapping[str, Any]) -> Iterator[str]:
    """Rows of the table of returns: statistic, policy, 95 % interval, behaviour."""
    behaviour, intervals = table(summary, "behaviour"), table(summary, "intervals")
    logged = {"mean": behaviour.get("return_mean"), **table(behaviour, "return_cvar")}
    policy = {"mean": summary.get("return_mean"), **table(summary, "return_cvar")}
    yield "| return | policy | 95 % interval | logged data |"
    yield "|---|---|---|---|"
    for key in {**policy, **logged}:
        name = "mean" if key == "mean" else f"CVaR {for_markdown(key)}"
        ends = intervals.get(key)
        between = " to ".join(map(number, ends)) if isinstance(ends, list | tuple) else ""
        yield f"| {name} | {number(policy.get(key))} | {between} | {number(logged.get(key))} |"
    if isinstance(estimate := summary.get("estimate"), Mapping):
        verdict = for_markdown(estimate.get("verdict", ""))
        yield f"\nOff-policy estimate of the mean: {number(estimate.get('mean'))}. {verdict}."


def use(config: RunConfig) -> str:
    """How to act, with the numbers that the risk measure reads."""
    context = Context(risks.build(config.risk))
    values = {name: f"{context.values[name]:g}" if name in context.dials else name for name in context.names}
    given = "".join(f", {name}={value}" for name, value in values.items())
    text = USE.replace("{given}", given)
    if len(context) > len(context.dials):
        text += "\n\n" + EPISODE.replace("{gamma}", f"{config.gamma:g}")
    for name in context.dials:
        low, high = context.ends(name)
        text += f"\n\n`{name}` is a dial of the risk measure, from {low:g} to {high:g}. Left out, it is {values[name]}."
    return text


def card(config: RunConfig, summary: Mapping[str, Any], versions: Mapping[str, Any]) -> str:
    """The model card of a finished run."""
    names = config.names
    repeat = command(config)
    origin = for_markdown(summary.get("data", "not recorded"))
    parts = " x ".join(for_markdown(names[group]) for group in ("actor", "critic", "risk"))
    episodes = f"{for_markdown(summary['episodes'])} evaluation episodes. " if "episodes" in summary else ""
    facts = {
        "task": for_markdown(names["task"]),
        **({"recipe": for_markdown(names["recipe"])} if "recipe" in names else {}),
        "data": origin,
        "SHA-256 of the transitions": for_markdown(summary.get("data_sha256", "not recorded")),
        "loss": for_markdown(", ".join(config.loss)),
        "seed, gradient steps": f"{config.seed}, {for_markdown(config.trainer['steps'])}",
        "acts by": for_markdown(", ".join(f"{key}={value}" for key, value in vars(config.acting).items())),
    }
    sections = [
        f"{FRONT}\n# {for_markdown(config.name)}",
        f"A policy of offline reinforcement learning: {parts}, trained by ramac from logged data only.",
        "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items())]),
        f"## Results\n\n{episodes}Returns are in reward units, CVaR is the mean of the worst share.",
        "\n".join(results(summary)),
        f"## Use\n\n{use(config)}",
        "## Reproduce\n\n" + (fenced(repeat) if repeat else "No command gives this run; `config.yaml` has all of it."),
        "## Versions\n\n" + ", ".join(f"{for_markdown(name)} {for_markdown(text)}" for name, text in versions.items()),
        "## Licence\n\nNot chosen yet: whoever publishes this policy fills in this line and `license` above.",
    ]
    return "\n\n".join(sections) + "\n"
