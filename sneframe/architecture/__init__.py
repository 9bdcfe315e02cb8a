"""What a network is before its weights: layers, parameters, and the groups that act on their axes."""

from sneframe.architecture.description import (
    ACTIONS,
    ORIGINS,
    Architecture,
    Axis,
    Factor,
    Layer,
    NeuronGroup,
    Parameter,
    Segment,
)

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
