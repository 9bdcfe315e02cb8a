"""``mlp/columns`` computes the term of each parameter in the first layer of a perceptron on flat weights."""

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
    """Multiplies the weights of each parameter by the columns of a linear map that belong to these weights.

    A linear map W ``(D, P)`` of the flat weights *x* ``(P,)`` is a sum over parameters: W *x* = Σ_l W_l
    *x_l*. Here *x_l* are the weights of parameter *l*, and W_l ``(D, size)`` are the columns that multiply
    *x_l*. The code of *l* is W_l *x_l*. ``mlp/perceptron`` sums the codes and applies the rest of the
    perceptron. W has one column for each weight, so all networks of the zoo must have the same parameters.
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
        """Return codes ``(B, L, D)``. L is the number of parameters.

        Raises:
            PartError: a network does not have the layout for which the part was built.
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
