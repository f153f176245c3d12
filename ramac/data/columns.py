"""Columns of data: what float32 holds of them, and their mean and standard deviation."""

import numpy as np

HELD = 1e-3  # standard deviations: the largest rounding error of a column in float32
BLOCK = 2**16  # steps compared at once


def varies(values: np.ndarray) -> np.ndarray:
    """Whether columns [T, n] vary by more than rounding, of their type or of what computed them: [n]."""
    resolution = 1e-12 if values.dtype == np.float64 else 2 * np.finfo(values.dtype).eps
    return np.ptp(values, 0) > resolution * np.abs(values).max(0)


def narrow(*arrays: np.ndarray) -> list[np.ndarray]:
    """The arrays [T] or [T, n] in float32 if it holds all their columns to 1e-3 of the deviation; else as they are.

    Constant columns do not count. Numbers beyond float32 become infinite: they are refused later.
    """
    with np.errstate(over="ignore"):
        single = [array.astype(np.float32, copy=False) for array in arrays]
    for rounded, array in zip(single, arrays, strict=True):
        if array.dtype == np.float32 or not np.isfinite(rounded).all():
            continue
        blocks = (slice(first, first + BLOCK) for first in range(0, len(array), BLOCK))
        error = np.max([np.abs(array[rows] - rounded[rows]).max(0) for rows in blocks], 0)
        if (varies(array) & (error > HELD * rounded.std(0, dtype=np.float64))).any():
            return list(arrays)
    return single


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [n] of the columns of values [T, n].

    The deviation of a column that varies by rounding only is its magnitude, or 1 if it is 0, so that another value met
    later stays moderate. (TD3+BC adds 1e-3 to all deviations, which presumes observations of unit scale.)
    """
    mean, std = (np.atleast_1d(measure(values, 0, dtype=np.float64)) for measure in (np.mean, np.std))
    size = np.abs(values).max(0)
    return mean, np.where(varies(values), std, np.where(size > 0, size, 1.0))
