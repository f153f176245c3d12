"""Gymnasium environments by id; a missing one is one clear line."""

import os
from dataclasses import replace
from functools import cache
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from ramac.errors import InputError, nearest
from ramac.text import say


@cache
def say_once() -> None:
    """Print each warning of MuJoCo once; MuJoCo itself prints and logs them for every environment."""
    import mujoco

    said: set[str] = set()

    def warn(message: str) -> None:
        if message not in said and "deprecated" not in message:  # deprecations are for the environments' authors
            say(f"mujoco: {message}", error=True)
        said.add(message)

    mujoco.set_mju_user_warning(warn)  # pyright: ignore[reportAttributeAccessIssue]  (missing in its stubs)


def known(spec: EnvSpec) -> EnvSpec:
    """The environment that a dataset names, made by the code that is registered here under that id.

    The entry point in a dataset is not trusted: it would run any module that its author names. Raises InputError for
    an unknown id and for wrappers that are not Gymnasium's or write files.
    """
    if (own := gymnasium.envs.registry.get(spec.id)) is None:
        raise InputError(
            f"these data are of {spec.id}, which is not registered here{nearest(spec.id, gymnasium.envs.registry)};"
            " set task.environment=ID, or name the package that has it: RAMAC_PLUGINS=PACKAGE"
        )
    for wrapper in spec.additional_wrappers:
        module, _, name = str(wrapper.entry_point).partition(":")
        if not module.startswith("gymnasium.wrappers") or name in ("RecordVideo", "HumanRendering"):
            raise InputError(f"these data wrap {spec.id} in {wrapper.entry_point}; set task.environment=ID to leave it")
    return replace(spec, entry_point=own.entry_point, vector_entry_point=own.vector_entry_point)


def make(environment: str | EnvSpec, **options: Any) -> gymnasium.Env:
    """Make a Gymnasium environment. Raises InputError when its id is unknown or its packages are missing."""
    name = environment if isinstance(environment, str) else environment.id
    try:
        if "mujoco" in str(getattr(gymnasium.envs.registry.get(name), "entry_point", "")):
            say_once()
        return gymnasium.make(environment if isinstance(environment, str) else known(environment), **options)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        hint = "; pip install 'ramac[mujoco]'" if "mujoco" in str(error).lower() else ""
        raise InputError(f"{name} needs a package that is not installed: {error}{hint}") from error
    except AttributeError as error:  # PyOpenGL raises it while mujoco is imported
        if "MUJOCO_GL" not in os.environ:
            raise
        raise InputError(f"MUJOCO_GL={os.environ['MUJOCO_GL']} cannot be used here: {error}") from error
    except (TypeError, ValueError, OSError) as error:  # from arguments in a dataset
        raise InputError(f"{name} cannot be made: {error}") from error
    except gymnasium.error.Error as error:
        hint = "" if "did you mean" in str(error).lower() else nearest(name, gymnasium.envs.registry)
        raise InputError(f"no environment {name!r}: {error}{hint}") from error
