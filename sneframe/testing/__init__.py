"""This package helps to test plugins.

It has toy networks and toy zoos, the laws that every part must keep (:mod:`~sneframe.testing.laws`), and a
fixture: ``pytest_plugins = "sneframe.testing.fixtures"`` defines ``toy_zoo_path``.
"""

from __future__ import annotations

from sneframe.testing.toy import mlp, toy_zoo

__all__ = ["mlp", "toy_zoo"]
