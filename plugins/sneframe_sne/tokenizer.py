"""Define ``sne/pad-chunk``, which cuts parameters into chunks (SNE, eq 1).

One gather cuts all networks of one architecture.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Literal, final

import torch
from attrs import evolve, frozen
from attrs.validators import ge, optional
from torch import Tensor

from sneframe.architecture import Architecture, Parameter
from sneframe.batch import Batch, Networks
from sneframe.config.schema import option
from sneframe.parts.carriers import ChunkTokens
from sneframe.parts.part import Spec
from sneframe.parts.tokenizer import Tokenizer
from sneframe.rng import Draw, counted, streams, uniform, word


@final
class PadChunk(Tokenizer):
    """Cuts every parameter into chunks of C weights (SNE, eq 1).

    Where the number of weights is not a multiple of C, zeros fill the end of the last chunk.

    The paper leaves open how a convolution weight ``(out, in, *k)`` is flattened. The option ``conv_view``
    chooses. ``flat`` cuts the flattened tensor without regard to channels. ``out_channel`` starts a new chunk
    at each output channel. ``kernel`` starts a new chunk at each kernel ``k``, that is, at each pair of an
    output and an input channel.

    With ``max_chunks`` = n, a parameter of more chunks is represented by n of them, one from each of n equal
    stretches. In evaluation these are the chunks in the middle of the stretches. A training step draws each
    of them anew, so every chunk is expected equally often, and a mean over the sample is unbiased. What is
    drawn depends on the seed, the step and the architecture, and so not on the other networks of a batch.
    """

    name = "sne/pad-chunk"

    @frozen(kw_only=True)
    class Config:
        """Options."""

        chunk_size: int = option(32, "C, the number of weights in a chunk", check=ge(1))
        conv_view: Literal["flat", "out_channel", "kernel"] = option(
            "flat",
            "where chunks of a convolution start anew: nowhere, at each output channel, or at each kernel",
        )
        linear_view: Literal["flat", "row"] = option(
            "flat", "where chunks of a matrix start anew: nowhere, or at each row, that is, at each neuron"
        )
        max_chunks: int | None = option(
            None,
            "largest number of chunks of a parameter; of more, a sample is encoded. none: all are encoded",
            check=optional(ge(1)),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.out = spec.gives(ChunkTokens, config.chunk_size)
        self._chunkings: dict[tuple[str, torch.device], _Chunking] = {}

    def forward(self, batch: Batch) -> tuple[ChunkTokens, ...]:
        """Return one ``ChunkTokens`` per architecture, with chunks ``(B, Q, C)``."""
        draw = batch.draw if self.training else None
        return tuple(self.cut(networks, draw) for networks in batch.networks)

    def cut(self, networks: Networks, draw: Draw | None = None) -> ChunkTokens:
        """Cut networks of one architecture, and return ``ChunkTokens`` with chunks ``(B, Q, C)``.

        Args:
            networks: the networks.
            draw: the training step for which a sample of chunks is drawn; None for the sample of evaluation.
        """
        chunking = self._chunking(networks.architecture, networks.weights.device)
        if draw is not None and chunking.counts != chunking.whole:
            chunking = self._drawn(networks.architecture, chunking, draw)
        # Append a zero to the weights. The indices of padding point to this zero.
        padded = torch.nn.functional.pad(networks.weights, (0, 1))
        chunks = padded.index_select(1, chunking.index.flatten()).unflatten(1, tuple(chunking.index.shape))
        return ChunkTokens(
            architecture=networks.architecture,
            chunks=chunks,
            mask=chunking.mask,
            parameter=chunking.parameter,
            counts=chunking.counts,
        )

    def stretches(self, parameter: Parameter, most: int) -> Iterator[tuple[int, int]]:
        """Yield the start and the end of each stretch of a parameter. The stretches cover the parameter.

        A stretch consists of whole chunks. If ``conv_view`` starts a new chunk at each output channel or
        kernel, a stretch consists of whole output channels or kernels. A stretch has at most ``most``
        weights, unless one chunk, channel or kernel has more.
        """
        piece = parameter.size // _views(parameter, self.config.conv_view, self.config.linear_view)
        whole = self.config.chunk_size if piece == parameter.size else piece
        step = max(1, most // whole) * whole
        for start in range(0, parameter.size, step):
            yield start, min(start + step, parameter.size)

    def cut_stretch(self, parameter: Parameter, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Cut one stretch of a parameter into q padded chunks.

        Returns:
            The chunks ``(q, C)``, and a mask ``(q, C)`` that is true for weights and false for padding.
        """
        piece = parameter.size // _views(parameter, self.config.conv_view, self.config.linear_view)
        rows = weights.reshape(-1, piece) if piece < parameter.size else weights[None]
        short = -rows.shape[1] % self.config.chunk_size
        chunks, mask = (
            torch.nn.functional.pad(each, (0, short)).reshape(-1, self.config.chunk_size)
            for each in (rows, torch.ones_like(rows, dtype=torch.bool))
        )
        return chunks, mask

    def sample(self, parameter: Parameter, weights: Tensor, most: int | None) -> tuple[Tensor, Tensor] | None:
        """Cut the chunks of a parameter that represent it in evaluation, or return None if these are all.

        No other weights are read.

        Args:
            parameter: the parameter.
            weights: its weights ``(n,)``, in any floating-point type.
            most: largest number of chunks; None for ``max_chunks``. The smaller of the two counts.

        Returns:
            The chunks ``(q, C)``, and a mask ``(q, C)`` that is true for weights and false for padding.
        """
        limits = [limit for limit in (most, self.config.max_chunks) if limit is not None]
        piece = parameter.size // _views(parameter, self.config.conv_view, self.config.linear_view)
        each = math.ceil(piece / self.config.chunk_size)
        count = each * (parameter.size // piece)
        if not limits or count <= min(limits):
            return None
        chosen = middles(count, min(limits))
        within = (chosen % each)[:, None] * self.config.chunk_size + torch.arange(self.config.chunk_size)
        mask = within < piece
        index = (chosen // each)[:, None] * piece + within
        return weights[index.clamp_(max=parameter.size - 1)].masked_fill(~mask, 0), mask

    def _chunking(self, architecture: Architecture, device: torch.device) -> _Chunking:
        """Return the indices that cut an architecture into chunks.

        They are computed once for each pair of an architecture and a device.
        """
        key = (architecture.id, device)
        if key not in self._chunkings:
            index, whole = chunk_index(
                architecture, self.config.chunk_size, self.config.conv_view, self.config.linear_view
            )
            most = self.config.max_chunks or max(whole)
            counts = tuple(min(count, most) for count in whole)
            kept = torch.cat([middles(*pair) for pair in zip(whole, counts, strict=True)])
            kept = kept + torch.tensor(_starts(whole)).repeat_interleave(torch.tensor(counts))
            all_chunks = index.to(device)
            self._chunkings[key] = _Chunking(
                index=all_chunks[kept.to(device)],
                mask=(index[kept] < architecture.num_weights).to(device),
                parameter=torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).to(device),
                counts=counts,
                all_chunks=all_chunks,
                whole=whole,
            )
        return self._chunkings[key]

    def _drawn(self, architecture: Architecture, chunking: _Chunking, draw: Draw) -> _Chunking:
        """Return a chunking whose sample is drawn for a training step."""
        device = chunking.index.device
        name = torch.tensor([word(f"chunks of {architecture.id}")], device=device)
        drawn = uniform(counted(streams(name, seed=draw.seed, step=draw.step), sum(chunking.counts)))[0]
        kept = []
        for start, whole, count, own in zip(
            _starts(chunking.whole),
            chunking.whole,
            chunking.counts,
            drawn.split(chunking.counts),
            strict=True,
        ):
            numbers = torch.arange(count, device=device)
            if count < whole:  # one chunk of each of ``count`` equal stretches
                numbers = ((numbers + own) * (whole / count)).long()
            kept.append(start + numbers)
        index = chunking.all_chunks[torch.cat(kept)]
        return evolve(chunking, index=index, mask=index < architecture.num_weights)


@frozen(kw_only=True, eq=False)
class _Chunking:
    """The indices that cut the flat weights of one architecture into Q chunks of C entries.

    Args:
        index: ``(Q, C)``: the index of each entry in the flat weights, as :func:`chunk_index` returns it.
        mask: ``(Q, C)``: true for weights and false for padding.
        parameter: ``(Q,)``: the index of the parameter that each chunk is cut from.
        counts: the number of chunks of each parameter.
        all_chunks: ``index`` of all chunks, of which ``index`` may be a sample.
        whole: ``counts`` of all chunks.
    """

    index: Tensor
    mask: Tensor
    parameter: Tensor
    counts: tuple[int, ...]
    all_chunks: Tensor
    whole: tuple[int, ...]


def middles(whole: int, count: int) -> Tensor:
    """Return the chunk in the middle of each of ``count`` equal stretches of ``whole`` chunks, ``(count,)``.

    With as many stretches as chunks, these are all chunks.
    """
    return (2 * torch.arange(count) + 1) * whole // (2 * count)


def _starts(counts: tuple[int, ...]) -> list[int]:
    """Return the sum of the counts before each count."""
    return [0, *itertools.accumulate(counts[:-1])]


def chunk_index(
    architecture: Architecture, chunk_size: int, conv_view: str, linear_view: str = "flat"
) -> tuple[Tensor, tuple[int, ...]]:
    """Return the indices of the weights in each chunk, and the number of chunks of each parameter.

    Args:
        architecture: the architecture. It has P weights.
        chunk_size: C.
        conv_view: the option of :class:`PadChunk`.
        linear_view: the option of :class:`PadChunk`.

    Returns:
        Indices ``(Q, C)`` into the P flat weights, and the number of chunks of each parameter. Padding has
        the index P.
    """
    rows = []
    for parameter, offset in zip(architecture.parameters, architecture.offsets, strict=True):
        flat = torch.arange(offset, offset + parameter.size).reshape(
            _views(parameter, conv_view, linear_view), -1
        )
        short = -flat.shape[1] % chunk_size
        padded = torch.nn.functional.pad(flat, (0, short), value=architecture.num_weights)
        rows.append(padded.reshape(-1, chunk_size))
    return torch.cat(rows), tuple(len(chunks) for chunks in rows)


def _views(parameter: Parameter, conv_view: str, linear_view: str) -> int:
    """Return the number of equal pieces of a parameter that are cut into chunks separately.

    The pieces are output channels or kernels for the weight of a convolution. Any other parameter is one
    piece.
    """
    if len(parameter.shape) == 2:
        return parameter.shape[0] if linear_view == "row" else 1
    if len(parameter.shape) < 3 or conv_view == "flat":
        return 1
    return parameter.shape[0] * (parameter.shape[1] if conv_view == "kernel" else 1)
