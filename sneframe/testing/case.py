"""A part in its chain, on toy networks that can be permuted, scaled and flipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from attrs import frozen
from torch import nn

from sneframe.architecture import Architecture
from sneframe.batch import Batch, join
from sneframe.config import RunConfig
from sneframe.errors import PartError
from sneframe.head import FittedHead
from sneframe.model import Model, build_model
from sneframe.part import Part
from sneframe.plugins import Registry

STAGES = ("normalise", "tokenizer", "layer_encoder", "aggregator")
NETWORKS = 6  #: of each architecture
SEED = 7


@frozen(kw_only=True, eq=False)
class Case:
    """A part in its chain.

    Args:
        part: that is looked at.
        model: whose chain it stands in, in float64 and evaluation mode, its constants fitted.
        batch: raw weights of toy networks, float64.
        rebuild: makes the same chain again, from a seed; the model's is SEED.
    """

    part: Part
    model: Model
    batch: Batch
    rebuild: Callable[[int], Model]

    def output(self, batch: Batch, model: Model | None = None) -> Any:
        """Return what the chain gives up to and with the part: a batch, carriers, embeddings or values."""
        encoder = (model or self.model).encoder
        value: Any = batch
        for stage in STAGES:
            module = getattr(encoder, stage)
            value = module(value)
            if module.name == self.part.name and module.slot == self.part.slot:
                return value
        embedding = batch.restore([carrier.values for carrier in value])
        return (model or self.model).head(embedding)


def toy_architectures(*, mixed: bool) -> tuple[Architecture, ...]:
    """Return MLPs without activation, which may be permuted, scaled and flipped: one, or two of different depth."""

    def mlp(*widths: int) -> Architecture:
        with torch.random.fork_rng(devices=[]):
            linear = [nn.Linear(a, b) for a, b in pairwise(widths)]
            return Architecture.from_module(nn.Sequential(*linear))

    return (mlp(2, 6, 5, 1), mlp(2, 5, 7, 4, 1)) if mixed else (mlp(2, 6, 5, 1),)


def toy_batch(architectures: Sequence[Architecture], networks: int = NETWORKS, seed: int = SEED) -> Batch:
    """Return random float64 networks, ``networks`` of each architecture, interleaved."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        a: torch.randn(networks, a.num_weights, generator=generator, dtype=torch.float64)
        for a in architectures
    }
    count = len(architectures)
    return join(
        weights, {a: range(number, networks * count, count) for number, a in enumerate(architectures)}
    )


def cases(config: RunConfig, registry: Registry) -> Iterator[Case]:
    """Yield a case for every part of a configuration but the invariance loss.

    Raises:
        PartError: the method takes neither a mixed batch of MLPs nor one architecture.
    """
    try:
        model, batch, rebuild = built(config, registry, mixed=True)
    except PartError:
        model, batch, rebuild = built(config, registry, mixed=False)
    parts = [*(getattr(model.encoder, stage) for stage in STAGES), model.head]
    for part in parts:
        yield Case(part=part, model=model, batch=batch, rebuild=rebuild)


def built(
    config: RunConfig, registry: Registry, *, mixed: bool
) -> tuple[Model, Batch, Callable[[int], Model]]:
    """Return a configuration's model on toy networks, these networks, and what makes the model again.

    Raises:
        PartError: the method does not take these architectures.
    """
    architectures = toy_architectures(mixed=mixed)
    batch = toy_batch(architectures)

    def build(seed: int) -> Model:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build_model(config, registry, architectures)
        model.double().eval()
        model.encoder.normalise.fit([batch])
        if isinstance(model.head, FittedHead):
            # On more networks than are looked at, so that there is something to tell apart.
            with torch.no_grad():
                embedding = model.encoder(toy_batch(architectures, networks=64, seed=SEED + 2))
            model.head.fit(embedding, embedding[:, :1].clone())
        return model

    return build(SEED), batch, build
