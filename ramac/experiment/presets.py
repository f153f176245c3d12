"""The configuration files that come with the package: published algorithms (recipe) and ready sweeps."""

from pathlib import Path
from typing import Any

import yaml

from ramac.errors import InputError, nearest

# the real folder is at the top of the repository; the wheel packs it into the package
CONFIGS = next(path for path in (parent / "configs" for parent in Path(__file__).parents[1:3]) if path.is_dir())
PRESETS = ("recipe", "sweep")


def presets(group: str) -> dict[str, Path]:
    """The files of `configs/recipe` or `configs/sweep` by name."""
    return {path.stem: path for path in sorted((CONFIGS / group).glob("*.yaml"))}


def known_preset(group: str, name: str) -> None:
    """Refuse a recipe or a sweep that does not exist. Raises InputError."""
    known = presets(group)
    if name not in known:
        raise InputError(f"no {group} {name!r}; choose from {', '.join(known)}{nearest(name, known)}")


def about(path: Path) -> dict[str, Any]:
    """What a preset says about itself: `what`, `paper` and `deviations` of a recipe, `question` of a sweep."""
    return yaml.safe_load(path.read_text(encoding="utf-8")).get("about") or {}
