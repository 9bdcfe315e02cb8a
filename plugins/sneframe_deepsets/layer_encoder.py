"""``deepsets/weight-set``: every parameter as a set of weights → one code per parameter."""

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
    """The code of a parameter is the mean of φ([*w*, *e*]) over its weights *w* (Zaheer et al. 2017, arXiv 1703.06114).

    *e* ``(D,)`` says what the parameter is and where it stands: a learned vector for its type plus sinusoids of its
    level. φ is a perceptron ``1 + D → D → … → D``, the same for all parameters and architectures. A mean does not see
    the order of the weights, so nothing changes when neurons are permuted, and also nothing when weights of one
    parameter are exchanged in any other way: which weights belong to one neuron is lost.

    φ costs D numbers on every weight. Its first layer is *w* a + A *e* + c, of which only *w* a differs between the
    weights of a parameter; and weights go through in passes, each of which is computed anew for its gradient where there
    are several, so that memory does not grow with the networks.
    """

    name = "deepsets/weight-set"
    keeps = frozenset({"permute"})
    takes = (Networks,)
    local = True

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(64, "D, the width of φ and of the codes", check=ge(2))
        depth: int = option(2, "linear layers of φ", check=ge(2))
        weights_per_pass: int = option(
            2**18, "weights encoded at a time, over all networks of an architecture", check=ge(1)
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        width = config.width
        self.out = spec.gives(LayerCodes, width)
        self.encoding = LevelTypeEncoding(spec.architectures, width)
        self.phi = perceptron((1 + width, *[width] * config.depth))

    def forward(self, tokens: tuple[Networks, ...]) -> tuple[LayerCodes, ...]:
        """Return codes ``(B, L, D)`` per architecture, L its parameters."""
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
            given = weights[:, start : start + step], encoding, pieces
            again = len(starts) > 1 and torch.is_grad_enabled()
            found = (
                checkpoint(self._sums, *given, use_reentrant=False, preserve_rng_state=False)
                if again
                else self._sums(*given)
            )
            for (number, _), total in zip(pieces, found, strict=True):
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
        """Return for each piece of the weights the sum of φ ``(B, D)``."""
        first, *rest = self.phi
        assert isinstance(first, nn.Linear)
        by_weight, by_encoding = first.weight.tensor_split([1], dim=1)
        sizes = [size for _, size in pieces]
        each = F.linear(encoding[pieces[0][0] : pieces[-1][0] + 1], by_encoding, first.bias)
        hidden = torch.cat(
            [
                torch.addcmul(row, values[..., None], by_weight[:, 0])
                for row, values in zip(each, weights.split(sizes, dim=1), strict=True)
            ],
            dim=1,
        )
        for layer in rest:
            hidden = layer(hidden)
        single = torch.promote_types(hidden.dtype, torch.float32)  # sums of passes are summed again
        return tuple(piece.sum(dim=1, dtype=single) for piece in hidden.split(sizes, dim=1))


def _pieces(offsets: tuple[int, ...], end: int, start: int, stop: int) -> tuple[tuple[int, int], ...]:
    """Return the parameters that have weights from ``start`` up to ``stop``, and how many of them."""
    ends = (*offsets[1:], end)
    cuts = ((max(a, start), min(b, stop)) for a, b in zip(offsets, ends, strict=True))
    return tuple((number, b - a) for number, (a, b) in enumerate(cuts) if b > a)
