"""``dwsnet/weight-features`` passes on the weights and biases of a chain as features with one channel."""

from __future__ import annotations

from typing import final

from attrs import frozen

from sneframe.batch import Batch, Networks
from sneframe.parts.carriers import WeightFeatures
from sneframe.parts.part import ANY_ACTION, Spec
from sneframe.parts.tokenizer import Tokenizer


@final
class DWSChannels(Tokenizer):
    """Passes on the weight and bias of each layer of a chain unchanged, with a channel axis of length 1."""

    name = "dwsnet/weight-features"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.links = self.one_chain(spec)
        self.out = spec.gives(WeightFeatures, 1)

    def forward(self, batch: Batch) -> tuple[WeightFeatures, ...]:
        """Return weights ``(B, 1, *shape)`` and biases ``(B, 1, out)``.

        Raises:
            PartError: a network does not have the layout for which the part was built.
        """
        return tuple(self._features(networks) for networks in batch.networks)

    def _features(self, networks: Networks) -> WeightFeatures:
        self.check_layout(networks.architecture)
        return WeightFeatures.of(networks, self.links)
