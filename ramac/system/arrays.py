"""Arrays of NumPy in the types and layouts that torch has."""

import numpy as np


def as_torch_takes(array: np.ndarray) -> np.ndarray:
    """A copy of real numbers [*b] in a type and layout that torch has.

    It has no other byte orders, negative strides or read-only memory. Types of torch are kept; long double and unsigned
    integers of more than a byte become float64.
    """
    kind = array.dtype.newbyteorder("=")
    if kind.itemsize > {"f": 8, "u": 1}.get(kind.kind, 8):
        kind = np.dtype(np.float64)
    return np.array(array, kind, order="C")
