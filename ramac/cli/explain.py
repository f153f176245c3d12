"""ramac explain KEY=VALUE...: what each loss term does on the first batch, before anything is trained

The same as ramac KEY=VALUE... --explain.
"""

from ramac.cli import show_table
from ramac.cli.train import split
from ramac.errors import InputError
from ramac.experiment.compose import compose
from ramac.experiment.explain import PARTS, explain
from ramac.text import say


def main(arguments: list[str]) -> int:
    """Print the table; nothing is trained or written. Raises InputError."""
    if {"-m", "--multirun"} & set(arguments):
        raise InputError("--explain is about one run; leave out -m")
    flags, words = split(arguments)
    if flags:
        raise InputError(f"--explain takes settings only; leave out {flags[0]}")
    trainer, terms, together = explain(compose(words))
    rows = []
    for row in terms:
        weights = " ".join(f"{weight:.3g}" for weight in row["weights"])
        gradient = f"{row['gradient']:.3g}" if "gradient" in row else "-"
        rows.append((row["term"], row["trains"], weights, gradient, described(row.get("evaluations", {}))))
    moments = "weight at " + ", ".join(map(str, PARTS)) + f" % of {trainer.steps} steps"
    columns = ("term", "trains", moments, "gradient", "evaluations")
    show_table(f"loss terms on the first batch of {trainer.batch_size}", columns, rows)
    say("Gradient norms are those that the optimiser gets at the last weight, before clipping.")
    every = f"; the actor's every {trainer.delay} gradient steps" if trainer.delay > 1 else ""
    say(f"Evaluations per gradient step, shared samples counted once: {described(together)}{every}.")
    return 0


def described(count: dict[str, int]) -> str:
    """`actor 5, critic (no gradient) 1`."""
    return ", ".join(f"{name} {number}" for name, number in sorted(count.items())) or "none"
