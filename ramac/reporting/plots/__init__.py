"""The figures of a report, `NAME(groups, alpha)`: a figure of the groups of one task and its caption.

Each is None where there is nothing to show. Of many groups the foremost are drawn, chosen before any heavy work.
"""

from ramac.reporting.plots.calibration import calibration
from ramac.reporting.plots.curves import learning_curves, losses, ood_curves
from ramac.reporting.plots.distributions import distributions
from ramac.reporting.plots.maps import heat_maps
from ramac.reporting.plots.plane import plane

__all__ = ["calibration", "distributions", "heat_maps", "learning_curves", "losses", "ood_curves", "plane"]
