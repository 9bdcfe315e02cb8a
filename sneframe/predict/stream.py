"""Encode a large network in bounded memory, one layer after the other.

An encoder can do this if its layer encoder is ``local`` and its parts implement the three protocols of
:mod:`sneframe.parts.streaming`. The parameters that share one code are a unit. The weights of a unit are
read, and then rescaled, cut and pooled to its code in blocks. They are released before the next unit is read.
On a CPU, each thread encodes a unit of its own.

Of a very large network, only a sample of the chunks of each parameter is encoded, unless all weights are
asked for. The weights of other chunks are not read from the file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import TypeVar

import torch
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.config.byte_size import shown
from sneframe.errors import PartError
from sneframe.model import Encoder
from sneframe.nn.diverged import unusable
from sneframe.parts.carriers import LayerCodes
from sneframe.parts.streaming import Block, Cuts, Pools, Rescales
from sneframe.plugins import Blamed

LARGE = 1 << 22  #: a network with more weights is encoded in this way, if the parts allow it
SAMPLED = 50_000_000  #: of a network with more weights, a sample is encoded
CHUNKS = 2048  #: the largest number of chunks of a parameter in this sample
BLOCK = 1 << 16  #: weights per block
WAITING = 4  #: units that are read for each thread, so that none waits for a thread with a larger unit
PER_WEIGHT = 16  #: bytes per weight of a block: four each as read, as rescaled, as cut, and for the mask

Result = TypeVar("Result")
#: Chunks ``(q, C)`` of a parameter, and their mask ``(q, C)``.
Sample = tuple[Tensor, Tensor]


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


@torch.no_grad()
def stream(
    encoder: Encoder,
    architecture: Architecture,
    read: Callable[[str], Tensor],
    *,
    memory: int,
    chunks: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Return the embedding ``(1, E)`` of one network, encoded layer by layer.

    The embedding is NaN if a weight that is read is not finite, or so large that its square is not.

    Args:
        encoder: the encoder, in evaluation mode.
        architecture: the architecture of the network.
        read: function that returns a parameter by name, in any floating-point type. It is called once for
            each parameter, and the parameter is released after use.
        memory: the number of bytes that may be used beside the weights that are read. As many units are
            encoded at once as PyTorch has threads, if the memory is enough for them, and up to four units
            for each thread are read before.
        chunks: the largest number of chunks of a parameter that are read and encoded; None for all, or as
            many as the tokenizer itself takes.
        progress: called with the number of encoded weights and the number of all weights.

    Raises:
        PartError: a part looks at all layers at once, or ``memory`` is less than :func:`least`.
    """
    if (reason := obstacle(encoder)) is not None:
        raise PartError(f"{reason}, so {architecture.num_weights:,} weights cannot be encoded layer by layer")
    needed = least(encoder)
    if memory < needed:
        raise PartError(f"memory: {shown(memory)} is too little; this model needs at least {shown(needed)}")
    encoder.normalise.warn_unless_fitted()  # forward would warn, but it is not called here
    layer_encoder = encoder.layer_encoder
    assert isinstance(layer_encoder, Pools)
    with Blamed(layer_encoder):
        units = layer_encoder.units(architecture)
    sizes = [sum(architecture.parameters[index].size for index in unit) for unit in units]
    stopped = Event()
    alone = partial(_encode_unit, encoder, architecture, memory=memory, chunks=chunks, stopped=stopped)
    at_once = 1
    if next(encoder.parameters()).device.type == "cpu":
        at_once = max(1, min(torch.get_num_threads(), memory // max(1, needed)))
    most = WAITING * at_once if at_once > 1 else 1
    coming: deque[tuple[tuple[int, ...], dict[int, Tensor], Future[tuple[Tensor, bool]]]] = deque()
    found: list[tuple[Tensor, bool]] = []
    advance = progress or (lambda *_: None)

    def take() -> None:
        unit, weights, future = coming.popleft()
        try:
            found.append(future.result())
        except PartError:
            if at_once == 1:
                raise
            # Perhaps its share of the memory was too small. Alone, it may use all of it.
            wait([other for *_, other in coming])
            found.append(alone(unit, weights))
        advance(sum(sizes[: len(found)]), architecture.num_weights)

    advance(0, architecture.num_weights)
    with one_thread_each(at_once) as submit:
        try:
            for unit in units:
                if len(coming) == most:
                    take()
                # Files are read here: their readers are not made for several threads.
                weights = {index: read(architecture.parameters[index].name).reshape(-1) for index in unit}
                coming.append(
                    (unit, weights, submit(partial(alone, unit, weights, memory=memory // at_once)))
                )
                del weights
            while coming:
                take()
        except BaseException:  # Ctrl-C, too: the threads need not finish what they do
            stopped.set()
            raise
    codes, usable = [code for code, _ in found], all(sound for _, sound in found)
    joined = LayerCodes(architecture=architecture, codes=torch.stack(codes, dim=1), units=units)
    with Blamed(encoder.aggregator):
        values: Tensor = encoder.aggregator((joined,))[0].values
    return values if usable else torch.full_like(values, torch.nan)


@torch.no_grad()
def _encode_unit(
    encoder: Encoder,
    architecture: Architecture,
    unit: tuple[int, ...],
    weights: dict[int, Tensor],
    *,
    memory: int,
    chunks: int | None,
    stopped: Event,
) -> tuple[Tensor, bool]:
    """Return the code ``(1, D)`` of a unit, and whether all its weights that are read can be encoded.

    Raises:
        CancelledError: ``stopped`` was set meanwhile.
    """
    layer_encoder = encoder.layer_encoder
    assert isinstance(layer_encoder, Pools)
    samples = {index: _sample(encoder, architecture, index, flat, chunks) for index, flat in weights.items()}
    usable = True
    for index, flat in weights.items():
        sample = samples[index]
        usable &= _usable(flat if sample is None else sample[0].reshape(-1))

    def blocks() -> Iterator[Block]:
        for block in _blocks(encoder, architecture, weights, samples):
            if stopped.is_set():
                raise CancelledError
            yield block

    with Blamed(layer_encoder):
        code = layer_encoder.encode_unit(architecture, unit, blocks, memory=memory)
    return code, usable


@contextmanager
def one_thread_each(count: int) -> Iterator[Callable[[Callable[[], Result]], Future[Result]]]:
    """Yield a function that calls functions in ``count`` threads, each of which computes alone.

    One thread for each unit is faster than all threads for each small operation. For one, this thread calls.
    """
    if count == 1:
        yield _called
        return
    before = torch.get_num_threads()
    with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            yield pool.submit
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(before)


def _called(function: Callable[[], Result]) -> Future[Result]:
    future: Future[Result] = Future()
    try:
        future.set_result(function())
    except PartError as error:
        future.set_exception(error)
    return future


def _sample(
    encoder: Encoder, architecture: Architecture, index: int, flat: Tensor, chunks: int | None
) -> Sample | None:
    """Return a sample of the chunks of a parameter as the network stores them, or None if all are encoded."""
    tokenizer = encoder.tokenizer
    assert isinstance(tokenizer, Cuts)
    with Blamed(encoder.tokenizer):
        return tokenizer.sample(architecture.parameters[index], flat, chunks)


def _usable(flat: Tensor) -> bool:
    """Return whether all weights ``(n,)`` can be encoded."""
    return not any(bool(unusable(some[None])) for some in flat.split(BLOCK))


def _blocks(
    encoder: Encoder,
    architecture: Architecture,
    weights: dict[int, Tensor],
    samples: dict[int, Sample | None],
) -> Iterator[Block]:
    """Yield the chunks of a unit, in the same order as when the whole network is cut at once."""
    normalise, tokenizer = encoder.normalise, encoder.tokenizer
    assert isinstance(normalise, Rescales)
    assert isinstance(tokenizer, Cuts)
    for index, flat in weights.items():
        parameter = architecture.parameters[index]
        if (sample := samples[index]) is not None:
            size = max(1, BLOCK // sample[0].shape[1])
            for chunks, mask in zip(*(each.split(size) for each in sample), strict=True):
                with Blamed(encoder.normalise):
                    rescaled = normalise.rescale(architecture, index, chunks.reshape(-1).float())
                yield Block(parameter=index, chunks=rescaled.view(chunks.shape).where(mask, 0), mask=mask)
            continue
        with Blamed(encoder.tokenizer):
            stretches = tuple(tokenizer.stretches(parameter, BLOCK))
        for start, stop in stretches:
            with Blamed(encoder.normalise):
                rescaled = normalise.rescale(architecture, index, flat[start:stop].float())
            with Blamed(encoder.tokenizer):
                chunks, mask = tokenizer.cut_stretch(parameter, rescaled)
            yield Block(parameter=index, chunks=chunks, mask=mask)
