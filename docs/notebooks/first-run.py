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
# # A first run
#
# We train two policies on the same data. Only the risk measure differs: the mean, and CVaR at level 0.1, which is the
# mean of the worst 10 % of the returns. Then we look at what this changes.
#
# The data are 10 000 logged draws of the [risky bandit](../results/bandit.md). An action is a point of the plane.
#
# | region | share of the data | return | mean | CVaR_0.1 |
# |---|---|---|---|---|
# | safe centre | 25 % | about 5 | 5 | 4.1 |
# | risky ring | 75 % | about 9, but with probability 5 % a hazard: about -50 | 6.05 | -21 |
# | outside the data | | 0 | 0 | 0 |
#
# So the ring is best for the mean, and the centre for CVaR.
#
# This is a demonstration, and no result: one seed, 300 gradient steps, small networks. A policy takes about five
# seconds on one core. Measured results: [the risky bandit](../results/bandit.md).

# %%
import numpy as np
import pandas as pd

import ramac

# %% [markdown]
# ## Train
#
# Each part is one word. The actor is a mixture of 16 Gaussians; it imitates the data (`bc`). The critic learns 16
# quantiles of the return (`td`). When the policy acts, it draws 16 candidates from the actor, and takes the one whose
# return has the best risk measure. `ramac list` shows the other actors, critics and risk measures.

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
    "evaluation.episodes": 500,
    "log_every": 10,
    "threads": 1,
}
averse = ramac.train(settings, risk="cvar0.1", run_dir="averse", quiet=True)

# %% [markdown]
# The command line does the same: `ramac actor=mixture16 critic=qr16 risk=cvar0.1 ...`. A run has a folder with its
# settings, its policy, and its numbers ([files](../run-folder.md)). The summary:


# %%
def numbers(run):
    masses = ["mass_centre", "mass_ring", "mass_off_support"]
    keys = ["return_mean", "return_min", *masses]
    tail = run["return_cvar"]["0.1"]
    return {"CVaR_0.1": tail, **{key: run[key] for key in keys}}


pd.DataFrame({"cvar0.1": numbers(averse)}).round(2)

# %% [markdown]
# `mass_...` are the shares of the policy's actions in each region. The policy chooses the safe centre.

# %%
assert averse["mass_centre"] > 0.9

# %% [markdown]
# ## Did it learn?
#
# The losses: `loss_bc` is the actor's. It falls, and is flat at the end. `loss_td` is the critic's. It does not go to
# zero, because returns are random, and it is noisy, because a batch holds few hazards.

# %%
ramac.plot(averse.folder, ["loss_td", "loss_bc"], smooth=5, quiet=True)

# %% [markdown]
# ## The same with the mean
#
# `risk=neutral` is the mean. Nothing else changes.

# %%
neutral = ramac.train(settings, risk="neutral", run_dir="neutral", quiet=True)
pd.DataFrame({"neutral": numbers(neutral), "cvar0.1": numbers(averse)}).round(2)

# %% [markdown]
# The neutral policy leaves the centre for the ring. Its worst return is about -50.

# %%
assert neutral["mass_centre"] < 0.1 < 0.5 < neutral["mass_ring"]
assert neutral["return_min"] < -45
assert neutral["return_cvar"]["0.1"] < averse["return_cvar"]["0.1"]

# %% [markdown]
# ## Actions
#
# Black: logged actions. Blue: actions of the policy. First the neutral policy, then the one for CVaR_0.1.

# %%
ramac.plot(neutral.folder, "actions", quiet=True)

# %%
ramac.plot(averse.folder, "actions", quiet=True)

# %% [markdown]
# Some actions of the neutral policy lie beside the ring, where there are no data and the return is 0. After so few
# gradient steps the actor does not imitate the ring exactly, and the critic is wrong there.
#
# ## Returns
#
# Each pair of panels is a policy. Left: the worst 10 % of its 500 episodes. Right: the others.

# %%
ramac.plot([neutral.folder, averse.folder], "returns", by="risk", quiet=True)

# %% [markdown]
# The neutral policy has the better typical return, 9, and pays for it with hazards of -50. The policy for CVaR_0.1
# gets 5.
#
# ## Why they differ
#
# `ramac.load` needs neither the data nor the settings. Each agent reads its own risk measure off the learned
# distribution of the return: here for an action at the centre and one on the ring. (The observation of the bandit is
# always 0.)

# %%
agents = {"neutral": ramac.load("neutral"), "cvar0.1": ramac.load("averse")}
places = np.array([[0.0, 0.0], [0.0, 0.92]])
observation = np.zeros((2, 1))
value = pd.DataFrame(
    {risk: agents[risk].risk_of(observation, places) for risk in agents},
    index=["centre", "ring"],
)
value.round(1)

# %% [markdown]
# The mean is higher on the ring, CVaR_0.1 is higher at the centre. After so few gradient steps the values are
# rough (the true ones are in the first table), but their order is right.

# %%
assert value["neutral"].idxmax() == "ring"
assert value["cvar0.1"].idxmax() == "centre"

# %% [markdown]
# ## Act
#
# Four decisions of each policy:

# %%
for risk, agent in agents.items():
    print(risk, agent.act(np.zeros((4, 1)), seed=0).round(2), sep="\n")

# %% [markdown]
# ## Next
#
# - [From a grid to a report](grid-to-report.py): several seeds, intervals, a comparison.
# - [Your own data](../from-a-csv.md): from a csv to a decision.
# - [All functions of the Python API](../python.md).
