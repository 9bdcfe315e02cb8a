"""Run folder → ``report.html``, which loads nothing and runs no script; embeddings → a map."""

from sneframe.report.map import write_map
from sneframe.report.page import write_report

__all__ = ["write_report", "write_map"]
