"""ramac export RUN FILE.onnx|FILE.pt2 [KEY=VALUE...]: the policy as one file that acts without this library

RUN is a run folder or a checkpoint. The file takes observations in the task's units and, where the policy is random,
noise; it gives actions inside the box. It is compared with agent.act before it is written. What the risk measure reads
(alpha of risk.alpha=[0.05,0.5], the reward so far of risk.horizon=episode) is an input of that name.

deterministic=true        the central action instead of a sample, without noise
candidates=16 temperature=0.5      another acting rule than the run's: the best of 16 samples by the critic
step=2000                 a checkpoint kept by evaluation.keep=true instead of the last
opset=18                  version of the ONNX operators, for an older runtime (.onnx needs pip install 'ramac[onnx]')
"""

from typing import Any

from ramac.cli import settings, show_table
from ramac.deploy.export import SETTINGS, export
from ramac.errors import InputError
from ramac.text import say


def main(arguments: list[str]) -> int:
    """Export a policy. Raises InputError."""
    words, given = settings(arguments, "export", SETTINGS)
    if len(words) != 2:
        raise InputError(f"export takes a run and a file, got {len(words)}: ramac export RUN policy.onnx")
    run, file = words
    show(export(run, file, given))
    return 0


def show(found: dict[str, Any]) -> None:
    """Print how the file compares with the agent."""
    rows = []
    for batch, difference in found["parity"].items():
        times = found["latency_ms"].get(batch, {})
        rows.append((batch, f"{difference:.1e}", *(f"{times[who]:.2f}" if times else "" for who in ("act", "file"))))
    columns = ("batch", "difference / half width", "agent.act, ms", "file, ms")
    noise = f"noise [B, {found['noise']}], standard normal" if found["noise"] else "no noise"
    noise += "".join(f"; {name} [B, 1]" for name in found["context"])
    show_table(f"file against agent.act, same noise; processor time; {noise}", columns, rows)
    say(f"{found['file']}, {found['bytes'] / 1000:.0f} kB", bold=found["file"])
