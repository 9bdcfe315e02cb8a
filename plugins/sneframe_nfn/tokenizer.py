"""``nfn/weight-features`` turns the weights and biases of a chain into features, with optional encodings."""

from __future__ import annotations

from typing import final

from attrs import evolve, frozen
from attrs.validators import ge, gt
from torch import Tensor

from sneframe.batch import Batch, Networks
from sneframe.config.schema import option
from sneframe.parts.carriers import WeightFeatures
from sneframe.parts.part import Spec
from sneframe.parts.tokenizer import Tokenizer
from sneframe_nfn.encoding import GaussianFourier, Sinusoids


@final
class NFNChannels(Tokenizer):
    """Turns each weight and bias of a chain into features: its values, or Gaussian Fourier features of them.

    The values are one channel. If ``bands`` is not 0, sinusoids are appended. They encode the layer, the
    inputs in the first layer, and the outputs in the last layer.
    """

    name = "nfn/weight-features"
    keeps = frozenset({"permute"})

    @frozen(kw_only=True)
    class Config:
        """Options."""

        frequencies: int = option(
            0,
            "number of frequencies of Fourier features, a sine and a cosine each; 0 takes the weight itself",
            check=ge(0),
        )
        scale: float = option(3.0, "standard deviation of these frequencies", check=gt(0))
        bands: int = option(
            0,
            "number of frequencies of the sinusoids that encode layer, input and output; 0 appends none",
            check=ge(0),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.links = self.one_chain(spec)
        self.fourier = GaussianFourier(config.frequencies, config.scale) if config.frequencies else None
        self.sinusoids = Sinusoids(self.links, config.bands) if config.bands else None
        width = 2 * config.frequencies or 1
        self.out = spec.gives(WeightFeatures, width + (self.sinusoids.width if self.sinusoids else 0))

    def forward(self, batch: Batch) -> tuple[WeightFeatures, ...]:
        """Return weights ``(B, channels, *shape)`` and biases ``(B, channels, out)``.

        Raises:
            PartError: a network does not have the layout for which the part was built.
        """
        return tuple(self._features(networks) for networks in batch.networks)

    def _features(self, networks: Networks) -> WeightFeatures:
        self.check_layout(networks.architecture)
        features = WeightFeatures.of(networks, self.links)
        return evolve(
            features,
            weights=tuple(self._channels(x, "weight", n) for n, x in enumerate(features.weights)),
            biases=tuple(self._channels(x, "bias", n) for n, x in enumerate(features.biases)),
        )

    def _channels(self, x: Tensor, role: str, layer: int) -> Tensor:
        if self.fourier is not None:
            x = self.fourier(x)
        return x if self.sinusoids is None else self.sinusoids(x, role, layer)
