"""``deepsets/weight-set`` encodes each parameter as a set of weights."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from attrs import frozen
from attrs.validators import ge
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sneframe.batch import Networks
from sneframe.config.schema import option
from sneframe.nn.level_type_encoding import LevelTypeEncoding
from sneframe.nn.perceptron import perceptron
from sneframe.parts.carriers import LayerCodes, each_parameter
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec


@final
class WeightSet(LayerEncoder):
    """Computes the code of a parameter as the mean of φ([*w*, *e*]) over its weights *w*.

    Deep Sets are due to Zaheer et al. (2017, arXiv 1703.06114). *e* ``(D,)`` identifies the parameter: it is
    the sum of a learned vector for its type and sinusoids of its level. φ is a perceptron
    ``1 + D → D → … → D``, shared by all parameters and architectures. The mean does not depend on the order
    of the weights, so permuting neurons does not change the code. No other exchange of weights within a
    parameter changes the code either: φ cannot see which weights belong to the same neuron. The SNE paper
    compares SNE with Deep Sets, but no public code of those Deep Sets is known. This part follows Zaheer et
    al., and computes *e* as SNE does.

    φ computes D numbers for every weight. Two measures limit the time and the memory. First, the first layer
    of φ is computed as *w* a + A *e* + c, where only *w* a differs between the weights of a parameter.
    Second, weights are encoded in passes. If there is more than one pass, the backward pass computes each of
    them again, so that memory does not grow with the size of the networks.
    """

    name = "deepsets/weight-set"
    keeps = frozenset({"permute"})
    takes = (Networks,)
    local = True

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(64, "D, the width of φ and of the codes", check=ge(2))
        depth: int = option(2, "number of linear layers of φ", check=ge(2))
        weights_per_pass: int = option(
            2**18,
            "number of weights encoded at a time, over all networks of an architecture in a batch",
            check=ge(1),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        width = config.width
        self.out = spec.gives(LayerCodes, width)
        self.encoding = LevelTypeEncoding(spec.architectures, width)
        self.phi = perceptron((1 + width, *[width] * config.depth))

    def forward(self, tokens: tuple[Networks, ...]) -> tuple[LayerCodes, ...]:
        """Return codes ``(B, L, D)`` for each architecture. L is the number of its parameters."""
        return tuple(self._encode(networks) for networks in tokens)

    def _encode(self, networks: Networks) -> LayerCodes:
        architecture, weights = networks.architecture, networks.weights
        units = each_parameter(architecture)
        encoding = self.encoding(architecture, units, weights)
        step = max(1, self.config.weights_per_pass // max(1, len(weights)))
        starts = range(0, architecture.num_weights, step)
        sums: list[Tensor | None] = [None] * len(units)
        for start in starts:
            pieces = _pieces(architecture.offsets, architecture.num_weights, start, start + step)
            inputs = weights[:, start : start + step], encoding, pieces
            recompute = len(starts) > 1 and torch.is_grad_enabled()
            totals = (
                checkpoint(self._sums, *inputs, use_reentrant=False, preserve_rng_state=False)
                if recompute
                else self._sums(*inputs)
            )
            for (number, _), total in zip(pieces, totals, strict=True):
                before = sums[number]
                sums[number] = total if before is None else before + total
        means = [
            total / parameter.size
            for total, parameter in zip(sums, architecture.parameters, strict=True)
            if total is not None
        ]
        return LayerCodes(architecture=architecture, codes=torch.stack(means, dim=1), units=units)

    def _sums(
        self, weights: Tensor, encoding: Tensor, pieces: tuple[tuple[int, int], ...]
    ) -> tuple[Tensor, ...]:
        """Return the sum ``(B, D)`` of φ over each piece. A piece is the weights of one parameter in a pass.

        Args:
            weights: ``(B, n)``, the weights of one pass.
            encoding: ``(L, D)``, the vector *e* of every parameter of the architecture.
            pieces: for each piece, in order, the index of the parameter and the number of weights.
        """
        first, *rest = self.phi
        assert isinstance(first, nn.Linear)
        by_weight, by_encoding = first.weight.tensor_split([1], dim=1)
        sizes = [size for _, size in pieces]
        rows = F.linear(encoding[pieces[0][0] : pieces[-1][0] + 1], by_encoding, first.bias)
        hidden = torch.cat(
            [
                torch.addcmul(row, values[..., None], by_weight[:, 0])
                for row, values in zip(rows, weights.split(sizes, dim=1), strict=True)
            ],
            dim=1,
        )
        for layer in rest:
            hidden = layer(hidden)
        # Sum in single precision at least, because the sums of several passes are added later.
        single = torch.promote_types(hidden.dtype, torch.float32)
        return tuple(piece.sum(dim=1, dtype=single) for piece in hidden.split(sizes, dim=1))


def _pieces(offsets: tuple[int, ...], end: int, start: int, stop: int) -> tuple[tuple[int, int], ...]:
    """Return the index of each parameter with weights in ``[start, stop)``, and the number of such weights.

    Args:
        offsets: the index of each parameter's first weight.
        end: the number of weights of the network.
        start: the index of the first weight of the pass.
        stop: the index after the last weight of the pass.
    """
    ends = (*offsets[1:], end)
    cuts = ((max(a, start), min(b, stop)) for a, b in zip(offsets, ends, strict=True))
    return tuple((number, b - a) for number, (a, b) in enumerate(cuts) if b > a)
