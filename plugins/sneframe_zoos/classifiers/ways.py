"""Choose the fastest way to compute many networks of one design at once."""

from __future__ import annotations

from torch import nn

from sneframe_zoos.classifiers.convnet import ConvClassifier
from sneframe_zoos.classifiers.stacked import Stacked
from sneframe_zoos.classifiers.stacked_convs import OVERLAP, Grouped, Patched, overlap
from sneframe_zoos.classifiers.vectorised import Vectorised


def stacked(network: nn.Module, image: tuple[int, int, int], batch: int, networks: int) -> Stacked:
    """Return the fastest way for networks with the layers of ``network``.

    The choice depends on the layers alone, so the same options build the same zoo in every process.
    ``docs/benchmarks/zoo_speed.py`` measures all ways.

    Args:
        network: a network of the design.
        image: shape of an image, ``(channels, height, width)``.
        batch: the largest number of images of a network in one call.
        networks: the largest number of networks in one call.
    """
    if not isinstance(network, ConvClassifier):
        return Vectorised(network, networks)
    if overlap(network) <= OVERLAP:
        return Patched(network, image, batch, networks)
    return Grouped(network, networks)
