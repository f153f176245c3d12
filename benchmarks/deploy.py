"""Exported policies against `agent.act`: parity and processor time of every actor, as a Markdown table.

python -m benchmarks.deploy [ACTOR...]     one thread, Hopper's sizes, default networks, random weights
"""

import sys

import torch

from ramac.agent import Agent
from ramac.deploy.export import describe
from ramac.deploy.formats import FORMATS, silenced
from ramac.deploy.parity import difference, latency
from ramac.deploy.program import Policy, traced
from ramac.registry import actors
from ramac.spec import Spec

SPEC = Spec.unit(11, 3)


def row(name: str, candidates: int = 1) -> str:
    """Largest difference and times in milliseconds of one actor."""
    torch.manual_seed(0)
    parts = {"actor": name, "critic": "iqn", "risk": "cvar0.1", "candidates": candidates}
    policy = Policy(Agent.build(parts, SPEC).eval(), False)
    with silenced():
        program = traced(policy)
    cells, act = [], {1: "", 256: ""}
    for form in FORMATS.values():
        content = form().encode(program, describe(policy, None))
        run = form().runner(content)
        cells.append(f"{max(difference(policy, run).values()):.1e}")
        for batch in act:
            times = latency(policy, run, batch)
            act[batch] = act[batch] or f"{times['act']:.2f}"
            cells.append(f"{times['file']:.2f}")
    onnx, onnx_1, onnx_256, pt2, pt2_1, pt2_256 = cells
    label = f"`{name}`" + (f", best of {candidates} by `iqn`" if candidates > 1 else "")
    columns = [label, policy.columns, onnx, pt2, act[1], onnx_1, pt2_1, act[256], onnx_256, pt2_256]
    return f"| {' | '.join(map(str, columns))} |"


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print("| actor | noise | onnx | pt2 | act 1 | onnx 1 | pt2 1 | act 256 | onnx 256 | pt2 256 |\n|---|" + "---|" * 9)
    for name in sys.argv[1:] or actors:
        print(row(name), flush=True)
    if not sys.argv[1:]:
        print(row("gaussian", 16), flush=True)


if __name__ == "__main__":
    main()
