"""`ramac report`: run folders and csv files of episodes compared on one page, with tables and figures for a paper."""

import ramac.plotting  # noqa: F401  (the first import of matplotlib)
from ramac.reporting.drawing import Plot, plot
from ramac.reporting.page import Report, report

__all__ = ["Plot", "Report", "plot", "report"]
