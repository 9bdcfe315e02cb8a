"""Recipes × seeds on one zoo, each cell in its own process → one table as HTML, CSV and Markdown."""

from sneframe.bench.comparison import compare

__all__ = ["compare"]
