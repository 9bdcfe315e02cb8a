"""For the tests of plugins: ``pytest_plugins = "sneframe.testing"`` brings the fixture ``toy_zoo_path``."""

from __future__ import annotations

from pathlib import Path

import pytest

from sneframe.testing.toy import mlp, toy_zoo

__all__ = ["mlp", "toy_zoo", "toy_zoo_path"]


@pytest.fixture(scope="session")
def toy_zoo_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of 40 random MLPs 1 → 4 → 4 → 1 with the property ``scale``."""
    return toy_zoo(tmp_path_factory.mktemp("zoo") / "toy.zarr")
