"""Tools for the tests of plugins: toy networks and zoos, :mod:`~sneframe.testing.laws`, fixtures.

``pytest_plugins = "sneframe.testing.fixtures"`` brings the fixture ``toy_zoo_path``.
"""

from __future__ import annotations

from sneframe.testing.toy import mlp, toy_zoo

__all__ = ["mlp", "toy_zoo"]
