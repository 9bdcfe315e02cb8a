"""What a network is before its weights: layers, parameters, and the groups that act on their axes."""

from sneframe.architecture.description import Architecture, Axis, Factor, Group, Layer, Parameter, Segment

__all__ = ["Architecture", "Axis", "Factor", "Group", "Layer", "Parameter", "Segment"]
