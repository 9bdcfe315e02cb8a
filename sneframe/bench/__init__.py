"""The bench: recipes × seeds on one zoo, each cell in a process of its own → one table as HTML, CSV and Markdown."""

from sneframe.bench.comparison import compare

__all__ = ["compare"]
