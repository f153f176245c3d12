"""Statistics of a log: its size, the returns of its episodes and their tail, and what hazards did."""

from typing import Any

import numpy as np

from ramac.data import Log
from ramac.statistics import tails


def describe(log: Log, horizon: int | None = None) -> dict[str, Any]:
    """Counts, lengths, and returns (reward units) over the first `horizon` steps of each episode, hazards included.

    With hazards also the share of risky steps, the number of penalties and the mean clean return of whole episodes.
    """
    returns, lengths = log.returns(horizon), log.lengths
    found = {
        "episodes": len(returns), "steps": len(log.reward), "horizon": horizon,
        "length_mean": float(lengths.mean()), "length_min": int(lengths.min()), "length_max": int(lengths.max()),
        "terminal": int(log.terminated.sum()),
        "return_mean": float(returns.mean()), "return_std": float(returns.std()),
        "return_min": float(returns.min()), "return_max": float(returns.max()),
        "return_cvar": tails(returns, (0.05, 0.1, 0.25)),
    }  # fmt: skip
    if log.clean_reward is not None and log.risky is not None and log.penalty is not None:
        clean = np.add.reduceat(log.clean_reward.astype(np.float64), log.start)
        found["hazard_rate"], found["penalties"] = float(log.risky.mean()), int((log.penalty != 0).sum())
        found["clean_return_mean"] = float(clean.mean())
    return found
