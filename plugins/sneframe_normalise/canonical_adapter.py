"""``normalise/canonical-adapter`` brings low-rank adapters to a canonical form, and then rescales them.

A low-rank update s B A does not change if A becomes G A and B becomes B G⁻¹, for any invertible G. W2T
(2026) removes this freedom with a QR decomposition of both factors and a singular value decomposition of the
small product. So does this part, which shares the singular values evenly between both factors.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import torch
from attrs import frozen
from torch import Tensor

from sneframe.architecture.layer import Layer
from sneframe.architecture.low_rank import KIND
from sneframe.batch import Batch, Networks
from sneframe.nn.low_rank_update import canonical
from sneframe.parts.normalise import Normalise
from sneframe.parts.part import ANY_ACTION, Spec
from sneframe_normalise.normalise import FanIn


@final
class CanonicalAdapter(Normalise):
    """Replaces the factors of each low-rank update by canonical ones, and then rescales as ``FanIn`` does.

    The canonical factors depend on the update s B A alone, see :mod:`sneframe.nn.low_rank_update`, and s
    becomes 1. Other weights than those of low-rank adapters are only rescaled. The factors of a network with
    weights that are not finite become NaN.
    """

    name = "normalise/canonical-adapter"
    keeps = ANY_ACTION
    removes = frozenset({"linear"})

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.rescaling = FanIn(FanIn.Config(), spec)

    def learn(self, batches: Iterable[Batch]) -> None:
        """Fit the scales to the canonical forms of the training networks."""
        self.rescaling.fit(map(_canonical_batch, batches))

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with canonical and rescaled weights."""
        rescaled: Batch = self.rescaling(_canonical_batch(batch))
        return rescaled


def _canonical_batch(batch: Batch) -> Batch:
    return batch.replace(_canonical_weights(networks) for networks in batch.networks)


@torch.no_grad()
def _canonical_weights(networks: Networks) -> Tensor:
    """Return the weights ``(B, P)`` of networks with canonical factors of all low-rank updates."""
    layers = [layer for layer in networks.architecture.layers if layer.kind == KIND]
    if not layers:
        return networks.weights
    weights = networks.weights.clone()
    views = networks.architecture.views(weights)
    for layer in layers:
        _replace_factors(layer, views)
    return weights


def _replace_factors(layer: Layer, views: dict[str, Tensor]) -> None:
    """Replace A, B and the scaling of one layer by their canonical form."""
    own = {parameter.role: views[parameter.name] for parameter in layer.parameters}
    a, b = own["a"].flatten(2).double(), own["b"].flatten(2).double()
    scaling = a.new_ones(len(a))
    for role, one in (("scaling", 1.0), ("alpha", float(a.shape[1]))):
        if role in own:
            scaling = own[role].flatten(1).double()[:, 0] / one
            own[role].fill_(one)
    b = b * scaling[:, None, None]
    if "bias" in own:  # PEFT multiplies the whole output of B by s
        own["bias"].mul_(scaling[:, None])
    finite = a.isfinite().flatten(1).all(1) & b.isfinite().flatten(1).all(1)
    usable = finite[:, None, None]
    zero = torch.finfo(own["a"].dtype).eps
    rows, columns = canonical(torch.where(usable, a, 0.0), torch.where(usable, b, 0.0), zero=zero)
    for role, made in (("a", rows), ("b", columns)):
        own[role].copy_(torch.where(usable, made, torch.nan).reshape(own[role].shape))
