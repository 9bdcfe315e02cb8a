"""An aggregator that takes the median over a network's layer codes, and a file reader."""

from typing import final

import torch
from attrs import frozen

import sneframe
from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe.errors import FileError
from sneframe.files import Content, FileReader
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


@final
class Lines(FileReader):
    """Reads text files of our own trainer: a header, then one line for each tensor."""

    name = "median/lines"
    help = "text files of our own trainer"
    endings = (".net.txt",)

    def recognises(self, candidate):
        """Recognise the first word of the header."""
        return candidate.head.startswith(b"#net ")

    def read(self, path):
        """Read tensors, the activation and the epoch."""
        header, *lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        tensors = {}
        try:
            _, activation, epoch = header.split()
            for line in lines:
                name, shape, weights = line.split("\t")
                values = torch.tensor([float(word) for word in weights.split()])
                tensors[name] = values.reshape([int(size) for size in shape.split("x")])
            return Content(values=tensors, activation=activation, properties={"epoch": int(epoch)})
        except (ValueError, RuntimeError) as error:
            raise FileError(f"{path}: damaged: {error}") from error


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


@sneframe.hookimpl
def sneframe_readers():
    """Offer the file reader."""
    return [Lines]
