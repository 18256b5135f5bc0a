"""A verdict as one page that a person can read, print and hand on (docs/report.md)."""

from epochseal.report.page import Subject, render_report

__all__ = ["Subject", "render_report"]
