"""Fixtures for pytest: ``pytest_plugins = "sneframe.testing.fixtures"``."""

from __future__ import annotations

from pathlib import Path

import pytest

from sneframe.testing.toy import toy_zoo


@pytest.fixture(scope="session")
def toy_zoo_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of 40 random MLPs 1 → 4 → 4 → 1 with the property ``scale``."""
    return toy_zoo(tmp_path_factory.mktemp("zoo") / "toy.zarr")
