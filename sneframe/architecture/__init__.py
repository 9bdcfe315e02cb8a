"""Architectures: what a network is without its weights, and how to derive or guess it."""

from sneframe.architecture.description import ORIGINS, Architecture
from sneframe.architecture.layer import ACTIONS, Axis, Factor, Layer, NeuronGroup, Parameter, Segment

__all__ = [
    "ACTIONS",
    "ORIGINS",
    "Architecture",
    "Axis",
    "Factor",
    "NeuronGroup",
    "Layer",
    "Parameter",
    "Segment",
]
