"""The report page of a run: one self-contained HTML file."""

from __future__ import annotations

from alexnet_fast.report.classes import ClassResult, class_results, class_table
from alexnet_fast.report.content import Fact, Plot, Report, Section, Table
from alexnet_fast.report.page import render_report, write_report

__all__ = [
    "ClassResult",
    "Fact",
    "Plot",
    "Report",
    "Section",
    "Table",
    "class_results",
    "class_table",
    "render_report",
    "write_report",
]
