"""``sne/pad-chunk`` cuts parameters into chunks (SNE, eq 1), by one gather for each architecture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, final

import torch
from attrs import frozen
from attrs.validators import ge
from torch import Tensor

from sneframe.architecture import Architecture, Parameter
from sneframe.batch import Batch, Networks
from sneframe.config.schema import option
from sneframe.parts.carriers import ChunkTokens
from sneframe.parts.part import Spec
from sneframe.parts.tokenizer import Tokenizer


@final
class PadChunk(Tokenizer):
    """Cuts every parameter into chunks of C scalars, and pads the last one with zeros (SNE, eq 1).

    The paper leaves open how a convolution kernel ``(out, in, *k)`` is flattened. ``flat`` takes the tensor
    in its own order, ``out_channel`` starts a new chunk with each output channel, and ``kernel`` with each
    kernel ``k``.
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

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.out = spec.gives(ChunkTokens, config.chunk_size)
        self._chunkings: dict[tuple[str, torch.device], _Chunking] = {}

    def forward(self, batch: Batch) -> tuple[ChunkTokens, ...]:
        """Return chunks ``(B, Q, C)`` for each architecture."""
        return tuple(self.cut(networks) for networks in batch.networks)

    def cut(self, networks: Networks) -> ChunkTokens:
        """Return chunks ``(B, Q, C)`` for networks of one architecture."""
        chunking = self._chunking(networks.architecture, networks.weights.device)
        # Append a zero to the weights. The indices of padding point to it.
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
        """Yield start and end of stretches of a parameter with about ``most`` weights each.

        A stretch never cuts a chunk, and where chunks start anew at each piece (``conv_view``), it never cuts
        a piece.
        """
        piece = parameter.size // _views(parameter, self.config.conv_view)
        whole = self.config.chunk_size if piece == parameter.size else piece
        step = max(1, most // whole) * whole
        for start in range(0, parameter.size, step):
            yield start, min(start + step, parameter.size)

    def cut_stretch(self, parameter: Parameter, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the padded chunks ``(q, C)`` of a stretch, and their mask ``(q, C)``, true for weights."""
        piece = parameter.size // _views(parameter, self.config.conv_view)
        rows = weights.reshape(-1, piece) if piece < parameter.size else weights[None]
        short = -rows.shape[1] % self.config.chunk_size
        chunks, mask = (
            torch.nn.functional.pad(each, (0, short)).reshape(-1, self.config.chunk_size)
            for each in (rows, torch.ones_like(rows, dtype=torch.bool))
        )
        return chunks, mask

    def _chunking(self, architecture: Architecture, device: torch.device) -> _Chunking:
        """Return how an architecture is cut, made once for each device."""
        key = (architecture.id, device)
        if key not in self._chunkings:
            index, counts = chunk_index(architecture, self.config.chunk_size, self.config.conv_view)
            self._chunkings[key] = _Chunking(
                index=index.to(device),
                mask=(index < architecture.num_weights).to(device),
                parameter=torch.arange(len(counts)).repeat_interleave(torch.tensor(counts)).to(device),
                counts=counts,
            )
        return self._chunkings[key]


@frozen(kw_only=True, eq=False)
class _Chunking:
    """How the weights of one architecture are cut into Q chunks.

    Args:
        index: ``(Q, C)`` indices into the flat weights; see :func:`chunk_index`.
        mask: ``(Q, C)``, true for weights and false for padding.
        parameter: ``(Q,)``, the parameter of each chunk.
        counts: the number of chunks of each parameter.
    """

    index: Tensor
    mask: Tensor
    parameter: Tensor
    counts: tuple[int, ...]


def chunk_index(
    architecture: Architecture, chunk_size: int, conv_view: str
) -> tuple[Tensor, tuple[int, ...]]:
    """Return which weights each chunk holds, and how many chunks each parameter has.

    Returns:
        Indices ``(Q, C)`` into the P flat weights, which are P for padding, and the number of chunks of each
        parameter.
    """
    rows = []
    for parameter, offset in zip(architecture.parameters, architecture.offsets, strict=True):
        flat = torch.arange(offset, offset + parameter.size).reshape(_views(parameter, conv_view), -1)
        short = -flat.shape[1] % chunk_size
        padded = torch.nn.functional.pad(flat, (0, short), value=architecture.num_weights)
        rows.append(padded.reshape(-1, chunk_size))
    return torch.cat(rows), tuple(len(chunks) for chunks in rows)


def _views(parameter: Parameter, conv_view: str) -> int:
    """Return the number of pieces into which a parameter is cut before chunking."""
    if len(parameter.shape) < 3 or conv_view == "flat":
        return 1
    return parameter.shape[0] * (parameter.shape[1] if conv_view == "kernel" else 1)
