"""Run folder → ``report.html``, one file without scripts that loads nothing; embeddings → an interactive map."""

from sneframe.report.map import write_map
from sneframe.report.page import write_report

__all__ = ["write_report", "write_map"]
