"""``stats/features``: the codes of a network's parameters, concatenated or pooled to one vector."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, final

import torch
from attrs import frozen
from attrs.validators import ge
from einops import einsum, rearrange, repeat
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.architecture.layout import layout
from sneframe.config.schema import option
from sneframe.errors import PartError
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding, LayerCodes, each_parameter
from sneframe.parts.part import ANY_ACTION, Spec


@final
class Features(Aggregator):
    """Concatenates the codes where all networks have one architecture, and pools them where they do not.

    Concatenated, a network is the L · D values of its L parameters in order (StatNN, arXiv 2002.11448).

    Pooled, it is K cells of D + 1 values. A cell is a pair of a parameter type (``linear.weight``, …) of the
    training zoo and one of ``depth_bins`` equally spaced relative depths 0, …, 1. A parameter's relative
    depth is the level of its layer over the greatest level of its network (0 where there is one level only);
    it belongs to the cell of its type at the nearest of these depths, the later of two that are equally near.
    A cell holds the mean of the codes of its parameters and a 1, or zeros throughout where it is empty. A
    type that the training zoo lacks has no cell: the width is the same for any architecture, seen or unseen.
    """

    name = "stats/features"
    keeps = ANY_ACTION
    takes = (LayerCodes,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        pool: Literal["auto", "always", "never"] = option(
            "auto", "auto (where networks differ in more than activations) | always | never"
        )
        depth_bins: int = option(3, "relative depths that pooling tells apart", check=ge(1))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        layouts = set(map(layout, spec.architectures))
        self.pooled = config.pool == "always" or (config.pool == "auto" and len(layouts) > 1)
        if self.pooled:
            self.types = tuple(
                sorted({kind for architecture in spec.architectures for kind in architecture.types})
            )
            width = len(self.types) * config.depth_bins * (spec.width + 1)
        else:
            width = len(self.one_layout(spec).parameters) * spec.width
        self.out = spec.gives(Embedding, width)

    def forward(self, codes: tuple[LayerCodes, ...]) -> tuple[Embedding, ...]:
        """Return ``(B, E)`` per architecture.

        Raises:
            PartError: codes that do not stand for one parameter each, or, where they are concatenated, an
                architecture other than the training zoo's.
        """
        return tuple(
            Embedding(architecture=entry.architecture, values=self._vector(entry)) for entry in codes
        )

    def _vector(self, entry: LayerCodes) -> Tensor:
        architecture = entry.architecture
        if entry.units != each_parameter(architecture):
            raise PartError(
                f"aggregator {self.name!r} takes one code per parameter, it is given {len(entry.units)} "
                f"codes for {len(architecture.parameters)} parameters"
            )
        if self.pooled:
            return self._pool(entry)
        self.check_layout(architecture)
        return rearrange(entry.codes, "B L D -> B (L D)")

    def check_layout(self, given: Architecture) -> None:
        """See :class:`~sneframe.parts.part.Part`."""
        try:
            super().check_layout(given)
        except PartError as error:
            raise PartError(
                f"{error}; train with aggregator.pool = 'always' to encode unseen architectures"
            ) from error

    def _pool(self, entry: LayerCodes) -> Tensor:
        shares = cell_shares(
            entry.architecture, self.types, self.config.depth_bins, entry.codes.dtype, entry.codes.device
        )
        means = einsum(shares, entry.codes, "K L, B L D -> B K D")
        filled = repeat(shares.any(dim=1).to(entry.codes), "K -> B K 1", B=len(entry.codes))
        return rearrange(torch.cat([means, filled], dim=2), "B K D -> B (K D)")


@lru_cache(maxsize=1024)
def cell_shares(
    architecture: Architecture,
    types: tuple[str, ...],
    depth_bins: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return ``(K, L)``: the share of each parameter in the mean of each cell; see :class:`Features`."""
    shares = torch.zeros(len(types) * depth_bins, len(architecture.parameters), dtype=dtype)
    deepest = max(1, architecture.depth - 1)
    for number, (kind, layer) in enumerate(
        zip(architecture.types, architecture.layer_of_parameter, strict=True)
    ):
        if kind in types:
            # in integers, so that a depth half-way between two does not hang on a rounding error
            nearest = (2 * architecture.levels[layer] * (depth_bins - 1) + deepest) // (2 * deepest)
            shares[types.index(kind) * depth_bins + nearest, number] = 1
    return (shares / shares.sum(dim=1, keepdim=True).clamp(min=1)).to(device)
