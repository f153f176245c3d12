"""Gymnasium environments by id, and checks of what they return; whatever is wrong is one clear line."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from gymnasium.wrappers import TransformAction

from ramac.errors import InputError, RunStopped, described, nearest, warn
from ramac.registry import load
from ramac.text import say


class EpisodeLimit(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment that ends by itself, which is stopped where it does not. Raises RunStopped after `steps` steps."""

    def __init__(self, env: gymnasium.Env[Any, Any], steps: int) -> None:
        super().__init__(env)
        self.most, self.count = steps, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.count = 0
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self.count == self.most:
            name = self.spec.id if self.spec else self.env
            text = f"{name} has not ended an episode after {self.most} steps, and never cuts one"
            raise RunStopped(f"{text}; task.horizon=STEPS cuts episodes")
        self.count += 1
        return super().step(action)


class RewardSoFar(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose observations [O] end with sum_t gamma^t r_t so far, and gamma^t: [O + 2]."""

    def __init__(self, env: gymnasium.Env[Any, Any], gamma: float) -> None:
        super().__init__(env)
        self.gamma, self.so_far, self.discount = gamma, 0.0, 1.0
        space = cast("Box", env.observation_space)
        low, high = np.append(space.low, [-np.inf, 0]), np.append(space.high, [np.inf, 1])
        kind: Any = np.promote_types(space.low.dtype, np.float32)
        self.observation_space = Box(low.astype(kind), high.astype(kind), dtype=kind)

    def completed(self, observation: Any) -> np.ndarray:
        """The observation [O] with both numbers: [O + 2]."""
        return np.append(observation, [self.so_far, self.discount]).astype(self.observation_space.dtype)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = super().reset(seed=seed, options=options)
        self.so_far, self.discount = 0.0, 1.0
        return self.completed(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().step(action)
        self.so_far += self.discount * float(reward)
        self.discount *= self.gamma
        return self.completed(observation), reward, terminated, truncated, info


def with_own_dtype(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """The environment, given float32 actions in the type of its box, which rounding does not leave."""
    box = env.action_space
    if not isinstance(box, Box) or box.dtype == np.float32:
        return env
    return TransformAction(env, lambda action: np.clip(np.asarray(action, box.dtype), box.low, box.high), box)


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
    load()  # plug-ins register environments
    try:
        if "mujoco" in str(getattr(gymnasium.envs.registry.get(name), "entry_point", "")):
            say_once()
        return gymnasium.make(environment if isinstance(environment, str) else known(environment), **options)
    except InputError:
        raise
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        hint = "; pip install 'ramac[mujoco]'" if "mujoco" in str(error).lower() else ""
        raise InputError(f"{name} needs a package that is not installed: {error}{hint}") from error
    except AttributeError as error:  # PyOpenGL raises it while mujoco is imported
        if "MUJOCO_GL" in os.environ:
            raise InputError(f"MUJOCO_GL={os.environ['MUJOCO_GL']} cannot be used here: {error}") from error
        raise InputError(f"{name} cannot be made: {described(error)}") from error
    except (TypeError, ValueError, OSError) as error:  # from arguments in a dataset
        raise InputError(f"{name} cannot be made: {error}") from error
    except gymnasium.error.Error as error:
        hint = "" if "did you mean" in str(error).lower() else nearest(name, gymnasium.envs.registry)
        raise InputError(f"no environment {name!r}: {error}{hint}") from error
    except (Exception, SystemExit) as error:  # from the environment's own code
        raise InputError(f"{name} cannot be made: {described(error)}") from error


@contextmanager
def made(environment: str | EnvSpec, **options: Any) -> Iterator[gymnasium.Env]:
    """The environment of `make`, closed when the block ends; a failure to close it is a warning. Raises InputError."""
    env = make(environment, **options)
    try:
        yield env
    finally:
        try:
            env.close()
        except (Exception, SystemExit) as error:  # from the environment's own code
            warn(f"closing {env.spec.id if env.spec else env} failed: {described(error)}")


def checked_observation(value: Any, space: gymnasium.Space) -> np.ndarray:
    """An observation as an array of the space's shape. Raises InputError."""
    found = np.asarray(value)
    if found.dtype == space.dtype and found.shape == space.shape and found.dtype.kind in "fiub":  # nearly always
        return found
    if found.dtype.kind not in "fiub":
        raise InputError(f"an observation must be an array of real numbers, got {clipped(value)}")
    if found.shape != space.shape:
        raise InputError(f"an observation must have shape {space.shape}, got {found.shape}")
    if not np.can_cast(found.dtype, space.dtype or found.dtype, "same_kind"):
        raise InputError(f"an observation must be {space.dtype}, got {found.dtype}")
    return found


def checked_step(found: Any, space: gymnasium.Space) -> tuple[Any, float, bool, bool, Mapping[str, Any]]:
    """What an environment's step returned. Raises InputError where Gymnasium's interface does not allow it."""
    if not isinstance(found, tuple) or len(found) != 5:
        count = f"{len(found)} values" if isinstance(found, tuple) else clipped(found)
        raise InputError(f"step must return observation, reward, terminated, truncated, info; got {count}")
    observation, reward, *ends, info = found
    checked_observation(observation, space)
    if not isinstance(reward, float) and (np.ndim(reward) or np.asarray(reward).dtype.kind not in "fiub"):
        raise InputError(f"a reward must be a real number, got {clipped(reward)}")
    for name, end in zip(("terminated", "truncated"), ends, strict=True):
        if not isinstance(end, bool) and (np.ndim(end) or np.asarray(end).dtype.kind != "b"):
            raise InputError(f"{name} must be true or false, got {clipped(end)}")
    if not isinstance(info, Mapping):
        raise InputError(f"info must be a mapping, got {clipped(info)}")
    return observation, float(reward), bool(ends[0]), bool(ends[1]), cast("Mapping[str, Any]", info)


def clipped(value: object) -> str:
    """A value for a message, at most 60 characters of it."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:60]}..."
