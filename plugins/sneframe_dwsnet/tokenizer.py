"""``dwsnet/weight-features``: every weight and bias as it is, with one channel."""

from __future__ import annotations

from typing import final

from attrs import frozen

from sneframe.batch import Batch, Networks
from sneframe.errors import PartError
from sneframe.part import ANY_ACTION, Spec, WeightFeatures
from sneframe.tokenizer import Tokenizer
from sneframe_dwsnet.chain import read_chain


@final
class WeightChannels(Tokenizer):
    """Views the weights ``(B, P)`` of a multi-layer perceptron as features of one channel."""

    name = "dwsnet/weight-features"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.members = read_chain(self, spec)
        self.architecture = self.one_architecture(spec)
        self.out = spec.gives(WeightFeatures, 1)

    def forward(self, batch: Batch) -> tuple[WeightFeatures, ...]:
        """Return weights ``(B, 1, out, in)`` and biases ``(B, 1, out)``.

        Raises:
            PartError: a network of another architecture than the one it was built for.
        """
        return tuple(self._features(networks) for networks in batch.networks)

    def _features(self, networks: Networks) -> WeightFeatures:
        if networks.architecture != self.architecture:
            raise PartError(
                f"tokenizer {self.name!r} was built for {self.architecture.summary}, "
                f"it is given {networks.architecture.summary}"
            )
        views = networks.parameters()
        features = [views[member.name].unsqueeze(1) for member in self.members]
        depth = len(features) // 2
        return WeightFeatures(
            architecture=networks.architecture,
            weights=tuple(features[:depth]),
            biases=tuple(features[depth:]),
        )
