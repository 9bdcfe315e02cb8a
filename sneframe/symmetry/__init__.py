"""Symmetry: group elements drawn and applied, and architectures verified by running them."""

from sneframe.symmetry.act import Element, apply, compose, inverse, sample
from sneframe.symmetry.verify import Verified, verify

__all__ = ["Element", "Verified", "apply", "compose", "inverse", "sample", "verify"]
