"""Run the command line and write where its processor time goes: `python benchmarks/stages.py OUT.json KEY=VALUE...`.

The system interrupts each millisecond of processor time; the time since the last interruption goes to the innermost
stage on the stack. It imports nothing that the command line does not, so that the start counts as it is.
"""

import json
import os
import signal
import sys
import time
from collections import defaultdict
from types import FrameType

INTERVAL = 0.001  # seconds of processor time
REST = "everything else"
STAGES = {  # module:function -> stage
    "importlib._bootstrap:_find_and_load": "imports",
    "ramac.experiment.compose:compose": "compose",
    "ramac.experiment.run:dry_build": "build without data",
    "ramac.tasks:LoggedTask.dataset": "read the data",
    "ramac.experiment.run:build_trainer": "build",
    "ramac.evaluation.rollout:try_out": "try out the environment",
    "ramac.training.trainer:Trainer.run": "gradient steps",
    "ramac.evaluation.rollout:Evaluation.run": "evaluation",
    "ramac.evaluation.rollout:Evaluation.summary": "statistics",
    "ramac.plotting.figures:return_figure": "figure",
    "ramac.tasks:LoggedTask.ood": "detector of OOD actions",
    "ramac.cli._results:print_result": "print the result",
}
END = "end of the process"


def stage_of(frame: FrameType | None) -> str:
    """The innermost stage that a frame is in."""
    while frame is not None:
        name = f"{frame.f_globals.get('__name__')}:{frame.f_code.co_qualname}"
        if name in STAGES:
            return STAGES[name]
        frame = frame.f_back
    return REST


def main(out: str, words: list[str]) -> None:
    """Run `ramac` with these words; write seconds by stage, up to its end, to `out`."""
    spent, last = defaultdict[str, float](float), time.process_time()
    spent["start of Python"] = last

    def sample(_: int, frame: FrameType | None) -> None:
        nonlocal last
        now = time.process_time()
        spent[stage_of(frame)] += now - last
        last = now

    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)
    from ramac.cli import main as command

    sys.argv = ["ramac", *words]
    command()
    signal.setitimer(signal.ITIMER_PROF, 0)
    spent[REST] += time.process_time() - last
    with open(out, "w", encoding="utf-8") as file:
        json.dump(spent, file)


if __name__ == "__main__":
    sys.path[0] = os.path.dirname(sys.path[0])  # the repository, for ramac
    main(sys.argv[1], sys.argv[2:])
