"""Run recipes with several seeds, each cell in its own process, and write tables of their scores."""

from sneframe.bench.comparison import compare

__all__ = ["compare"]
