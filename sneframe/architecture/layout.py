"""Layouts: the parameters of an architecture without its activations."""

from __future__ import annotations

from functools import lru_cache

from attrs import evolve

from sneframe.architecture.description import Architecture


def layout(architecture: Architecture) -> Architecture:
    """Return an architecture without its activations, and without scales and signs, which follow from them.

    Networks that differ only in their activations have the same layout: the same parameters in the same
    order, and the same neurons that can be permuted.
    """
    return _plain(architecture, architecture.symmetry)


@lru_cache(maxsize=4096)
def _plain(architecture: Architecture, symmetry: str) -> Architecture:
    # Equal architectures may differ in the origin of their symmetry, so it is part of the cache key.
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
    """Return in words what two layouts differ in: the shapes, a name, or the neurons that can be moved.

    Args:
        built: the layout that something was built for.
        given: the layout that it got.
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
                f"{built.summary}, but got a network of the same sizes whose neurons have other groups "
                f"(expected a symmetry that is {built.symmetry}, got one that is {given.symmetry})"
            )
    return f"{built.summary}, but got a network of the same sizes whose layers are joined in another way"
