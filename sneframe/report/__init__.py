"""Run folder → ``report.html``, which loads nothing and runs no script; embedded networks → an interactive map."""

from sneframe.report.map import write_map
from sneframe.report.page import write_report

__all__ = ["write_report", "write_map"]
