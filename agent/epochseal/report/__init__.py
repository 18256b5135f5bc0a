"""A verdict as one page that a person can read, print and hand on (docs/report.md)."""

from epochseal.report.page import Subject, render_report
from epochseal.report.trail import render_trail_report

__all__ = ["Subject", "render_report", "render_trail_report"]
