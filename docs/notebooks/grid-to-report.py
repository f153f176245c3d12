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
# Four runs of 300 gradient steps take about 15 seconds on one core. Two seeds are a demonstration, and no result.

# %%
import pandas as pd

import ramac

# %% [markdown]
# ## The grid
#
# The mapping fixes settings of all runs. A list in a keyword argument holds the values of a setting. The same call
# again runs only what is missing.

# %%
settings = {
    "actor": "mixture16",
    "loss": ["td", "bc"],
    "candidates": 16,
    "actor.hidden": [64],
    "critic": "qr16",
    "critic.hidden": [64, 64],
    "critic.ensemble": 1,
    "trainer.steps": 300,
    "trainer.actor_lr": 0.02,
    "trainer.critic_lr": 0.02,
    "trainer.average_decay": 0.98,
    "evaluation.episodes": 200,
    "threads": 1,
}
grid = ramac.sweep(
    settings,
    risk=["neutral", "cvar0.1"],
    seed=[0, 1],
    grid_dir="grid",
    quiet=True,
)
columns = ["risk", "seed", "return_mean", "mass_centre", "mass_ring"]
grid.rows[columns].round(2)

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
# `by` names the settings that make a group; the seeds of a group are taken together. `baseline` is the group to compare
# with. The folder has a page, `index.html`, the same tables as csv, Markdown and LaTeX, and the figures as PDF and SVG.

# %%
report = ramac.report(
    "grid",
    by=["risk"],
    baseline="risk=neutral",
    out="report",
    quiet=True,
)
print(report.size)
print(*sorted(path.name for path in report.folder.iterdir()))

# %% [markdown]
# The tables are DataFrames too. The first one has a row per group, and one for the logged data, which have no interval.

# %%
results = report.tables["results"].set_index("risk")
ends = ["mean", "mean_low", "mean_high", "cvar", "cvar_low", "cvar_high"]
results[ends].round(2)

# %% [markdown]
# `mean_low` and `mean_high` are the ends of the 95 % interval of the mean; it resamples episodes. Another seed is
# another training, which the interval does not cover. For that, look at the lowest and the highest seed:

# %%
seeds = ["mean_seed_min", "mean_seed_max", "cvar_seed_min", "cvar_seed_max"]
results[seeds].dropna().round(2)

# %% [markdown]
# ## Against the baseline
#
# Differences are "this group minus the baseline". `P(improvement)` is the probability that an episode returns more than
# one of the baseline.

# %%
comparison = report.tables["comparison"].iloc[0]
keys = ["difference_mean", "difference_cvar", "probability_of_improvement"]
pd.DataFrame(
    [comparison[[key, f"{key}_low", f"{key}_high"]].tolist() for key in keys],
    index=["difference of the mean", "difference of CVaR_0.1", "P(improvement)"],
    columns=["value", "low", "high"],
).round(2)

# %% [markdown]
# ## Mean against CVaR
#
# A policy that is better in both lies above and to the right. Large marks are groups with their intervals, small marks
# are runs.

# %%
ramac.plot("grid", "plane", by="risk", quiet=True)

# %% [markdown]
# ## What may one conclude?
#
# - **CVaR**: `risk=cvar0.1` is better in these runs. The interval of the difference is far above 0, and both seeds of
#   one group are above both seeds of the other.
# - **Mean**: nothing. The interval of the difference contains 0. The hazards are rare, so the mean of a ring policy
#   moves by ones with the draw of its episodes.
# - **P(improvement)** is below 0.5: most single episodes of the ring return more. It says nothing about the size of a
#   loss.
# - **Other seeds**: little. With two seeds there is no useful interval over seeds. Five or more are usual, and the same
#   call with `seed=[0, 1, 2, 3, 4]` runs only the missing ones.
# - **Other tasks**: nothing.

# %%
low, high = results["cvar_seed_min"], results["cvar_seed_max"]
assert comparison["difference_cvar_low"] > 0
assert low["cvar0.1"] > high["neutral"]
assert comparison["difference_mean_low"] < 0 < comparison["difference_mean_high"]
assert comparison["probability_of_improvement_high"] < 0.5

# %% [markdown]
# ## Next
#
# - [Sweeps](../grids.md): ready sweeps, several cores, clusters, a search.
# - [Reports](../reports.md): all columns, and what the bold numbers mean.
# - [Plots](../plots.md): the other figures.
