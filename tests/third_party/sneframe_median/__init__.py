"""An aggregator that takes the median over a network's layer codes."""

from typing import final

from attrs import frozen

import sneframe
from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.carriers import Embedding, LayerCodes


@final
class Median(Aggregator):
    """The median over layers, per code dimension."""

    name = "median/layers"
    takes = (LayerCodes,)

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.out = spec.gives(Embedding, spec.width)

    def forward(self, codes):
        """Return (B, E) per architecture."""
        return tuple(
            Embedding(architecture=entry.architecture, values=entry.codes.median(dim=1).values)
            for entry in codes
        )


def default():
    """Return SNE with the median in place of its last set encoder."""
    return RunConfig(
        recipe="median/default",
        normalise=use("normalise/fan-in"),
        tokenizer=use("sne/pad-chunk"),
        layer_encoder=use("sne/chunk-set", width=16),
        aggregator=use(Median),
        head=use("head/linear"),
        train=TrainConfig(epochs=1),
    )


@sneframe.hookimpl
def sneframe_parts():
    """Offer the aggregator."""
    return [Median]


@sneframe.hookimpl
def sneframe_recipes():
    """Offer the recipe."""
    return {"median/default": default}
