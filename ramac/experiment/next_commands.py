"""What to run next: three commands that fit a run or a sweep that has just ended."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from ramac.experiment.config import RunConfig
from ramac.experiment.words import text_of
from ramac.registry import risks, tasks
from ramac.tasks import Task

VALUE_TERMS = ("risk", "risk_onestep", "guidance")  # loss terms through which a risk measure reaches the actor
SHARED = ("task", "hazard", "data", "columns", "seed", "seeds", "trainer", "evaluation", "threads", "device", "gamma")
EXPORTED = "its policy as one file that acts without this library"
Commands = dict[str, str]  # command -> what it is for
Asked = Callable[[str], object]  # whether a module is installed, or a folder exists


def command(*words: str) -> str:
    """`ramac WORDS` as a shell takes it."""
    return shlex.join(["ramac", *words])


def near(path: str | Path) -> str:
    """A path as it is typed here: relative where it is below the working folder."""
    here = Path.cwd()
    return str(Path(path).relative_to(here) if Path(path).is_relative_to(here) else path)


def setting(key: str, value: str | Path) -> str:
    """A word of the command line."""
    return f"{key}={text_of(str(value))}"


def group_of(word: str) -> str:
    """`loss.risk.weight=1` -> `loss`."""
    return word.lstrip("+~").partition("=")[0].partition(".")[0]


def after_run(config: RunConfig, run: str, words: Sequence[str], installed: Asked, exists: Asked) -> Commands:
    """The next three commands after a run in the folder `run`. `words`: its own command line, where it is known."""
    entry, name, run = tasks[config.task["name"]], config.task["name"], near(run)
    export = {command("export", run, portable(installed)): EXPORTED}
    if not entry.has_environment:
        again = {command("estimate", run, "seed=1"): "the same estimate with another seed: does it hold?"}
        if config.estimate["steps"] == 0:  # the run has none
            again = {command("estimate", run): "the return of its policy, from the logged data alone"}
        return {**again, **rival(config, run, words, exists), **export}
    dials = risks.build(config.risk).dials
    curves = {command("plot", run): "its losses and returns over gradient steps"} if config.evaluation["every"] else {}
    if dials:
        key, (low, high) = next(iter(dials.items()))
        values = f"risk.{key}={low:g},{(low + high) / 2:g},{high:g}"
        first = {command("eval", run, values): "mean against CVaR along its dial, as a figure"}
    elif entry.builds_data and installed("moviepy"):
        first = {command("eval", run, "episodes=10", "video=3"): "ten new episodes, and films of three of them"}
    else:
        first = {command("eval", run, "episodes=1000"): "its mean and tail from more episodes"}
    if entry.process is Task.process:
        doctor = {command("doctor", run): "does the critic predict the returns that the policy had?"}
        return dict(list({**curves, **first, **doctor, **export}.items())[:3])
    best = {command("doctor", f"task={name}", f"run={run}"): "how far it is from the best policies, which are known"}
    found = {**(first if dials else rival(config, run, words, exists)), **best, **first, **export}
    return dict(list(found.items())[:3])


def portable(installed: Asked) -> str:
    """File of an exported policy: ONNX where its package is there."""
    return "policy.onnx" if installed("onnx") else "policy.pt2"


def rival(config: RunConfig, run: str, words: Sequence[str], exists: Asked) -> Commands:
    """The same run with another attitude to risk, and a report of both where each is one run with an environment."""
    kept = [word for word in words if group_of(word) not in ("risk", "run_dir", "grid_dir")]
    if not words:
        kept = [setting(key, value) for key, value in config.names.items() if key != "risk"]
    own = config.names["risk"]
    if config.critic["name"] == "mean" or not set(VALUE_TERMS) & set(config.loss):  # no risk measure reaches its actor
        kept = [word for word in kept if group_of(word) in SHARED]
        group, entry, purpose = "recipe", "rafmac", "a risk-averse algorithm on the same data"
    elif own == "neutral":
        group, entry, purpose = "risk", "cvar0.1", "the same run, averse to risk"
    else:
        group, entry, purpose = "risk", "neutral", "the same run, indifferent to risk"
    place = Path(run)
    swapped = place.name.replace(f"-{own}-", f"-{entry}-")
    other = str(place.with_name(swapped if swapped != place.name else f"{place.name}-{entry}"))
    named = group == "risk" and place.name == config.name and place.parent.name == "runs"  # the default has this name
    again = command(*kept, f"{group}={entry}", *([] if named or config.seeds else [setting("run_dir", other)]))
    if config.seeds or not tasks[config.task["name"]].has_environment:
        return {again: purpose}
    both = {command("report", run, other, "--by", group): "both runs on one page"}
    return both if exists(other) else {again: purpose, **both}


def after_sweep(
    grid: Path, overrides: Sequence[Sequence[str]], best: Path | None, config: RunConfig | None, installed: Asked
) -> Commands:
    """The next commands after a sweep with these overrides of its runs. `best`: the best of them, `config`: its own."""
    values: dict[str, set[str]] = {}
    for word in (word for words in overrides for word in words):
        values.setdefault(word.lstrip("+").partition("=")[0], set()).add(word)
    swept = [key for key, words in values.items() if len(words) > 1 and key != "seed"]
    by = ["--by", ",".join(swept)] if swept else []
    found = {command("report", near(grid), *by): "all of them on one page: tables, intervals, figures"}
    if best is not None and config is not None:
        played = tasks[config.task["name"]].has_environment
        again = ("eval", near(best), "episodes=500", "seed=1") if played else ("estimate", near(best), "seed=1")
        found[command(*again)] = "the best run once more: the best of many was lucky too"
        found[command("export", near(best), portable(installed))] = EXPORTED
    return found
