"""A finished run on a toy zoo, and other zoos to adapt it to."""

import numpy as np
import pytest
import torch

import sneframe
from sneframe.compose import recipe, use
from sneframe.parts.carriers import Embedding
from sneframe.parts.part import Spec
from sneframe.testing import mlp
from sneframe.zoo import create


def write_zoo(path, networks=60, seed=1, groups=None, **properties):
    """Write a zoo of random MLPs 1 → 4 → 4 → 1, scaled by the property ``scale``, and return its path.

    Args:
        path: where.
        networks: how many.
        seed: seed of the weights and scales. With the same seed and number, the networks are the same.
        groups: the run group of each network; by default each is its own.
        properties: by name, each a function of ``scale (N,)``, or values. ``scale`` can be replaced too.
    """
    architecture, generator = mlp(1, 4, 4, 1), np.random.default_rng(seed)
    scale = generator.uniform(0.5, 2.0, networks)
    values = {
        p.name: (generator.standard_normal((networks, *p.shape)).T * scale).T.astype(np.float32)
        for p in architecture.parameters
    }
    made = {name: of(scale) if callable(of) else of for name, of in properties.items()}
    with create(path, name=path.stem, description="random MLPs") as writer:
        writer.append(architecture, values, {"scale": scale, **made}, group=groups)
    return path


@pytest.fixture(scope="session")
def trained_on(tmp_path_factory):
    return write_zoo(tmp_path_factory.mktemp("adapt") / "first.zarr", networks=120, seed=0)


@pytest.fixture(scope="session")
def parent(trained_on, tmp_path_factory):
    """A run that predicts the scale."""
    config = recipe("stats/ridge", f"zoo.path={trained_on}", "zoo.property=scale", "device=cpu")
    return sneframe.run(config, tmp_path_factory.mktemp("runs") / "parent", report=False).folder


@pytest.fixture
def zoo_of(tmp_path):
    def write(**properties):
        return write_zoo(tmp_path / "second.zarr", **properties)

    return write


@pytest.fixture
def identity():
    def make(width):
        """Return a linear head whose raw outputs are the embeddings ``(B, width)``."""
        spec = Spec(carrier=Embedding, width=width, architectures=(mlp(1, 1),), values=width)
        choice = use("head/linear")
        head = choice.part(choice.config, spec)
        with torch.no_grad():
            head.linear.weight.copy_(torch.eye(width))
            head.linear.bias.zero_()
        return head

    return make
