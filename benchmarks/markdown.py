"""Rows of a csv file as a table of the documentation."""

from collections.abc import Callable

Rows = list[dict[str, str]]


def number(text: str) -> str:
    """Three significant digits."""
    if not text:
        return ""
    value = float(text)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def between(row: dict[str, str], name: str) -> str:
    """`4.04 (3.9 to 4.1)`: median and quartiles; empty for an empty value."""
    if not row[name]:
        return ""
    return f"{number(row[name])} ({number(row[f'{name}_q1'])} to {number(row[f'{name}_q3'])})"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def with_percent(row: dict[str, str], value: str, percent: str) -> str:
    """`33.2 (46 %)`."""
    return f"{number(row[value])} ({float(row[percent]):.0f} %)"


def matrix(rows: Rows, down: str, across: str, cell: Callable[[dict[str, str]], str]) -> str:
    """A table with a row per value of `down` and a column per value of `across`."""
    columns = list(dict.fromkeys(row[across] for row in rows))
    found = {(row[down], row[across]): cell(row) for row in rows}
    names = dict.fromkeys(row[down] for row in rows)
    return table([down, *columns], [[name, *(found.get((name, c), "") for c in columns)] for name in names])


def machine(rows: Rows) -> str:
    """The machine, and its two rates of matrix products."""
    row = rows[0]
    parts = f"{row['device']}, {row['cores']} cores, {row['threads']} threads, torch {row['torch']}, {row['date']}"
    rates = f"{number(row['square_gflops'])} GFLOPS in a square product of 2048"
    levelled = [r for r in rows if r["implementation"] == "ramac" and r["recipe"] in ("radac", "rafmac")]
    own = ", ".join(f"{number(r['own_gflops'])} in {r['recipe']}'s own" for r in levelled)
    return f"{parts};\n{rates}, {own}."


def recipes(rows: Rows) -> str:
    """Speed, ratio, share of the limit, memory."""
    header = ["recipe", "implementation and levels", "updates per second", "ratio to plain", "GFLOP an update"]
    header += ["% of the limit", "% of its own products' rate", "peak MB", "network evaluations"]
    levelled = {row["recipe"] for row in rows if row["implementation"].startswith("plain ")}
    own = {"ramac": "ramac, its own 8", "ramac captured": "ramac captured, its own 8"}
    body = []
    for row in rows:
        spreads = between(row, "updates_per_second"), between(row, "ratio"), number(row["gflop"])
        shares = between(row, "limit_percent"), between(row, "own_limit_percent"), number(row["peak_mb"])
        implementation = row["implementation"]
        if row["recipe"] in levelled:
            implementation = own.get(implementation, implementation)
        body.append([row["recipe"], implementation, *spreads, *shares, row["evaluations"]])
    return table(header, body)


def cells(rows: Rows) -> str:
    """Updates per second of every pair, and the share of the limit."""
    return matrix(rows, "actor", "critic", lambda row: with_percent(row, "updates_per_second", "limit_percent"))


def acting(rows: Rows) -> str:
    """Milliseconds of a decision."""
    for row in rows:
        threads = f"{row['acting_threads']} thread{'s' * (row['acting_threads'] != '1')}"
        row["milliseconds"] = f"{number(row['milliseconds'])} (p90 {number(row['p90'])})"
        row["case"] = f"batch {row['batch']}, {threads}"
    return matrix(rows, "actor", "case", lambda r: r["milliseconds"])


def dataset(rows: Rows) -> str:
    """What data cost."""
    return table(["", "transitions", "measured"], [[r["what"], r["rows"], between(r, "value")] for r in rows])


def precision(rows: Rows) -> str:
    """Updates by the precision of their products, and what it changes."""
    header = ["recipe", "levels", "precision", "an update, ms", "gain", "ratio to plain at the same"]
    header += ["losses differ by", "gradients by"]
    body: list[list[str]] = []
    for row in rows:
        spreads = [between(row, name) for name in ("ms", "gain", "ratio")]
        deviations = [number(row[f"{name}_deviation"]) for name in ("loss", "gradient")]
        body.append([row["recipe"], row["levels"], row["precision"], *spreads, *deviations])
    return table(header, body)


def captured(rows: Rows) -> str:
    """Milliseconds of a gradient step by the way it runs, and what is gained over eager steps."""
    machine = "{device}, threads: {threads}, torch {torch}, {date}".format(**rows[0])
    header = ["recipe", "`trainer.compile`", "a gradient step, ms", "gain", "to capture, s"]
    body = [
        [row["recipe"], row["compile"], between(row, "ms"), between(row, "gain"), number(row["capture_seconds"])]
        for row in rows
    ]
    return f"{machine}.\n\n{table(header, body)}"


def peers(rows: Rows) -> str:
    """Other people's code: its time over ours, eager and captured."""
    header = ["code", "algorithm", "networks and data", "its time over ours, eager", "over ours, captured"]
    header += ["by wall time"]
    body = []
    for row in rows:
        times = [between(row, name) for name in ("eager", "captured")]
        wall = ", ".join(number(row[f"{name}_wall"]) for name in ("eager", "captured"))
        code = f"{row['peer']} {row['revision']}"
        body.append([code, row["algorithm"], row["compared"], *times, wall])
    row = rows[0]
    modes = ", ".join(f"`trainer.compile={mode}`" for mode in dict.fromkeys(row["compile"] for row in rows))
    machine = f"{row['device']}, one thread, torch {row['torch']}, {row['date']}; captured: {modes}."
    return f"{machine}\n\n{table(header, body)}"


def startup(rows: Rows) -> str:
    """Seconds of commands in fresh processes."""
    return table(["command", "seconds"], [[f"`{r['command']}`", between(r, "seconds")] for r in rows])


def end_to_end(rows: Rows) -> str:
    """Seconds of processor time of one run by stage; stages below a hundredth of a second are left out."""
    return table(
        ["stage", "seconds"], [[r["stage"], between(r, "seconds")] for r in rows if float(r["seconds"]) >= 0.01]
    )


def shares(name: str) -> Callable[[Rows], str]:
    """Table of milliseconds and percent of an update by `name`, largest first."""
    return lambda rows: matrix(rows, name, "cell", lambda row: with_percent(row, "milliseconds", "percent"))
