"""Memory of an update beyond parameters, target networks, optimisers and data."""

from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def peak(work: Callable[[], Any], device: torch.device) -> float:
    """Largest size in MB of the tensors that live at once during a call, beyond those alive before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recording:
        work()
    assert recording.profiler is not None and recording.profiler.kineto_results is not None
    recorded: list[Any] = list(recording.profiler.kineto_results.events())
    events = [event for event in recorded if event.name() == "[memory]"]
    alive = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        highest = max(highest, alive)
    return highest / 1e6
