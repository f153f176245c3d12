"""Run folders that somebody else could have written, and what may be changed in them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ramac.agent import Agent
from ramac.checkpoint import save
from ramac.spec import Spec

PARTS = {"actor": "flow", "critic": "qr", "risk": "cvar0.1"}

CONFIG = """task: {name: bandit}
evaluation: {name: default, episodes: 2, alphas: [0.05, 0.1, 0.25]}
loss: {td: {name: td, gamma: 0}}
trainer: {name: default, steps: 2}
actor: {name: flow}
critic: {name: qr}
risk: {name: cvar}
hazard: null
data: null
recipe: null
sweep: null
candidates: 1
temperature: 0.0
mode: false
seed: 0
device: auto
run_dir: null
seeds: null
grid_dir: null
threads: null
log_every: 100
save_every: 1000
save_last: 2
deterministic: false
"""


def write_run(folder: Path) -> Path:
    """A sound run folder of an untrained agent on the bandit."""
    save(Agent.build(PARTS, Spec.unit(1, 2)), PARTS, folder / "checkpoint")
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "summary.json").write_text("{}")
    return folder


def describe(run: Path, change: Callable[[dict], Any]) -> None:
    """Change agent.json. Its checksum is removed: an attacker could write a fitting one."""
    path = run / "checkpoint/agent.json"
    content = json.loads(path.read_text())
    del content["sha256"]
    change(content)
    path.write_text(json.dumps(content))


class Payload:
    """A pickle of it writes the file `pwned` when it is read."""

    def __reduce__(self):
        return os.system, ("touch pwned",)


def put(*keys: Any) -> Callable[[dict], None]:
    """A change for `describe`: put("actor", "steps", 3) sets content["actor"]["steps"] = 3."""

    def change(content: dict) -> None:
        *path, value = keys
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change
