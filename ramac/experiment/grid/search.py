"""A search: a sweeper asks for trials, some at a time, and each trial is a run in the folder of the sweep."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from omegaconf import OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from ramac.errors import InputError, RunStopped, whole_number
from ramac.experiment.compose import of_tree
from ramac.experiment.config import NEUTRAL, SEEDS
from ramac.experiment.grid.folder import Cell, GridFolder
from ramac.experiment.grid.sweep import Sweep, cell_of, folder_of, launch, makes_no_runs, overrides_of
from ramac.experiment.objective import chosen, value

DIRECTIONS = ("maximize", "minimize")
TRIED = 20  # values of a setting that are checked before the first trial


@dataclass
class Search:
    """Takes the place of the sweeper's launcher, so that every trial has its run folder and none ends the search."""

    sweeper: Any  # of hydra-optuna-sweeper
    launcher: Any  # Hydra's
    grid: GridFolder
    swept: list[str]  # keys of the settings that are searched over
    results: dict[str, tuple[float, Cell]] = field(default_factory=dict)  # of the trials, by name of their run

    @property
    def purpose(self) -> str:
        """`maximize return_mean`."""
        return f"{self.sweeper.direction} {self.sweeper.config.objective or 'the mean return'}"

    @property
    def best(self) -> tuple[float, Cell] | None:
        """Objective and run of the best trial; None where no trial has a result."""
        sign = 1 if self.sweeper.direction == "maximize" else -1
        return max(self.results.values(), key=lambda result: sign * result[0], default=None)

    def searched(self, overrides: Sequence[str]) -> list[str]:
        """Those overrides of a trial that were searched over."""
        return [word for word in overrides if key_of(word) in self.swept]

    def applicable(self, overrides: Sequence[str]) -> list[str]:
        """Without the searched arguments of entries that are not chosen: `loss.risk.weight` beside `loss=[td,bc]`."""
        inner = [word for word in self.searched(overrides) if "." in key_of(word)]
        kept = [word for word in overrides if word not in inner]
        loader = self.sweeper.hydra_context.config_loader
        try:
            tree = loader.load_sweep_config(self.sweeper.config, kept)
        except (HydraException, OmegaConfBaseException):  # told where the trial is made
            return list(overrides)

        def exists(key: str) -> bool:
            parent, _, last = key.lstrip("+").rpartition(".")
            node = OmegaConf.select(tree, parent)
            return OmegaConf.is_config(node) and last in node

        return [word for word in overrides if word not in inner or exists(key_of(word))]

    def try_out(self, trials: list[list[str]]) -> None:
        """Compose some trials before the first is run. Raises InputError for what none of them can take."""
        taken = [self.applicable(words) for words in trials]
        cells = [cell_of(self.sweeper, words) for words in taken]
        lost = set(self.swept) - {key_of(word) for words in taken for word in words}
        if lost:  # a name that no entry has: composing says what there is
            cells = [cell_of(self.sweeper, trials[0])]
        if all(cell.name is None for cell in cells):
            raise InputError(str(cells[0].refused))
        if cells[0].name is not None:
            tree = self.sweeper.hydra_context.config_loader.load_sweep_config(self.sweeper.config, taken[0])
            if not of_tree(tree, taken[0]).path_of_objective:
                raise InputError(
                    "a search compares estimates here, and estimate.steps=0 makes none; choose objective=ood.rate"
                )

    def run(self, arguments: list[str]) -> None:
        """Run all trials; finished ones are not run again. Raises InputError, RunStopped."""
        self.sweeper.launcher = self
        with flag_override(self.sweeper.config.hydra.sweep, ["struct", "readonly"], [False, False]):
            self.sweeper.config.hydra.sweep.dir = str(self.grid.path)  # where the sweeper writes its own result
        try:
            self.sweeper.sweep(arguments)
        except InputError:
            raise
        except (ValueError, AssertionError) as error:
            if self.grid.list_file.exists() and not self.results:  # Optuna's refusal to name the best of none
                return
            raise InputError(
                f"hydra/sweeper=optuna: {' '.join(str(error).split()) or 'it refuses its settings'}"
            ) from error

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run some trials. Without a result the value is None, which the sweeper counts as a failed trial.

        Raises RunStopped when the launcher stops or too many trials fail.
        """
        cells = [cell_of(self.sweeper, self.applicable(overrides)) for overrides in job_overrides]
        unique = list({cell.key: cell for cell in cells}.values())
        self.grid.add(unique)
        unique = [cell for cell in unique if cell.name is None or not self.grid.run(cell).fails_again]
        died = launch(self.launcher, self.sweeper.config, Sweep(self.grid, unique), initial_job_idx)
        if died:
            raise RunStopped(f"the launcher stopped: {died}")
        found = [self.result(cell) for cell in cells]
        failed, most = found.count(None), self.sweeper.max_failure_rate
        if failed / len(found) > most:
            raise RunStopped(f"{failed} of {len(found)} trials failed, hydra.sweeper.max_failure_rate={most}")
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=number) for number in found]

    def result(self, cell: Cell) -> float | None:
        """The objective of a trial, as its summary has it; None where it has none."""
        if cell.name is None or not self.grid.run(cell).summary_file.exists():
            return None
        folder = self.grid.run(cell)
        config, objective = folder.config, self.sweeper.config.objective
        path = chosen(objective, config.task, config.evaluation, config.estimate["steps"] != 0)
        if math.isnan(number := value(folder.summary, path)):
            return None
        self.results[cell.name] = number, cell
        return number


def key_of(word: str) -> str:
    """`risk.alpha=0.1` -> `risk.alpha`."""
    return word.partition("=")[0]


def refuse_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings of the sweeper that it would not explain itself. Raises InputError."""
    if settings.get("storage") is not None:
        text = f"hydra.sweeper.storage={settings['storage']}: a search keeps its trials in grid_dir"
        raise InputError(f"{text}, and the same command continues it")
    if settings.get("custom_search_space") is not None:
        raise InputError(
            "hydra.sweeper.custom_search_space is not for ramac; write the values to choose from as settings"
        )
    rate: Any = settings.get("max_failure_rate")
    if type(rate) not in (int, float) or not 0 <= rate <= 1:
        raise InputError(f"hydra.sweeper.max_failure_rate must be in [0, 1], got {rate}")


