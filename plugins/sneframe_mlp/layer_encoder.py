"""``mlp/columns``: flat weights → for each parameter its share of a perceptron's first layer."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from attrs import frozen
from attrs.validators import ge
from torch import nn

from sneframe.batch import Networks
from sneframe.config.schema import option
from sneframe.parts.carriers import LayerCodes, each_parameter
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec


@final
class Columns(LayerEncoder):
    """Maps every parameter by the columns of a linear map that meet it.

    A linear map of the flat weights *x* ``(P,)`` is the sum of its parts, W *x* = Σ_l W_l *x_l*, with *x_l* the weights
    of parameter *l* and W_l ``(D, size)`` the columns that meet them. The code of *l* is W_l *x_l*; ``mlp/perceptron``
    sums the codes and goes on. The number of columns is that of the weights, so there can be one architecture alone.
    """

    name = "mlp/columns"
    takes = (Networks,)
    local = True

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(256, "D, the width of the first layer", check=ge(1))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        architecture = self.one_layout(spec)
        self.out = spec.gives(LayerCodes, config.width)
        self.linear = nn.Linear(architecture.num_weights, config.width, bias=False)

    def forward(self, tokens: tuple[Networks, ...]) -> tuple[LayerCodes, ...]:
        """Return codes ``(B, L, D)``, L the parameters.

        Raises:
            PartError: networks of another architecture than the one it was built for.
        """
        return tuple(self._encode(networks) for networks in tokens)

    def _encode(self, networks: Networks) -> LayerCodes:
        architecture = networks.architecture
        self.check_layout(architecture)
        sizes = [parameter.size for parameter in architecture.parameters]
        pairs = zip(networks.weights.split(sizes, dim=1), self.linear.weight.split(sizes, dim=1), strict=True)
        return LayerCodes(
            architecture=architecture,
            codes=torch.stack([F.linear(values, columns) for values, columns in pairs], dim=1),
            units=each_parameter(architecture),
        )
