"""Hydra looks here for sweepers: `ramac -m hydra/sweeper=optuna` hands its trials to ramac.cli.grid."""

import logging
from inspect import signature
from typing import Any

from hydra.plugins.sweeper import Sweeper
from omegaconf import OmegaConf


class RamacSearch(Sweeper):
    """A search by hydra-optuna-sweeper, each of whose trials is a run in a folder of its own."""

    def __init__(self, sampler: Any, **settings: Any) -> None:
        from hydra.utils import instantiate
        from hydra_plugins.hydra_optuna_sweeper.optuna_sweeper import OptunaSweeper  # the extra `optuna`

        from ramac.experiment.grid.search import refuse_settings

        refuse_settings(settings)
        if "seed" in sampler and sampler.seed is None:  # the same command asks for the same trials
            sampler = OmegaConf.merge(sampler, {"seed": 0})
        if "search_space" in signature(OptunaSweeper).parameters:  # hydra-optuna-sweeper 1.3, which takes it made
            sampler, settings = instantiate(sampler), {**settings, "search_space": None}
        self.optuna = OptunaSweeper(sampler, **settings)

    def setup(self, **context: Any) -> None:
        self.optuna.setup(**context)

    def sweep(self, arguments: list[str]) -> Any:
        from optuna.logging import set_verbosity

        from ramac.cli.grid import search  # when asked: Hydra imports this file in every program that uses it

        set_verbosity(logging.WARNING)  # Optuna would tell each trial a second time
        return search(self.optuna.sweeper, arguments)