def plan_search(sweeper: Any, arguments: list[str]) -> Search:
    """The search of a command, checked as far as can be before the first trial. Raises InputError."""
    parsed = overrides_of(sweeper, arguments)
    swept = [override for override in parsed if override.is_sweep_override()]
    for override in swept:
        if override.get_key_element().lstrip("+") in NEUTRAL:
            raise makes_no_runs(override.get_key_element(), str(override.input_line).partition("=")[2])
    if not swept:
        raise InputError("a search needs values to choose from: 'risk=choice(cvar0.1,wang)' 'gamma=interval(0.9,0.99)'")
    for key in ("n_trials", "n_jobs"):
        whole_number(f"hydra.sweeper.{key}", getattr(sweeper, key), 1, SEEDS)
    if sweeper.direction not in DIRECTIONS:
        raise InputError(f"hydra.sweeper.direction must be {' or '.join(DIRECTIONS)}, got {sweeper.direction}")
    grid = folder_of(sweeper.config, "search", sorted(str(override.input_line) for override in parsed))
    search = Search(sweeper, sweeper.launcher, grid, [override.get_key_element() for override in swept])
    search.try_out(variants(parsed))
    return search


def variants(parsed: Sequence[Override]) -> list[list[str]]:
    """Overrides of the trial with every first value, and of those that differ from it in one setting."""
    values = [values_of(override) for override in parsed]
    first = [words[0] for words in values]
    others = [(place, word) for place, words in enumerate(values) for word in words[1:]]
    return [first, *([*first[:place], word, *first[place + 1 :]] for place, word in others)]


def values_of(override: Override) -> list[str]:
    """The overrides that one of a search stands for: its choices, or the ends of its interval."""
    if not override.is_sweep_override():
        return [str(override.input_line)]
    found, key = override.value(), override.get_key_element()
    if isinstance(found, IntervalSweep):
        return [f"{key}={found.start}", f"{key}={found.end}"]
    return [f"{key}={text}" for text in islice(override.sweep_string_iterator(), TRIED)]
