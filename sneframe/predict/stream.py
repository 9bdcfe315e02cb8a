"""Large networks, encoded parameter by parameter: one network's weights in, its embedding out, in bounded memory.

An encoder whose layer encoder is ``local`` can be driven layer by layer, if its parts have the methods of the three
protocols of :mod:`sneframe.parts.streaming`: the weights of a unit are read, rescaled, cut and pooled to one code, block by
block, and let go of before the next.
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

LARGE = 1 << 22  #: weights above which a network is encoded in this way, where the parts can
BLOCK = 1 << 16  #: weights that are cut at a time
PER_WEIGHT = 16  #: bytes that a weight of a block takes: as it was read, rescaled, cut and masked


def obstacle(encoder: Encoder) -> str | None:
    """Return why an encoder cannot be driven layer by layer, half a sentence; None where it can."""
    whole = encoder.layer_encoder
    if not whole.local:
        return f"{whole.slot} {whole.name!r} looks at all layers of a network at once"
    for part, protocol in ((encoder.normalise, Rescales), (encoder.tokenizer, Cuts), (whole, Pools)):
        if not isinstance(part, protocol):
            return f"{part.slot} {part.name!r} takes no part of a network"
    return None


def least(encoder: Encoder) -> int:
    """Return the smallest bound in bytes within which an encoder encodes a large network; 0 if nothing bounds it."""
    if obstacle(encoder) is not None:
        return 0
    layer_encoder = encoder.layer_encoder
    assert isinstance(layer_encoder, Pools)
    return layer_encoder.least() + PER_WEIGHT * BLOCK


def shown(size: int) -> str:
    """Return a number of bytes for people, rounded up: ``1 B``, ``38 MiB``."""
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
    """Return the embedding ``(1, E)`` of one network.

    Args:
        encoder: in evaluation mode.
        architecture: of the network.
        read: gives a parameter by its name, in any floating type; called once for each, and what it gives is let go of.
        memory: bytes that may be taken beside the weights of one unit.
        progress: called with (weights done, all).

    Raises:
        PartError: a part looks at all layers at once, or would need more memory; see :func:`least`.
    """
    if (reason := obstacle(encoder)) is not None:
        raise PartError(f"{reason}, so {architecture.num_weights:,} weights cannot be encoded layer by layer")
    if memory < (needed := least(encoder)):
        raise PartError(f"memory: {shown(memory)} cannot be met, this model needs at least {shown(needed)}")
    encoder.normalise.warn_unless_fitted()  # its forward, which warns, is not called here
    layer_encoder = encoder.layer_encoder
    assert isinstance(layer_encoder, Pools)
    with Blamed(layer_encoder):
        units = layer_encoder.units(architecture)
    codes, done = [], 0
    advance = progress or (lambda *_: None)
    advance(done, architecture.num_weights)
    for unit in units:
        weights = {place: read(architecture.parameters[place].name).reshape(-1) for place in unit}
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
    """Yield the chunks of a unit, in the order in which one pass over all of them has them."""
    normalise, tokenizer = encoder.normalise, encoder.tokenizer
    assert isinstance(normalise, Rescales)
    assert isinstance(tokenizer, Cuts)
    for place, flat in weights.items():
        parameter = architecture.parameters[place]
        with Blamed(encoder.tokenizer):
            stretches = tuple(tokenizer.stretches(parameter, BLOCK))
        for start, stop in stretches:
            with Blamed(encoder.normalise):
                rescaled = normalise.rescale(architecture, place, flat[start:stop].float())
            with Blamed(encoder.tokenizer):
                chunks, mask = tokenizer.cut_stretch(parameter, rescaled)
            yield Block(parameter=place, chunks=chunks, mask=mask)
