"""``tokenizer/flat`` passes on flat weights, and ``tokenizer/neurons`` gives a token for each neuron."""

from __future__ import annotations

from typing import final

import torch
from attrs import frozen
from attrs.validators import ge, optional
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.architecture.neurons import neuron_layout, widest
from sneframe.batch import Batch, Networks
from sneframe.config.schema import option
from sneframe.parts.carriers import NeuronTokens
from sneframe.parts.part import ANY_ACTION, Spec
from sneframe.parts.tokenizer import Tokenizer


@final
class Flat(Tokenizer):
    """Passes on the flat weights ``(B, P)`` unchanged.

    The architecture tells the layer encoder where each parameter is.
    """

    name = "tokenizer/flat"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.out = spec.gives(Networks, 1)

    def forward(self, batch: Batch) -> tuple[Networks, ...]:
        """Return the weights ``(B, P)`` for each architecture."""
        return batch.networks


@final
class Neurons(Tokenizer):
    """Gives one token for each neuron: the weights that it reads with, its bias, and its weights in a norm.

    A neuron is an output of a linear layer, or a channel of a convolution. Every weight is in exactly one
    token; :mod:`sneframe.architecture.neurons` says in which. Schürholt et al. use such tokens (HyperRep,
    arXiv 2110.15288; SANE, arXiv 2406.09997).
    """

    name = "tokenizer/neurons"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """Options."""

        token_size: int | None = option(
            None,
            "S, the number of weights of a token; longer tokens are split, shorter ones padded; none: that "
            "of the largest token in the training zoo",
            check=optional(ge(1)),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.size = config.token_size or widest(spec.architectures)
        self.out = spec.gives(NeuronTokens, self.size)
        self._constants: dict[tuple[str, torch.device], tuple[Tensor, Tensor, Tensor]] = {}

    def forward(self, batch: Batch) -> tuple[NeuronTokens, ...]:
        """Return tokens ``(B, Q, S)`` for each architecture, with zeros as padding."""
        return tuple(self._tokens(networks) for networks in batch.networks)

    def _tokens(self, networks: Networks) -> NeuronTokens:
        weights = networks.weights
        index, mask, positions = self._constant(networks.architecture, weights.device)
        tokens = weights.index_select(1, index).unflatten(1, tuple(mask.shape)).masked_fill(~mask, 0)
        return NeuronTokens(architecture=networks.architecture, tokens=tokens, mask=mask, positions=positions)

    def _constant(self, architecture: Architecture, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        key = (architecture.id, device)
        if key not in self._constants:
            layout = neuron_layout(architecture, self.size)
            index = torch.from_numpy(layout.index.ravel().clip(0))  # what is read for padding is overwritten
            mask, positions = torch.from_numpy(layout.mask), torch.from_numpy(layout.positions)
            self._constants[key] = (index.to(device), mask.to(device), positions.to(device))
        return self._constants[key]
