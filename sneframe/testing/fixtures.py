"""Define the pytest fixtures that ``pytest_plugins = "sneframe.testing.fixtures"`` makes available."""

from __future__ import annotations

from pathlib import Path

import pytest

from sneframe.testing.toy import toy_zoo


@pytest.fixture(scope="session")
def toy_zoo_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a zoo of 40 random MLPs 1 → 4 → 4 → 1 with the property ``scale``, and return its path."""
    return toy_zoo(tmp_path_factory.mktemp("zoo") / "toy.zarr")
