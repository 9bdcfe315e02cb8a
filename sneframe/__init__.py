"""zoo → batch → normalise → tokenizer → layer encoder → aggregator → head → loss, metrics → report."""

from __future__ import annotations

__version__ = "0.1.0"
