"""ramac estimate RUN [seed=N] [steps=N] [fits=N] [data=PLACE]: estimate a policy's return by the logged data alone

seed=N    of the estimate, by default the run's
steps=N   gradient steps of each fit; by default the run's estimate.steps, else 3000
fits=N    fits to bootstrap samples of the logged episodes; by default the run's estimate.fits
data=PLACE  where the run's data are now; other data are refused
"""

from collections.abc import Iterator
from typing import Any

from ramac.cli import run_of, settings, show_table
from ramac.evaluation.calibration import cvar_name
from ramac.experiment.estimate import of_run
from ramac.statistics import ENOUGH
from ramac.system.runtime import keep_memory
from ramac.text import say, styled

COVERED = "it covered 70 to 97 % of known truths"  # docs/results/offline.md#coverage


def main(arguments: list[str]) -> int:
    """Estimate a run. Raises InputError, and FloatingPointError when a fit diverges."""
    words, given = settings(arguments, "estimate", ("seed", "steps", "fits", "data"))
    keep_memory()
    show(of_run(run_of(words, "estimate"), **given))
    return 0


def show(report: dict[str, Any]) -> None:
    """Print the estimate, its check on the behaviour, the weighted returns, the ranking of checkpoints, the verdict."""
    policy, behaviour = report["policy"], report["behaviour"]
    run, kind = report["run_dir"], "held-out" if behaviour["held_out"] else "training"
    first = f"first states of {policy['starts']} {kind} episodes, gamma {report['gamma']:g}"
    columns = ("", "estimate", "95 % interval", "range of the fits")
    levels = policy["cvar"]
    rows = ((cvar_name(row["alpha"]), f"{row['estimate']:.2f}", span(row), span(row, "member_")) for row in levels)
    show_table(f"{run}: estimated discounted return of the policy, {first}", columns, rows)
    title = f"the same estimator on the behaviour, against {behaviour['episodes']} {kind} episodes"
    columns = ("", "estimate", "returned", "95 % interval of returned")
    show_table(title, columns, predictions(behaviour["cvar"]))
    say(*notes(report))
    show_weighted(report["importance"])
    if choice := report.get("choice"):
        show_ranking(choice)
    say(report["verdict"], bold=report["verdict"])
    say(f"figure and numbers: {(files := f'{run}/estimate.*')}", bold=files)


def show_weighted(found: dict[str, Any]) -> None:
    """Print the returns by importance weighting and what limits them, or why there are none."""
    if levels := found.get("cvar"):
        kind = "held-out" if found["held_out"] else "training"
        title = f"the policy by importance weighting of {found['episodes']} {kind} episodes, {found['propensities']}"
        columns = ("", "estimate", "95 % interval, if covered", "bounds", "effective episodes")
        show_table(f"{title} propensities", columns, map(weighted, levels))
        noise, steps = (", ".join(f"{x:.3g}" for x in found[key]) for key in ("noise", "effective_by_step"))
        say(f"for the policy with noise of {noise} on its actions; effective episodes by step: {steps}")
    say(found["verdict"])


def weighted(row: dict[str, Any]) -> tuple[str, ...]:
    """Name, estimate, interval, bounds and effective episodes; a dash for what there is not."""
    estimate = "-" if row["estimate"] is None else f"{row['estimate']:.2f}"
    ends = ("-" if row[f"{prefix}low"] is None else span(row, prefix) for prefix in ("", "bound_"))
    return cvar_name(row["alpha"]), estimate, *ends, f"{row['effective']:.1f}"


def notes(report: dict[str, Any]) -> list[str]:
    """What limits the estimate, and how far the policy is from the data."""
    behaviour = report["behaviour"]
    found = [f"the interval is of resampled episodes, fits and first states; without a bias of all fits: {COVERED}"]
    worst, count = min(row["alpha"] for row in behaviour["cvar"]), behaviour["episodes"]
    if worst * count < ENOUGH:
        found.append(f"CVaR {worst:g} rests on {worst * count:.1f} of these episodes")
    if not behaviour["held_out"]:
        found.append("the policy and the estimate were trained on these episodes: task=logs holds some out")
    if (share := behaviour["completed"]) > 0.01:
        found.append(f"cut episodes: what lies beyond the cut is estimated, {share:.0%} of a steady reward")
    found.append(miscalibration(behaviour))
    apart = f"{report['distance']['action_rms']:.2f} per coordinate (box -1 to 1)"
    found.append(f"the policy's actions differ from the logged ones in the same states by {apart}")
    if (share := report["left_over"]) > 0.01:
        found.append(f"up to {share:.0%} of the initial error is left; more gradient steps: steps=N")
    return found


def span(row: dict[str, Any], prefix: str = "") -> str:
    """An interval of a row."""
    return f"{row[prefix + 'low']:.2f} to {row[prefix + 'high']:.2f}"


def predictions(cvar: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Name, prediction, realised value and its interval of each row; a missed prediction is red."""
    for row in cvar:
        met = row.get("met", row["low"] <= row["predicted"] <= row["high"])
        predicted = f"{row['predicted']:.2f}" if met else styled(f"{row['predicted']:.2f}", "red")
        yield cvar_name(row["alpha"]), predicted, f"{row['realised']:.2f}", span(row)


def miscalibration(report: dict[str, Any]) -> str:
    """The distance of the PIT from uniform, beside what chance explains."""
    found, chance = report["miscalibration"], report["miscalibration_of_chance"]
    words = "more than chance explains" if found > chance else "within chance"
    return f"calibration: the PIT is up to {found:.3f} from uniform, {words} ({chance:.3f} at 95 %)"


def show_ranking(choice: dict[str, Any]) -> None:
    """Print the table of checkpoints, the best first."""
    levels = (f"CVaR {alpha}" for alpha in choice["rows"][0]["cvar"])
    columns = ("gradient step", "score", "mean", *levels, "out of distribution")
    rows = []
    for row in choice["rows"]:
        numbers = (f"{number:.2f}" for number in (row["score"], row["mean"], *row["cvar"].values()))
        rows.append((row["step"], *numbers, "" if row["ood"] is None else f"{row['ood']:.0%}"))
    show_table(f"checkpoints by {choice['rule']}: {choice['chosen']}", columns, rows)
