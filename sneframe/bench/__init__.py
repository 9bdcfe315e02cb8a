"""The bench: recipes × seeds on one zoo, each cell in a process of its own → one table as HTML, CSV and Markdown."""

from sneframe.bench.compare import compare

__all__ = ["compare"]
