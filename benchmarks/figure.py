"""The figure of docs/speed.md: standard errors of risk estimates against the number of levels."""

from pathlib import Path

from benchmarks.tables import read

SIZE = (9.6, 3.4)


def draw(results: Path, target: Path) -> None:
    """One panel per measure: dashed independent levels, solid stratified ones, one colour per quantile function."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = read(results / "levels.csv")
    measures, names = (list(dict.fromkeys(row[key] for row in rows)) for key in ("measure", "quantile_function"))
    figure, panels = pyplot.subplots(1, len(measures), figsize=SIZE, layout="constrained")
    for measure, panel in zip(measures, panels, strict=True):
        for index, name in enumerate(names):
            for kind, style in {"independent": "--", "stratified": "-"}.items():
                chosen = [r for r in rows if (r["measure"], r["quantile_function"], r["kind"]) == (measure, name, kind)]
                points = [(int(row["levels"]), float(row["standard_error"])) for row in chosen]
                label = name if kind == "stratified" else None
                panel.plot(*zip(*points, strict=True), style, color=f"C{index}", label=label, linewidth=1.4)
        panel.axvline(8, color="0.8", linewidth=1, zorder=0)
        panel.set(xscale="log", yscale="log", xlabel="levels", title=f"{measure}: solid stratified, dashed independent")
        panel.set_xticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"], minor=False)
        panel.minorticks_off()
    panels[0].set_ylabel("standard error")
    panels[0].legend(frameon=False)
    figure.savefig(target, dpi=110)
    pyplot.close(figure)
