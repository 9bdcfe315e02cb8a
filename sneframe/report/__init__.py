"""Run folder → ``report.html``: one self-contained page that loads nothing and runs no script."""

from sneframe.report.page import write_report

__all__ = ["write_report"]
