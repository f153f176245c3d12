"""Observations that are dictionaries or tuples of vectors, as one vector in a known order, by gymnasium's rules.

Each vector in a nested space has a name: its keys, or positions in tuples, joined by dots: `state.velocity`, `0.1`.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple

from ramac.errors import InputError, nearest

NESTED = Dict, Tuple
Keys = tuple[Any, ...]  # what leads to a vector: keys of dictionaries, positions in tuples

IMAGES = "images are not learned from; encode them as vectors first, in the data and by a wrapper of the environment"
CHOICES = (
    "no actor here has a distribution over choices; write each choice one-hot in a box, and wrap the environment"
    " by argmax"
)


def is_image(space: Space[Any]) -> bool:
    """Whether observations are pixels: three dimensions and more, or a table of bytes."""
    return isinstance(space, Box) and (len(space.shape) > 2 or (len(space.shape) == 2 and space.dtype == np.uint8))


def is_vector(space: Space[Any]) -> bool:
    """Whether its elements are vectors of numbers as they are."""
    return isinstance(space, Box) and len(space.shape) == 1


def leaves(space: Space[Any], keys: Keys = ()) -> Iterator[tuple[str, Keys, Space[Any]]]:
    """Name, keys and space of each vector of a space, in the space's order."""
    if isinstance(space, Dict | Tuple):
        inner = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
        for key, part in inner:
            yield from leaves(part, (*keys, key))
    else:
        yield ".".join(map(str, keys)), keys, space


def outermost(space: Space[Any]) -> list[str]:
    """Names of the outermost parts of a nested space."""
    return list(dict.fromkeys(str(keys[0]) for _, keys, _ in leaves(space)))


class Parts:
    """Chosen vectors of a nested space, in a chosen order: `Parts(space, ["observation", "goal.position"])`.

    A name stands for one vector, or for all that lie in it. Raises InputError for a name that the space does not have,
    and for vectors that cannot be flattened.
    """

    def __init__(self, space: Space[Any], chosen: Sequence[str]) -> None:
        known = list(leaves(space))
        self.leaves: list[tuple[str, Keys, Space[Any]]] = []
        for name in map(str, chosen):
            found = [leaf for leaf in known if leaf[0] == name or leaf[0].startswith(f"{name}.")]
            if not found:
                there = [leaf[0] for leaf in known]
                raise InputError(
                    f"observations have no part {name!r}; there are {', '.join(there)}{nearest(name, there)}"
                )
            if twice := [leaf[0] for leaf in found if leaf in self.leaves]:
                raise InputError(f"the part {twice[0]!r} of observations is named twice")
            self.leaves += found
        for name, _, part in self.leaves:
            if is_image(part):
                raise InputError(f"the part {name!r} of observations is {part}: {IMAGES}")
            if not isinstance(part, Box | Discrete | MultiBinary | MultiDiscrete):
                raise InputError(f"the part {name!r} of observations is {part}: only numbers can be flattened")
        if not self.leaves:
            raise InputError(f"observations need at least one part; there are {', '.join(leaf[0] for leaf in known)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the vectors."""
        return tuple(name for name, _, _ in self.leaves)

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of the numbers: `goal[1]`; `mode=2` for a choice, which is one-hot."""
        return tuple(text for name, _, part in self.leaves for text in _coordinates(name, part))

    def flatten(self, observations: Any) -> np.ndarray:
        """Nested arrays with a leading dimension T -> [T, n], as gymnasium's `flatten` makes each row."""
        return np.concatenate([_rows(part, _at(observations, keys)) for _, keys, part in self.leaves], -1)


def _at(value: Any, keys: Keys) -> Any:
    for key in keys:
        value = value[key]
    return value


def _coordinates(name: str, space: Space[Any]) -> Iterator[str]:
    if isinstance(space, Discrete):
        yield from (f"{name}={space.start + i}" for i in range(int(space.n)))
    elif isinstance(space, MultiDiscrete):
        starts, counts = space.start.ravel(), space.nvec.ravel()
        for i, (start, count) in enumerate(zip(starts, counts, strict=True)):
            yield from (f"{name}[{i}]={start + j}" for j in range(count))
    else:
        size = int(np.prod(space.shape or ()))
        yield from (f"{name}[{i}]" for i in range(size)) if size != 1 else iter([name])


def _rows(space: Space[Any], values: Any) -> np.ndarray:
    """[T, ...] of one vector -> [T, n]."""
    rows = np.asarray(values)
    if isinstance(space, Discrete | MultiDiscrete):
        counts, starts = ([space.n], [space.start]) if isinstance(space, Discrete) else (space.nvec, space.start)
        columns = rows.reshape(len(rows), -1) - np.ravel(starts)
        hot = [column[:, None] == np.arange(n) for column, n in zip(columns.T, np.ravel(counts), strict=True)]
        return np.concatenate(hot, -1).astype(np.float32)
    return rows.reshape(len(rows), -1)


class Flattened(gymnasium.ObservationWrapper[Any, Any, Any]):
    """An environment whose nested observations are one vector of these parts. Raises InputError where it lacks one."""

    def __init__(self, env: gymnasium.Env[Any, Any], chosen: Sequence[str]) -> None:
        super().__init__(env)
        self.parts = Parts(env.observation_space, chosen)
        self.observation_space = Box(-np.inf, np.inf, (len(self.parts.coordinates),), np.float64)

    def observation(self, observation: Any) -> np.ndarray:
        rows = [_rows(part, np.asarray(_at(observation, keys))[None]) for _, keys, part in self.parts.leaves]
        return np.concatenate(rows, -1)[0].astype(np.float64)


def as_vectors(env: gymnasium.Env[Any, Any], parts: Sequence[str] | None) -> gymnasium.Env[Any, Any]:
    """The environment with these parts of its nested observations as one vector; None: all, in gymnasium's order.

    Raises InputError where it lacks a part, and for images.
    """
    space, name = env.observation_space, env.spec.id if env.spec else str(env)
    if is_image(space):
        raise InputError(f"{name}: observations are {space}; {IMAGES}")
    if not isinstance(space, NESTED):
        return env
    try:
        flat = Flattened(env, outermost(space) if parts is None else parts)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if parts is None:
        order = ", ".join(flat.parts.names)
        warnings.warn(f"{name}: observations are joined in the order {order}; the data must have it too", stacklevel=2)
    return flat
