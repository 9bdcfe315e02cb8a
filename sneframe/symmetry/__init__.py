"""Symmetry: the groups of an architecture, acting on a batch of weights."""

from sneframe.symmetry.act import Element, apply, sample

__all__ = ["Element", "apply", "sample"]
