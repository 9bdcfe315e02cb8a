"""``stats/features`` concatenates or pools the codes of a network's parameters into one vector."""

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
class StatFeatures(Aggregator):
    """Concatenates or pools the codes of a network's parameters.

    By default this part concatenates the codes if all training networks have the same layout, and pools the
    codes otherwise.

    *Concatenated*, the embedding is the codes of the L parameters, in order: L · D values (StatNN, arXiv
    2002.11448).

    *Pooled*, the embedding consists of K bins of D + 1 values. There is one bin for each type of parameter
    (``linear.weight``, …) in the training networks and for each of ``depth_bins`` equally spaced depths in
    [0, 1]. A parameter's depth is the level of its layer divided by the highest level of its network (0 if
    there is only one level). A parameter belongs to the bin of its type with the nearest depth. If two depths
    are equally near, the parameter belongs to the deeper bin. A bin consists of the mean of its parameters'
    codes, followed by a 1. An empty bin consists of zeros. A type that the training networks lack has no bin,
    so the width is the same for any architecture, seen or unseen.
    """

    name = "stats/features"
    keeps = ANY_ACTION
    takes = (LayerCodes,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        pool: Literal["auto", "always", "never"] = option(
            "auto",
            "whether to pool codes instead of concatenating them; auto pools if the training networks differ "
            "in more than their activations",
        )
        depth_bins: int = option(3, "number of depths that pooling distinguishes", check=ge(1))

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
        """Return embeddings ``(B, E)`` for each architecture.

        Raises:
            PartError: there is not exactly one code for each parameter, or codes are concatenated and a
                network does not have the layout of the training networks.
        """
        return tuple(
            Embedding(architecture=entry.architecture, values=self._vector(entry)) for entry in codes
        )

    def _vector(self, entry: LayerCodes) -> Tensor:
        architecture = entry.architecture
        if entry.units != each_parameter(architecture):
            raise PartError(
                f"aggregator {self.name!r} takes one code for each parameter, but got {len(entry.units)} "
                f"codes for {len(architecture.parameters)} parameters"
            )
        if self.pooled:
            return self._pool(entry)
        self.check_layout(architecture)
        return rearrange(entry.codes, "B L D -> B (L D)")

    def check_layout(self, given: Architecture) -> None:
        """Raise an error if an architecture does not have the layout of the training networks."""
        try:
            super().check_layout(given)
        except PartError as error:
            raise PartError(
                f"{error}; train with aggregator.pool = 'always' to encode unseen architectures"
            ) from error

    def _pool(self, entry: LayerCodes) -> Tensor:
        """Return the embeddings ``(B, E)``: the mean code and a 1 for a filled bin, and zeros otherwise."""
        averaging = bin_averages(
            entry.architecture, self.types, self.config.depth_bins, entry.codes.dtype, entry.codes.device
        )
        means = einsum(averaging, entry.codes, "K L, B L D -> B K D")
        filled = repeat(averaging.any(dim=1).to(entry.codes), "K -> B K 1", B=len(entry.codes))
        return rearrange(torch.cat([means, filled], dim=2), "B K D -> B (K D)")


@lru_cache(maxsize=1024)
def bin_averages(
    architecture: Architecture,
    types: tuple[str, ...],
    depth_bins: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Return the matrix ``(K, L)`` that maps the codes of L parameters to the mean code of each of K bins.

    :class:`StatFeatures` defines the bins. The row of an empty bin is 0.
    """
    averaging = torch.zeros(len(types) * depth_bins, len(architecture.parameters), dtype=dtype)
    deepest = max(1, architecture.depth - 1)
    for number, (kind, layer) in enumerate(
        zip(architecture.types, architecture.layer_of_parameter, strict=True)
    ):
        if kind in types:
            # Integers are exact: a parameter half-way between two depths must always get the deeper bin.
            nearest = (2 * architecture.levels[layer] * (depth_bins - 1) + deepest) // (2 * deepest)
            averaging[types.index(kind) * depth_bins + nearest, number] = 1
    return (averaging / averaging.sum(dim=1, keepdim=True).clamp(min=1)).to(device)
