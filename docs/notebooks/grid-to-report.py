# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From a grid to a report
#
# A grid trains every combination of settings. A report compares the runs: tables with intervals, and figures. Here: two
# risk measures and two seeds on the [risky bandit](../results/bandit.md), which the notebook
# [A first run](first-run.py) explains.
#
# Four runs of 600 gradient steps take about 15 seconds on one core. Two seeds are a demonstration, and no result.

# %%
import ramac

# %% [markdown]
# ## The grid
#
# A list holds the values of a setting. The same call again runs only what is missing.

# %%
settings = {
    "actor": "mixture16",
    "critic": "qr32",
    "candidates": 16,
    "actor.hidden": "[64,64]",
    "critic.hidden": "[64,64]",
    "trainer": {"steps": 600, "batch_size": 128, "actor_lr": 5e-3, "critic_lr": 3e-3},
    "evaluation.episodes": 500,
    "threads": 1,
}
grid = ramac.sweep(
    settings, loss=[["td", "bc"]], risk=["neutral", "cvar0.1"], seed=[0, 1], grid_dir="grid", quiet=True
)
grid.rows[["risk", "seed", "state", "return_mean", "mass_centre", "mass_ring"]].round(2)

# %% [markdown]
# On the command line: `ramac -m risk=neutral,cvar0.1 seed=0,1 grid_dir=grid ...`. It has
# [launchers](../grids.md#launchers) for several cores and for clusters.
#
# `rows` is a pandas DataFrame, with the numbers of each run's summary. The spread of the seeds:

# %%
grid.rows.groupby("risk")["return_mean"].agg(["min", "max"]).round(2)

# %%
assert (grid.rows["state"] == "done").all()

# %% [markdown]
# ## The report
#
# `by` names the settings that make a group; seeds of a group are taken together. `baseline` is the group to compare
# with. The page is `report/index.html`, with the same tables as csv, Markdown and LaTeX, and the figures as PDF and SVG.

# %%
report = ramac.report("grid", by=["risk"], baseline="risk=neutral", out="report", quiet=True)
sorted(path.name for path in report.folder.iterdir())

# %% [markdown]
# The tables are DataFrames too. The first one has a row per group, and the logged data. `mean_low` and `mean_high` are
# the ends of the 95 % interval of the mean, over seeds and episodes.

# %%
report.tables["results"].T

# %% [markdown]
# ## Against the baseline

# %%
report.tables["comparison"].T

# %% [markdown]
# ## The plane of mean and CVaR

# %%
ramac.plot("grid", "plane", by="risk", quiet=True)
