"""Encode a large network in bounded memory, one layer after the other.

An encoder can do this if its layer encoder is ``local`` and its parts implement the three protocols of
:mod:`sneframe.parts.streaming`. The parameters that share one code are a unit. The weights of a unit are
read, and then rescaled, cut and pooled to its code in blocks. They are released before the next unit is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.errors import PartError
from sneframe.model import Encoder
from sneframe.parts.carriers import LayerCodes
from sneframe.parts.streaming import Block, Cuts, Pools, Rescales
from sneframe.plugins import Blamed

LARGE = 1 << 22  #: a network with more weights is encoded in this way, if the parts allow it
BLOCK = 1 << 16  #: weights per block
PER_WEIGHT = 16  #: bytes per weight of a block: four each as read, as rescaled, as cut, and for the mask


def obstacle(encoder: Encoder) -> str | None:
    """Return the reason why an encoder cannot encode layer by layer, or None if the encoder can."""
    whole = encoder.layer_encoder
    if not whole.local:
        return f"{whole.slot} {whole.name!r} looks at all layers of a network at once"
    for part, protocol in ((encoder.normalise, Rescales), (encoder.tokenizer, Cuts), (whole, Pools)):
        if not isinstance(part, protocol):
            return f"{part.slot} {part.name!r} needs a whole network at once"
    return None


def least(encoder: Encoder) -> int:
    """Return the smallest memory bound, in bytes, that an encoder can keep.

    The bound is 0 for an encoder that cannot encode layer by layer, because it keeps no bound.
    """
    if obstacle(encoder) is not None:
        return 0
    layer_encoder = encoder.layer_encoder
    assert isinstance(layer_encoder, Pools)
    return layer_encoder.least() + PER_WEIGHT * BLOCK


def shown(size: int) -> str:
    """Format a number of bytes, rounded up: ``1 B``, ``38 MiB``."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << power:
            return f"{-(-size // (1 << power)):,} {unit}"
    return f"{size} B"


@torch.no_grad()
def stream(
    encoder: Encoder,
    architecture: Architecture,
    read: Callable[[str], Tensor],
    *,
    memory: int,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return the embedding ``(1, E)`` of one network, encoded layer by layer.

    Args:
        encoder: the encoder, in evaluation mode.
        architecture: the architecture of the network.
        read: function that returns a parameter by name, in any floating-point type. It is called once for
            each parameter, and the parameter is released after use.
        memory: the number of bytes that may be used beside the weights of one unit.
        progress: called with the number of encoded weights and the number of all weights.

    Raises:
        PartError: a part looks at all layers at once, or ``memory`` is less than :func:`least`.
    """
    if (reason := obstacle(encoder)) is not None:
        raise PartError(f"{reason}, so {architecture.num_weights:,} weights cannot be encoded layer by layer")
    if memory < (needed := least(encoder)):
        raise PartError(f"memory: {shown(memory)} is too little; this model needs at least {shown(needed)}")
    encoder.normalise.warn_unless_fitted()  # forward would warn, but it is not called here
    layer_encoder = encoder.layer_encoder
    assert isinstance(layer_encoder, Pools)
    with Blamed(layer_encoder):
        units = layer_encoder.units(architecture)
    codes, done = [], 0
    advance = progress or (lambda *_: None)
    advance(done, architecture.num_weights)
    for unit in units:
        weights = {index: read(architecture.parameters[index].name).reshape(-1) for index in unit}
        blocks = partial(_blocks, encoder, architecture, weights)
        with Blamed(layer_encoder):
            codes.append(layer_encoder.encode_unit(architecture, unit, blocks, memory=memory))
        done += sum(len(each) for each in weights.values())
        advance(done, architecture.num_weights)
    joined = LayerCodes(architecture=architecture, codes=torch.stack(codes, dim=1), units=units)
    with Blamed(encoder.aggregator):
        values: Tensor = encoder.aggregator((joined,))[0].values
    return values


def _blocks(encoder: Encoder, architecture: Architecture, weights: dict[int, Tensor]) -> Iterator[Block]:
    """Yield the chunks of a unit, in the same order as when the whole network is cut at once."""
    normalise, tokenizer = encoder.normalise, encoder.tokenizer
    assert isinstance(normalise, Rescales)
    assert isinstance(tokenizer, Cuts)
    for index, flat in weights.items():
        parameter = architecture.parameters[index]
        with Blamed(encoder.tokenizer):
            stretches = tuple(tokenizer.stretches(parameter, BLOCK))
        for start, stop in stretches:
            with Blamed(encoder.normalise):
                rescaled = normalise.rescale(architecture, index, flat[start:stop].float())
            with Blamed(encoder.tokenizer):
                chunks, mask = tokenizer.cut_stretch(parameter, rescaled)
            yield Block(parameter=index, chunks=chunks, mask=mask)
