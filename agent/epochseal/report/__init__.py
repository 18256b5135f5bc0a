"""A verdict as one page that a person can read, print and hand on (docs/report.md).

May import every floor below its own, but not its neighbours.
Never: foreign text that is not escaped, a script, or anything fetched from a network.
"""

from epochseal.report.page import Subject, render_report
from epochseal.report.trail_page import render_trail_report

__all__ = ["Subject", "render_report", "render_trail_report"]
