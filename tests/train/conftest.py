"""A toy zoo for the tests of runs, with the properties that a test needs."""

import numpy as np
import pytest

from sneframe.testing import mlp
from sneframe.zoo import create


@pytest.fixture
def zoo_of(tmp_path):
    def build(networks=40, hidden=(4, 4), **properties):
        """Write a zoo of random MLPs 1 → hidden → 1, scaled by the property ``scale``, and return its path.

        Args:
            networks: how many.
            hidden: their widths.
            properties: by name, each a function of ``scale (N,)``.
        """
        architecture, generator = mlp(1, *hidden, 1), np.random.default_rng(0)
        scale = generator.uniform(0.5, 2.0, networks)
        weights = {
            p.name: (generator.standard_normal((networks, *p.shape)).T * scale).T.astype(np.float32)
            for p in architecture.parameters
        }
        path = tmp_path / "zoo.zarr"
        with create(path, name="toy", description="random MLPs") as writer:
            made = {name: of(scale) for name, of in properties.items()}
            writer.append(architecture, weights, {"scale": scale, **made})
        return path

    return build
