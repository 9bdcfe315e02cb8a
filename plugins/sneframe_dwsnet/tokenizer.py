"""``dwsnet/weight-features``: every weight and bias as it is, the entries of a kernel as channels."""

from __future__ import annotations

from typing import final

from attrs import frozen
from einops import rearrange

from sneframe.batch import Batch, Networks
from sneframe.part import ANY_ACTION, Spec, WeightFeatures
from sneframe.tokenizer import Tokenizer
from sneframe_dwsnet.chain import read_chain


@final
class WeightChannels(Tokenizer):
    """Views the weights ``(B, P)`` of a chain of linear and convolution layers as features.

    A weight between two neurons is one channel, a kernel between two channels of a convolution as many as it has entries,
    in the order in which they lie. Columns behind a flatten are blocks of positions, and channels likewise: channel *s* is
    position *s*.
    """

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
        """Return weights ``(B, k, out, in)``, k the entries of a kernel, and biases ``(B, 1, out)``.

        Raises:
            PartError: a network of another architecture than the one it was built for.
        """
        return tuple(self._features(networks) for networks in batch.networks)

    def _features(self, networks: Networks) -> WeightFeatures:
        self.check_architecture(networks.architecture, built_for=self.architecture)
        views = networks.parameters()
        features = [
            rearrange(
                views[member.name].flatten(2), "b rows (columns k) -> b k rows columns", k=member.entries
            )
            if member.role == "weight"
            else rearrange(views[member.name], "b rows -> b 1 rows")
            for member in self.members
        ]
        depth = len(features) // 2
        return WeightFeatures(
            architecture=networks.architecture,
            weights=tuple(features[:depth]),
            biases=tuple(features[depth:]),
        )
