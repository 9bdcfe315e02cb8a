"""Compute and compare layouts. A layout is an architecture without its activations, scales and signs.

A layout does not have what only an evaluation needs either: the factor, shift and settings before and inside
an activation, the shapes of the inputs, and which layers are outputs.
"""

from __future__ import annotations

from functools import lru_cache

from attrs import evolve

from sneframe.architecture.description import Architecture
from sneframe.architecture.layer import INPUT

#: Attributes that belong to an activation.
OF_ACTIVATIONS = ("factor", "shift", "activation_options")


def layout(architecture: Architecture) -> Architecture:
    """Return the layout of an architecture.

    Activations are removed. Scales and signs are removed too, because they follow from the activations. So
    are the shapes of the inputs and the outputs, because a description may lack them.

    Networks that differ only in their activations have the same layout: the same parameters in the same
    order, and the same neurons that can be permuted.
    """
    return _plain(architecture, architecture.symmetry)


@lru_cache(maxsize=4096)
def _plain(architecture: Architecture, symmetry: str) -> Architecture:
    # Equal architectures may differ in the origin of their symmetry, so the origin is part of the cache key.
    return Architecture(
        layers=tuple(
            evolve(
                layer,
                activation="none",
                inputs=() if layer.inputs == (INPUT,) else layer.inputs,
                attributes={k: v for k, v in layer.attributes.items() if k not in OF_ACTIVATIONS},
                parameters=tuple(evolve(p, scale=(), sign=()) for p in layer.parameters),
            )
            for layer in architecture.layers
        ),
        groups=tuple(
            evolve(group, actions=tuple(action for action in group.actions if action == "permute"))
            for group in architecture.groups
        ),
        symmetry=symmetry,
    )


def difference(built: Architecture, given: Architecture) -> str:
    """Return a description of the first difference between two layouts.

    The layouts can differ in a shape, in the name of a parameter, in the neuron groups, or in the connections
    between layers.

    Args:
        built: the layout that a part of a model was built for.
        given: the layout of a network that was passed to this part.
    """
    if built.summary != given.summary:
        return f"{built.summary}, but got {given.summary}"
    for own, other in zip(built.parameters, given.parameters, strict=False):
        if (own.name, own.shape) != (other.name, other.shape):
            return (
                f"{built.summary} with {own.name!r} {own.shape}, but got {other.name!r} {other.shape} instead"
            )
    for own, other in zip(built.parameters, given.parameters, strict=False):
        if own.axes != other.axes:
            return (
                f"{built.summary}, but got a network of the same sizes with other neuron groups "
                f"(origin of the symmetry: expected {built.symmetry}, but got {given.symmetry})"
            )
    return f"{built.summary}, but got a network of the same sizes whose layers are connected differently"
