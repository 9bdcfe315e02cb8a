"""Layouts: what is left of an architecture when it is forgotten which functions stand between the layers."""

from __future__ import annotations

from functools import lru_cache

from attrs import evolve

from sneframe.architecture.description import Architecture


def layout(architecture: Architecture) -> Architecture:
    """Return an architecture without its activations, and without the actions that follow from these.

    Networks that differ in their activations alone have one layout: the same parameters in the same order, and the same
    neurons to be permuted.
    """
    return _plain(architecture, architecture.symmetry)


@lru_cache(maxsize=4096)
def _plain(architecture: Architecture, symmetry: str) -> Architecture:
    # Equal architectures may have their symmetry from different sources: it is a key of its own.
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
        symmetry=symmetry,
    )


def difference(built: Architecture, given: Architecture) -> str:
    """Say in half a sentence what two layouts differ in: ``1×8 · 8×1 (17 weights)``, a name, or the neurons that move."""
    if built.summary != given.summary:
        return f"{built.summary}, it is given {given.summary}"
    for own, other in zip(built.parameters, given.parameters, strict=False):
        if (own.name, own.shape) != (other.name, other.shape):
            return f"{built.summary} with {own.name!r} {own.shape}, it is given {other.name!r} {other.shape} in its place"
    for own, other in zip(built.parameters, given.parameters, strict=False):
        if own.axes != other.axes:
            known = f"the symmetry of the one is {built.symmetry}, of the other {given.symmetry}"
            return f"{built.summary}, it is given a network of these sizes whose neurons are described otherwise ({known})"
    return f"{built.summary}, it is given one of these sizes whose layers are joined otherwise"
