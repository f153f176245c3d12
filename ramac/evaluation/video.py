"""Films of a policy."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ramac.agent import Agent
from ramac.errors import InputError
from ramac.tasks import Task

EVERY: dict[str, Any] = {"episode_trigger": lambda _: True}  # the recorder leaves most episodes out by default


def record(agent: Agent, task: Task, seeds: Sequence[int], folder: Path) -> None:
    """One film per seed of an environment, in `videos/`, by Gymnasium's recorder.

    Starts and hazards are those of the evaluation's episodes, the policy's noise is its own. Raises InputError where
    nothing can be drawn or written.
    """
    from gymnasium.wrappers import RecordVideo

    for i, seed in enumerate(seeds):
        try:
            env = task.environment("rgb_array")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that the folder of the first film is there for the second
                film = RecordVideo(env, str(folder / "videos"), name_prefix=f"film-{i}", disable_logger=True, **EVERY)
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                observation, _ = film.reset(seed=seed)
                over = False
                while not over:
                    action = agent.act(np.asarray(observation)[None])[0]
                    observation, _, terminated, truncated, _ = film.step(action)
                    over = terminated or truncated
            film.close()
        except InputError:
            raise
        except Exception as error:  # no recorder, no renderer, no display: each library has exceptions of its own
            hint = "pip install 'ramac[video]'; without a display MUJOCO_GL=egl or osmesa"
            raise InputError(f"video={len(seeds)} cannot be made: {' '.join(str(error).split())}; {hint}") from error
