"""Describe the structure of a network without its weights, and derive or guess this structure."""

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
