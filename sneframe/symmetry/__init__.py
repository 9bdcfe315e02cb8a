"""Draw and apply group elements, align networks, and verify architectures.

A verification runs a network with moved weights, and checks that the outputs stay the same.
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
