"""The best policy of a finite decision process, by backward induction, for three objectives of the undiscounted return.

Everything follows from one function of a state and a surplus y: U(s, y) = E min(y + return to go, 0). It is minus the
expected shortfall below -y, and CVaR_alpha = max_y (U(y) / alpha - y).
Paper: Rockafellar & Uryasev 2000, Optimization of Conditional Value-at-Risk; Baeuerle & Ott 2011, Markov decision
processes with average-value-at-risk criteria (the state with the reward so far).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

OBJECTIVES = ("mean", "nested", "static")


@dataclass(frozen=True)
class Process:
    """`horizon` decisions among M actions in N states: state -> action -> afterstate -> chance -> state.

    A reward is known when the action is taken; chance acts through the next state, and the last one pays `terminal`.
    """

    horizon: int
    start: np.ndarray  # [N] probabilities of the first state
    after: np.ndarray  # [N, M] index of the afterstate
    reward: np.ndarray  # [N, M]
    expect: Callable[[np.ndarray], np.ndarray]  # values at next states [N, X] -> their means at afterstates [K, X]
    terminal: np.ndarray  # [N] reward of the last state
    surplus: np.ndarray  # [Y] equally spaced; beyond its ends U is continued with the slopes 1 and 0

    def take(self, value: np.ndarray, action: np.ndarray) -> np.ndarray:
        """U after chance [K, Y] -> U [N, Y] of taking `action` [N]: value(afterstate, y + reward), linear in y."""
        rows, count = np.arange(len(action)), len(self.surplus)
        after, step = self.after[rows, action], self.surplus[1] - self.surplus[0]
        position = self.reward[rows, action] / step
        whole = np.floor(position).astype(int)
        edge = int(np.abs(whole).max()) + 1
        slope = step * np.arange(-edge, 0)
        padded = np.concatenate([value[:, :1] + slope, value, np.repeat(value[:, -1:], edge, 1)], 1)
        found = np.empty((len(action), count))
        for shift in np.unique(whole):  # slices of whole rows: a tenth of the time of an index for each number
            same = whole == shift
            near = padded[after[same], edge + shift : edge + shift + count + 1]
            found[same] = near[:, :-1] + (position[same] - shift)[:, None] * np.diff(near, axis=1)
        return found

    def cvar(self, value: np.ndarray, alpha: float) -> np.ndarray:
        """CVaR at `alpha` of the laws with these U: [..., Y] -> [...]."""
        return (value / alpha - self.surplus).max(-1)


def first_best(each: np.ndarray) -> np.ndarray:
    """Index of the best action [N] of values [N, M]; of equal ones the first, whatever their rounding."""
    return (each >= each.max(1, keepdims=True) - 1e-9).argmax(1)


def best_means(process: Process) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The actions [N] of the best mean and its value [N], from the last step to the first."""
    value = process.terminal
    for _ in range(process.horizon):
        each = process.expect(value[:, None])[:, 0][process.after] + process.reward
        value = each.max(1)
        yield first_best(each), value


@dataclass(frozen=True)
class Optimum:
    """What the best policy of an objective reaches: mean (None for `static`) and CVaR of the whole return."""

    mean: float | None
    cvar: float

    @classmethod
    def of(cls, process: Process, objective: str, alpha: float) -> "Optimum":
        """The optimum of `objective`, with CVaR at level `alpha`.

        mean: E of the return. nested: in each state the action whose return to go has the best CVaR, given the same
        rule afterwards, as a distributional critic with a risk measure does. static: CVaR of the whole return, by
        policies that know the reward so far.
        """
        value, mean = np.minimum(process.surplus + process.terminal[:, None], 0), process.terminal
        means = best_means(process)
        for _ in range(process.horizon):
            ahead, centre = process.expect(value), process.expect(mean[:, None])[:, 0]
            if objective == "static":
                each = (process.take(ahead, np.full(len(mean), m)) for m in range(process.after.shape[1]))
                value = next(each)
                for other in each:
                    np.maximum(value, other, out=value)
                continue
            if objective == "mean":
                action, _ = next(means)
            else:
                action = first_best(process.cvar(ahead, alpha)[process.after] + process.reward)
            value = process.take(ahead, action)
            mean = np.take_along_axis(centre[process.after] + process.reward, action[:, None], 1)[:, 0]
        cvar = float(process.cvar(process.start @ value, alpha))
        return cls(None if objective == "static" else float(process.start @ mean), cvar)
