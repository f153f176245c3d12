"""Columns of data: what float32 holds of them, and their mean and standard deviation."""

from collections.abc import Callable

import numpy as np

from ramac.data.large import blocks, cast

HELD = 1e-3  # standard deviations: the largest rounding error of a column in float32


def varies(values: np.ndarray) -> np.ndarray:
    """Whether columns [T, n] vary by more than rounding, of their type or of what computed them: [n]."""
    resolution = 1e-12 if values.dtype == np.float64 else 2 * np.finfo(values.dtype).eps
    return np.ptp(values, 0) > resolution * magnitude(values)


def magnitude(values: np.ndarray) -> np.ndarray:
    """Largest absolute value of each column of values [T, n]: [n]."""
    return np.abs([values.min(0), values.max(0)]).max(0)


def narrow(*arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays [T] or [T, n] in float32 if it holds all their columns to 1e-3 of the deviation; else as they are.

    Constant columns do not count. Numbers beyond float32 become infinite: they are refused later.
    """
    with np.errstate(over="ignore"):
        single = [cast(array, np.float32) for array in arrays]
    for rounded, array in zip(single, arrays, strict=True):
        if array.dtype == np.float32 or not all(np.isfinite(rounded[rows]).all() for rows in blocks(rounded)):
            continue
        error = np.max([np.abs(array[rows] - rounded[rows]).max(0) for rows in blocks(array)], 0)
        if (varies(array) & (error > HELD * mean_and_std(rounded)[1])).any():
            return list(arrays)
    return single


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [n] of the columns of values [T, n].

    The deviation of a column that varies by rounding only is its magnitude, or 1 if it is 0, so that another value met
    later stays moderate. (TD3+BC adds 1e-3 to all deviations, which presumes observations of unit scale.)
    """
    (mean, std), size = map(np.atleast_1d, mean_and_std(values)), magnitude(values)
    return mean, np.where(varies(values), std, np.where(size > 0, size, 1.0))


def mean_and_std(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the columns of values [T, n] in float64: [n].

    In C order they are those of NumPy to the last bit, without its copy of all values: it adds row to row where n > 1.
    """
    if values.ndim == 1 or values.shape[1] == 1:  # NumPy adds in pairs
        return values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)

    def average(of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        total: np.ndarray | None = None
        for rows in blocks(values):
            part = of(values[rows].astype(np.float64))
            total = (part if total is None else np.concatenate([total[None], part])).sum(0)
        assert total is not None
        return total / len(values)

    mean = average(lambda part: part)
    return mean, np.sqrt(average(lambda part: np.square(part - mean)))
