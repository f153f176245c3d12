"""docs/logged-numbers.md names every number that a run can log, and none that no run logs."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ramac
from ramac.agent import Agent
from ramac.data import from_arrays
from ramac.evaluation.rollout import Evaluation
from ramac.experiment.loggers import numbers
from ramac.experiment.writers.tables import EPISODE
from ramac.experiment.writers.torchrl import EVALUATION
from ramac.losses import build_terms
from ramac.registry import losses, tasks
from ramac.spec import Spec
from ramac.tasks.bandit import BanditEnv
from ramac.tasks.chain import ChainEnv
from ramac.training.trainer import Trainer

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/logged-numbers.md").read_text(encoding="utf-8")
SPEC = Spec(3, 2, (-1.0,) * 2, (1.0,) * 2, (0.0,) * 3, (1.0,) * 3, 2.0, 3.0)
TOGETHER = (  # actors, and terms that go together; all of them together are all that can be logged
    ("gaussian", ("td", "conservative", "iql", "bc", "risk", "awr", "entropy")),
    ("flow", ("td", "bc", "risk_onestep", "guidance")),
    ("onestep", ("td", "bc", "distill")),
)
TINY = ("actor=gaussian", "actor.hidden=[8]", "critic.hidden=[8]", "trainer.batch_size=8", "trainer.steps=4",
        "threads=1")  # fmt: skip


def named(section: str) -> set[str]:
    """Names in the first column of the tables below a heading of the page."""
    text = re.search(rf"^## {re.escape(section)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert text, section
    cells = re.findall(r"^\| (`[^|]*?) \|", text[1], re.M)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def metrics_of(actor: str, names: tuple[str, ...], batch: Any, held: bool) -> set[str]:
    """What a gradient step logs; `held`: each term has a budget."""
    agent = Agent.build({"actor": actor, "critic": "qr8", "risk": "cvar0.1"}, SPEC)
    budget = {"budget": 1.0} if held else {}
    terms = build_terms({name: {"name": name, **budget} for name in names}, SPEC)
    return set(map(str, Trainer(agent, terms, batch, 0, steps=100).update(batch).keys()))


def test_every_metric_is_on_the_page_and_nothing_else(batch):
    logged = set()
    for (actor, names), held in itertools.product(TOGETHER, (False, True)):
        logged |= metrics_of(actor, names, batch, held)
    assert logged == named("metrics.csv")
    trained = {name for name, term in losses.items() if term.group and term.__module__.startswith("ramac.")}
    assert trained == {name for _, names in TOGETHER for name in names}  # a new term is missing in TOGETHER


def test_every_column_of_the_episodes_is_on_the_page():
    assert named("episodes.csv") == {"step", *EPISODE}


def test_every_statistic_in_other_loggers_is_on_the_page():
    episode = {"return": 1.0, "length": 1, "risky_steps": 0, "penalties": 0}
    statistics = numbers(Evaluation().summary([episode, episode]))
    assert named("In other loggers") == {EVALUATION + name for name in statistics}


def paths(summary: Mapping[str, Any], head: str = "") -> Iterator[str]:
    """Dotted names of a summary's numbers; ALPHA for the keys that are levels, STEP and NETWORK likewise."""
    stands_for = {"return_cvar": "ALPHA", "intervals": "ALPHA", "cvar": "ALPHA", "return_means": "STEP",
                  "evaluations_per_update": "NETWORK", "dial": "NAME"}  # fmt: skip
    for key, value in summary.items():
        last = head.rstrip(".").rpartition(".")[2]
        name = head + (stands_for.get(last, key) if key != "mean" else key)
        if isinstance(value, Mapping):
            yield from paths(value, f"{name}.")
        else:
            yield name


def spoil(monkeypatch, kind: type, place: int, value: Any) -> None:
    """Let `step` of an environment return `value` at a place, after the two environments that are tried out before."""
    sound, count = kind.step, itertools.count(1)

    def step(self, action):
        found = list(sound(self, action))
        if next(count) > 2:
            found[place] = value
        return tuple(found)

    monkeypatch.setattr(kind, "step", step)


def summaries(monkeypatch) -> Iterator[Mapping[str, Any]]:
    """Short runs that together write every key."""
    few = ("evaluation.episodes=4",)
    yield ramac.train(*TINY, *few, "recipe=rafmac", "task.transitions=100", "task.rare=5", "risk.alpha=[0.05,1]",
                      "evaluation.every=2", "evaluation.average=2", run_dir="bandit", quiet=True).summary  # fmt: skip
    random, ones = np.random.default_rng(0), np.ones(300)
    log = from_arrays(np.zeros((300, 1)), random.uniform(-1, 1, (300, 1)), random.normal(size=300), ones, 0 * ones)
    yield ramac.train(*TINY, "task=logs", "estimate.fits=2", "evaluation.every=2", "evaluation.keep=true",
                      run_dir="logs", quiet=True, data=log).summary  # fmt: skip
    spoil(monkeypatch, ChainEnv, 1, math.nan)
    yield ramac.train(*TINY, *few, "task=chain", "task.transitions=300", run_dir="reward", quiet=True).summary
    spoil(monkeypatch, BanditEnv, 0, np.full(1, math.nan))
    yield ramac.train(*TINY, *few, "task.transitions=100", run_dir="observation", quiet=True).summary


@pytest.mark.usefixtures("small_figures")
@pytest.mark.filterwarnings("ignore")
def test_every_key_of_a_summary_is_on_the_page_and_nothing_else(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    written = {path for summary in summaries(monkeypatch) for path in paths(summary)}
    columns = {column.key for kind in tasks.values() for column in kind.columns}
    written |= {"score"}  # of MuJoCo's tasks, whose data are not built here
    assert columns <= written
    assert written == named("summary.json")
