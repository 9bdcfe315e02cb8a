"""Layouts: what is left of an architecture when it is forgotten which functions stand between the layers."""

from __future__ import annotations

from functools import lru_cache

from attrs import evolve

from sneframe.architecture.description import Architecture


@lru_cache(maxsize=4096)
def layout(architecture: Architecture) -> Architecture:
    """Return an architecture without its activations, and without the actions that follow from these.

    Networks that differ in their activations alone have one layout: the same parameters in the same order, and the same
    neurons to be permuted.
    """
    return Architecture(
        layers=tuple(
            evolve(
                layer,
                activation="none",
                parameters=tuple(evolve(p, scale=(), sign=()) for p in layer.parameters),
            )
            for layer in architecture.layers
        ),
        groups=tuple(
            evolve(group, actions=tuple(action for action in group.actions if action == "permute"))
            for group in architecture.groups
        ),
        symmetry=architecture.symmetry,
    )
