"""Write ``report.html`` for a run folder, and an HTML map for embeddings. The report contains no script."""

from sneframe.report.map import write_map
from sneframe.report.page import write_report

__all__ = ["write_report", "write_map"]
