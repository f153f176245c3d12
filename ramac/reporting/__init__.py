"""`ramac report`: run folders and csv files of episodes compared on one page, with tables and figures for a paper."""

from ramac.reporting.page import Report, report

__all__ = ["Report", "report"]
