"""D4RL's files: flat arrays of steps in HDF5."""

from os.path import isfile
from pathlib import Path
from typing import Any

from ramac.data import Log, from_arrays
from ramac.data.sources import Source
from ramac.data.storage import reason
from ramac.errors import InputError, nearest
from ramac.registry import sources

KEYS = ("observations", "actions", "rewards", "terminals", "timeouts")


@sources.register("d4rl")
class D4RL(Source):
    """A D4RL file (HDF5): `observations actions rewards terminals timeouts`, perhaps `next_observations`.

    Paper: Fu et al. 2020, D4RL.
    """

    def load(self, place: str) -> Log:
        path = Path(place).expanduser()
        if not isfile(path):
            near = sorted(str(p) for p in path.parent.glob("*.h*5")) if path.parent.is_dir() else []
            raise InputError(f"no file {str(path)!r}{nearest(str(path), near)}")
        try:
            return from_arrays(**_arrays(path))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except (OSError, RuntimeError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} cannot be read: {reason(error)}") from error


def _arrays(path: Path) -> dict[str, Any]:
    """The arguments of `from_arrays`. Raises InputError naming the missing key."""
    import h5py

    with h5py.File(path, "r") as file:
        keys = list(file)
        if missing := next((key for key in KEYS if not isinstance(file.get(key), h5py.Dataset)), None):
            if missing in keys:
                raise InputError(f"{missing!r} is a group of arrays, not one array")
            hint = "; it is Minari's storage: name the dataset's folder" if "episode_0" in keys else ""
            found = ", ".join(keys[:12]) + (", ..." if len(keys) > 12 else "")
            raise InputError(
                f"the file has no {missing!r}{nearest(missing, keys)}; a D4RL file has {', '.join(KEYS)}"
                f" and perhaps next_observations; this one has {found or 'nothing'}{hint}"
            )
        nodes: dict[str, Any] = {key: file[key] for key in (*KEYS, "next_observations") if key in keys}
        return {key: node[()] for key, node in nodes.items()}
