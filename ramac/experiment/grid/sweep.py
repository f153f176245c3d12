"""From the words of `ramac -m` to the runs of a sweep, and their launch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException, MissingConfigException
from omegaconf import flag_override
from omegaconf.errors import OmegaConfBaseException

from ramac.errors import InputError
from ramac.experiment.compose import explained, of_tree
from ramac.experiment.config import NEUTRAL, SettingError
from ramac.experiment.grid.folder import Cell, GridFolder
from ramac.experiment.words import quoted
from ramac.experiment.writers import refuse_missing
from ramac.system.files import digest


@dataclass(frozen=True)
class Sweep:
    """The runs that a command asks for, and the folder they are in."""

    grid: GridFolder
    cells: list[Cell]

    @property
    def missing(self) -> list[Cell]:
        """The runs that have no result yet."""
        return [cell for cell in self.cells if cell.name and not self.grid.run(cell).summary_file.exists()]


def overrides_of(sweeper: Any, arguments: list[str]) -> list[Override]:
    """What a command gives to a sweeper, the values of a ready sweep first."""
    given = [f"{key}={value}" for key, value in (sweeper.params or {}).items()] + arguments
    return OverridesParser.create(config_loader=sweeper.hydra_context.config_loader).parse_overrides(given)


def combinations(sweeper: Any, arguments: list[str]) -> list[list[str]]:
    """Overrides of every run. Raises InputError for an interval, which has no end of values."""
    parsed = overrides_of(sweeper, arguments)
    if endless := [str(override.input_line) for override in parsed if override.is_interval_sweep()]:
        raise InputError(f"{endless[0]} is for a search: ramac -m hydra/sweeper=optuna {endless[0]}")
    return sweeper.split_arguments(parsed, None)[0]


def refuse_swept(asked: list[list[str]]) -> None:
    """Refuse several values of a setting that the numbers do not depend on. Raises InputError."""
    for key in NEUTRAL:
        pairs = (override.partition("=") for overrides in asked for override in overrides)
        values = dict.fromkeys(value for name, _, value in pairs if name.lstrip("+") == key)
        if len(values) > 1:
            raise makes_no_runs(key, ",".join(values))


def makes_no_runs(key: str, values: str) -> InputError:
    """The refusal of several values of a setting that the numbers do not depend on."""
    here = "is one run's; a sweep takes grid_dir=FOLDER" if key == "run_dir" else "makes no runs; choose one"
    return InputError(f"{key}={values} {here}")


def cell_of(sweeper: Any, overrides: list[str]) -> Cell:
    """One run of a sweep, or why its configuration is refused.

    Raises InputError for an entry that does not exist or a setting that no run accepts: a slip, which no other run
    should wait for.
    """
    try:
        tree = sweeper.hydra_context.config_loader.load_sweep_config(sweeper.config, overrides)
        config = of_tree(tree, overrides)
    except SettingError:
        raise
    except MissingConfigException as error:
        raise InputError(explained(error, overrides)) from error
    except (HydraException, OmegaConfBaseException, InputError) as error:
        return Cell(overrides, None, str(error) if isinstance(error, InputError) else explained(error, overrides))
    if config.seeds is not None:
        raise InputError(f"seeds={config.seeds} is for one run; in a sweep each seed is a run: seed=0,1,2")
    refuse_missing(config.logger)
    return Cell.of(config, overrides)


def folder_of(config: Any, kind: str, asked: list[Any]) -> GridFolder:
    """The folder `grid_dir` of a sweep, by default `runs/<kind>-<digest of what is asked>`. Raises InputError."""
    if config.run_dir is not None:
        raise InputError(f"run_dir={config.run_dir} is one run's; a sweep takes grid_dir=FOLDER")
    name = "-".join([kind, *([str(config.sweep)] if config.get("sweep") else []), digest(asked)])
    grid = GridFolder(Path(config.grid_dir or Path("runs", name)).absolute())
    if (grid.path / "config.yaml").exists():
        raise InputError(f"grid_dir={grid.path} is a run's folder; name a new one or a sweep's")
    return grid


def plan(sweeper: Any, arguments: list[str]) -> Sweep:
    """The runs of a command, written into grid.json. Raises InputError."""
    asked = combinations(sweeper, arguments)
    refuse_swept(asked)
    grid = folder_of(sweeper.config, "grid", sorted(map(sorted, asked)))
    found = [cell_of(sweeper, overrides) for overrides in asked]
    cells = list({cell.key: cell for cell in reversed(found)}.values())[::-1]  # two ways to write a run are one
    if all(cell.name is None for cell in cells):
        raise InputError(str(cells[0].refused))
    grid.add(cells)
    return Sweep(grid, cells)


def launch(launcher: Any, config: Any, sweep: Sweep, first: int = 0) -> str | None:
    """Run what is missing, with job numbers from `first`; returns why the launcher stopped early, else None."""
    with flag_override(config.hydra.sweep, ["struct", "readonly"], [False, False]):
        config.hydra.sweep.dir = str(sweep.grid.path)
    missing = sweep.missing
    jobs = [[*cell.overrides, f"run_dir={quoted(str(sweep.grid.run(cell)))}"] for cell in missing]
    # Hydra's own launcher keeps the configurations of all its jobs until the last one ends: it gets one at a time
    size, failed = 1 if isinstance(launcher, BasicLauncher) else max(1, len(jobs)), list[JobReturn]()
    try:
        for begin in range(0, len(jobs), size):
            results = launcher.launch(jobs[begin : begin + size], initial_job_idx=first + begin)
            failed += [result for result in results if result.status == JobStatus.FAILED]
        for result in failed:
            _ = result.return_value  # raises what a run could not catch
    except Exception as error:  # a worker that was killed, a cluster that is gone
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None
