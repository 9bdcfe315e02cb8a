"""This package draws and applies group elements, aligns networks, and verifies architectures.

To verify an architecture, it runs the network with moved weights.
"""

from sneframe.errors import Unverifiable
from sneframe.symmetry.act import Element, apply, sample
from sneframe.symmetry.align import align
from sneframe.symmetry.product import compose, inverse
from sneframe.symmetry.verify import Verified, verify

__all__ = [
    "Element",
    "Unverifiable",
    "Verified",
    "align",
    "apply",
    "compose",
    "inverse",
    "sample",
    "verify",
]
