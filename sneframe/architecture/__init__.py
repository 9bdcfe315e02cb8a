"""What a network is before its weights: layers, parameters, and the groups that act on their axes."""

from sneframe.architecture.description import (
    ACTIONS,
    ORIGINS,
    Architecture,
    Axis,
    Factor,
    Group,
    Layer,
    Parameter,
    Segment,
)

__all__ = ["ACTIONS", "ORIGINS", "Architecture", "Axis", "Factor", "Group", "Layer", "Parameter", "Segment"]
