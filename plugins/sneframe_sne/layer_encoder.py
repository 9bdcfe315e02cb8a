"""``sne/chunk-set`` encodes chunks, and then each parameter or layer as a set of chunks (SNE, eqs 2–5)."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Literal, final

import torch
from attrs import evolve, frozen
from attrs.validators import ge
from einops import rearrange
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.config.schema import option
from sneframe.config.validators import check_heads
from sneframe.errors import PartError
from sneframe.nn.level_type_encoding import LevelTypeEncoding
from sneframe.parts.carriers import ChunkTokens, LayerCodes, each_parameter
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec
from sneframe.parts.streaming import Block
from sneframe_sne.online import Blocks, induced, kept, pooled, whole
from sneframe_sne.plain import ChunkMLP, MeanMLP
from sneframe_sne.scalar_attention import IN_CACHE, ScalarSAB
from sneframe_sne.set_attention import ISAB, PMA, SAB

#: Measured: this many values are in memory for each of the C × D numbers that encode a chunk.
ALIVE = 10
#: With one block in Φ1, this many are in memory for each of the H × C attention weights of a chunk, this many
#: for each of the H × D numbers that are pooled, and this many arrays of the size of a core's cache.
ALIVE_SCORES, ALIVE_POOLED, ALIVE_CACHES = 6, 3, 7
#: With one block in Φ1, a chunk takes less memory, so this many times as many are encoded at a time.
MORE_WITH_ONE = 4
LEAST = 1e-3  #: the scale of weights that are all zero, after normalisation
KEPT = 4  #: chunk codes are stored if they take at most 1 / KEPT of the memory


@final
class ChunkSet(LayerEncoder):
    """Encodes every chunk as a set of scalars, and every unit as a set of chunks (SNE, eqs 2–5).

    A unit is a parameter or a layer. Φ1 maps the C weights of a chunk to C × D values. An encoding of the
    chunk's type and level is added, and Ψ2 pools the sum to the chunk code, D values. Φ3 is applied to the
    chunk codes of a unit. An encoding of the unit is added, and Ψ4 pools the sum to the code of the unit, D
    values. Each Φ is two set attention blocks, and each Ψ is a PMA, which pools by attention. All chunks,
    units and architectures share the same learned weights. The code of a unit depends only on its own
    weights, its type and its level.

    The paper leaves open whether the weight and the bias of a layer are one unit, how encodings are computed,
    and where encodings are added. Here the option ``unit`` decides what a unit is. An encoding is a learned
    vector for the type plus sinusoids of the level. Chunks and units have separate learned vectors. The
    position of a chunk in its parameter is not encoded.
    """

    name = "sne/chunk-set"
    takes = (ChunkTokens,)
    local = True

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(64, "D, the width of chunk codes and layer codes", check=ge(2))
        heads: int = option(4, "number of attention heads; it must divide the width", check=ge(1))
        blocks: int = option(
            2, "number of set attention blocks in Φ1; the first one works on scalars", check=ge(1)
        )
        unit: Literal["parameter", "layer"] = option(
            "parameter", "what Φ3 and Ψ4 encode: the chunks of one parameter, or of one layer"
        )
        attention: Literal["isab", "sab"] = option(
            "isab", "the blocks of Φ3: isab takes time linear in the number of chunks, sab quadratic"
        )
        points: int = option(16, "number of inducing points in isab", check=ge(1))
        chunks_per_pass: int = option(
            512,
            "number of chunks encoded at a time, four times as many with one block in Φ1; a smaller number "
            "takes less memory",
            check=ge(1),
        )
        level_encoding: bool = option(True, "whether an encoding of the level is added before Ψ2 and Ψ4")
        type_encoding: bool = option(True, "whether an encoding of the type is added before Ψ2 and Ψ4")
        scale_encoding: bool = option(
            False, "whether weights enter relative to their parameter's scale, and scales are encoded apart"
        )
        set_functions: bool = option(
            True,
            "whether to use Φ and Ψ; false, for ablations, takes an MLP on each chunk and the mean of chunks",
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        width, heads = config.width, config.heads
        check_heads(f"{self.slot} {self.name!r}", width, heads)
        self.out = spec.gives(LayerCodes, width)
        self._chunk_size = spec.width
        encoding = functools.partial(
            LevelTypeEncoding,
            spec.architectures,
            width,
            level=config.level_encoding,
            type=config.type_encoding,
        )
        self.chunk_scale = nn.Linear(1, width) if config.scale_encoding else None
        self.unit_scale = nn.Linear(1, width) if config.scale_encoding else None
        self.psi4: MeanMLP | PMA
        if not config.set_functions:
            self.chunk_encoding, self.unit_encoding = encoding(), encoding()
            self.chunk_mlp = ChunkMLP(spec.width, width)
            self.phi3, self.psi4 = nn.ModuleList(), MeanMLP(width)
            return
        self.phi1_scalar = ScalarSAB(width, heads)
        self.phi1 = nn.ModuleList(SAB(width, heads) for _ in range(config.blocks - 1))
        self.chunk_encoding = encoding()
        self.psi2 = PMA(width, heads)
        self.phi3 = nn.ModuleList(
            ISAB(width, heads, config.points) if config.attention == "isab" else SAB(width, heads)
            for _ in range(2)
        )
        self.unit_encoding = encoding()
        self.psi4 = PMA(width, heads)

    def forward(self, tokens: tuple[ChunkTokens, ...]) -> tuple[LayerCodes, ...]:
        """Return codes ``(B, L, D)`` for each architecture. L is the number of its units."""
        scales: list[Tensor] = []
        if self.config.scale_encoding:
            scales = [scales_of(entry) for entry in tokens]
            tokens = tuple(relative(entry, own) for entry, own in zip(tokens, scales, strict=True))
        return self._units(tokens, self._chunks(tokens), scales)

    @property
    def _per_pass(self) -> int:
        """The number of chunks that are encoded at a time."""
        one = self.config.set_functions and not self.phi1
        return self.config.chunks_per_pass * (MORE_WITH_ONE if one else 1)

    def units(self, architecture: Architecture) -> tuple[tuple[int, ...], ...]:
        """Return the indices of the parameters of each unit. They are consecutive."""
        if self.config.unit == "parameter":
            return each_parameter(architecture)
        layers: dict[int, list[int]] = defaultdict(list)
        for parameter, layer in enumerate(architecture.layer_of_parameter):
            layers[layer].append(parameter)
        return tuple(tuple(parameters) for parameters in layers.values())

    def least(self) -> int:
        """Return the number of bytes of memory that one pass over chunks takes."""
        config, size = self.config, next(iter(self.parameters())).element_size()
        if not config.set_functions:
            return ALIVE * config.chunks_per_pass * config.width * size
        if config.blocks == 1:
            alive = config.heads * (ALIVE_SCORES * self._chunk_size + ALIVE_POOLED * config.width)
            return (alive * self._per_pass + ALIVE_CACHES * IN_CACHE) * size
        return ALIVE * config.width * config.chunks_per_pass * self._chunk_size * size

    def encode_unit(
        self,
        architecture: Architecture,
        unit: tuple[int, ...],
        blocks: Callable[[], Iterator[Block]],
        *,
        memory: int,
    ) -> Tensor:
        """Return the code ``(1, D)`` of one unit. It equals the code from :meth:`forward` up to rounding.

        Chunk codes are stored if they take at most a quarter of ``memory`` and leave enough of ``memory`` for
        a pass over chunks. Otherwise each pass over the unit computes the chunk codes again. Full set
        attention (``attention='sab'``) always stores the chunk codes.

        Args:
            architecture: the network's architecture.
            unit: the indices of the unit's parameters.
            blocks: yields the blocks of chunks of the unit, from the first one whenever it is called.
            memory: the number of bytes that may be used.

        Raises:
            PartError: full set attention over the chunks of the unit would take more than ``memory``.
        """
        like, size = next(iter(self.parameters())), self._per_pass
        count, scales = 0, dict[int, Tensor]()
        squares, weights = dict.fromkeys(unit, torch.zeros(())), dict.fromkeys(unit, 0)
        for block in blocks():
            count += len(block.chunks)
            squares[block.parameter] = squares[block.parameter] + squared(block.chunks, block.mask).sum()
            weights[block.parameter] += int(block.mask.sum())
        if self.config.scale_encoding:
            scales = {each: root_mean_square(squares[each], weights[each]) for each in unit}
        encodings = self.chunk_encoding(architecture, each_parameter(architecture), like)

        def encoded() -> Iterator[Tensor]:
            for block in blocks():
                own = block.chunks / scales[block.parameter] if scales else block.chunks
                for chunks, mask in zip(own.split(size), block.mask.split(size), strict=True):
                    yield self._encode(chunks, mask, encodings[block.parameter].expand(len(chunks), -1))

        quadratic = self.config.attention == "sab" and self.config.set_functions
        if quadratic:
            self._check_attention(architecture, unit, count, memory)
        room = min(memory // KEPT, memory - self.least())
        fits = count * self.config.width * like.element_size() <= room
        codes: Blocks = kept(encoded) if fits or quadratic else encoded
        for function in self.phi3:
            codes = induced(function, codes) if isinstance(function, ISAB) else whole(function, codes, size)
        units = self.units(architecture)
        added = self.unit_encoding(architecture, units, like)[units.index(unit)]
        if self.unit_scale is not None:
            added = added + self.unit_scale(torch.stack([*scales.values()]).log().mean(0, keepdim=True))
        return pooled(self.psi4, lambda: (block + added for block in codes()))

    def _check_attention(
        self, architecture: Architecture, unit: tuple[int, ...], count: int, memory: int
    ) -> None:
        """Raise an error if the attention scores of all pairs of chunks do not fit in memory."""
        needed = self.config.heads * count * count * 4
        if needed > memory:
            names = " and ".join(repr(architecture.parameters[number].name) for number in unit)
            raise PartError(
                f"{self.slot} {self.name!r}: {names} is cut into {count:,} chunks, and full set attention "
                f"over them (attention='sab') would take {needed / 2**30:,.1f} GiB and "
                f"{2 * count**2 * self.config.width:.1e} multiplications a block, but the limit is "
                f"{memory / 2**30:.1f} GiB. A model with attention='isab' needs less"
            )

    def _chunks(self, tokens: tuple[ChunkTokens, ...]) -> list[Tensor]:
        """Return chunk codes ``(B, Q, D)`` for each architecture. The chunks of all are encoded together."""
        chunks, encodings, full, rows = [], [], [], []
        for entry in tokens:
            size, count, _ = entry.chunks.shape
            by_parameter = self.chunk_encoding(
                entry.architecture, each_parameter(entry.architecture), entry.chunks
            )
            encodings.append(by_parameter[entry.parameter].repeat(size, 1))
            chunks.append(rearrange(entry.chunks, "b q c -> (b q) c"))
            full.append(entry.mask.repeat(size, 1))
            rows.append((size, count))
        passes = [torch.cat(parts).split(self._per_pass) for parts in (chunks, full, encodings)]
        codes = torch.cat([self._encode(*inputs) for inputs in zip(*passes, strict=True)])
        split = codes.split([size * count for size, count in rows])
        return [rearrange(c, "(b q) d -> b q d", b=size) for c, (size, _) in zip(split, rows, strict=True)]

    def _encode(self, chunks: Tensor, mask: Tensor, encoding: Tensor) -> Tensor:
        """Return chunk codes ``(Q, D)`` for ``chunks (Q, C)``, ``mask (Q, C)`` and ``encoding (Q, D)``."""
        if self.chunk_scale is not None:
            scale = root_mean_square(squared(chunks, mask)[:, None], mask.sum(-1, keepdim=True))
            encoding = encoding + self.chunk_scale(scale.log())
        if not self.config.set_functions:
            return self.chunk_mlp(chunks, mask, encoding)
        if not self.phi1:
            return self.phi1_scalar.pooled(chunks, mask, self.psi2, encoding)
        codes = self.phi1_scalar(chunks, mask)
        for block in self.phi1:
            codes = block(codes, mask)
        return self.psi2(codes + rearrange(encoding, "q d -> q 1 d"), mask)

    def _units(
        self, tokens: tuple[ChunkTokens, ...], codes: list[Tensor], scales: list[Tensor]
    ) -> tuple[LayerCodes, ...]:
        """Compute the codes of units from chunk codes, and from the scales of parameters if they are encoded.

        Units with the same number of chunks are encoded together.
        """
        units = [self.units(entry.architecture) for entry in tokens]
        #: by the number of chunks: the index of the architecture, the index of the unit, its chunk codes
        sets: dict[int, list[tuple[int, int, Tensor]]] = defaultdict(list)
        encodings = [
            self.unit_encoding(entry.architecture, unit, code)
            for entry, unit, code in zip(tokens, units, codes, strict=True)
        ]
        for number, entry in enumerate(tokens):
            start = 0
            for index, unit in enumerate(units[number]):
                count = sum(entry.counts[parameter] for parameter in unit)
                sets[count].append((number, index, codes[number][:, start : start + count]))
                start += count
        pooled: dict[tuple[int, int], Tensor] = {}
        for same_count in sets.values():
            joined = torch.cat([chunk_codes for _, _, chunk_codes in same_count])
            for block in self.phi3:
                joined = block(joined)
            added = [encodings[number][index].expand(len(own), -1) for number, index, own in same_count]
            if self.unit_scale is not None:
                logs = [
                    scales[number][:, list(units[number][index])].log().mean(1, keepdim=True)
                    for number, index, _ in same_count
                ]
                added = [sum_ + self.unit_scale(log) for sum_, log in zip(added, logs, strict=True)]
            vectors = self.psi4(joined + rearrange(torch.cat(added), "s d -> s 1 d"))
            split = vectors.split([len(own) for _, _, own in same_count])
            for (number, index, _), vector in zip(same_count, split, strict=True):
                pooled[number, index] = vector
        return tuple(
            LayerCodes(
                architecture=entry.architecture,
                codes=torch.stack([pooled[number, index] for index in range(len(units[number]))], dim=1),
                units=units[number],
            )
            for number, entry in enumerate(tokens)
        )


def scales_of(entry: ChunkTokens) -> Tensor:
    """Return the scale ``(B, L)``: the root mean square of each of the L parameters of each network."""
    squares = squared(entry.chunks, entry.mask)
    sums = squares.new_zeros(len(squares), len(entry.counts)).index_add_(1, entry.parameter, squares)
    counts = squares.new_zeros(len(entry.counts)).index_add_(
        0, entry.parameter, entry.mask.sum(-1).to(squares.dtype)
    )
    return root_mean_square(sums, counts)


def relative(entry: ChunkTokens, scales: Tensor) -> ChunkTokens:
    """Return the tokens with each weight divided by the scale of its parameter, ``scales (B, L)``."""
    return evolve(entry, chunks=entry.chunks / scales[:, entry.parameter, None])


def squared(chunks: Tensor, mask: Tensor) -> Tensor:
    """Return the sum ``(…)`` of the squared weights of each chunk, for ``chunks (…, C)`` and their mask."""
    return chunks.masked_fill(~mask, 0).square().sum(-1)


def root_mean_square(sums: Tensor, counts: Tensor | int) -> Tensor:
    """Return the root of the mean square and LEAST², for sums of squares over so many weights.

    Where all weights are zero the result is LEAST, so that its logarithm and its gradient are finite.
    """
    return (sums / counts + LEAST**2).sqrt()
