"""Measures how much each method changes when one neuron group moves: the table of docs/symmetry.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from attrs import evolve
from torch import Tensor, nn

import sneframe
from sneframe.architecture import Architecture
from sneframe.batch import Batch, Networks
from sneframe.errors import PartError
from sneframe.symmetry import apply, sample
from sneframe.testing.case import toy_batch
from sneframe.testing.compare import difference
from sneframe.testing.laws import EXACT

#: Recipes with overrides. Chunks hold four weights, so that they cut across the neurons of small networks.
METHODS = (
    ("sne", "tokenizer.chunk_size=4"),
    ("sne/paper", "tokenizer.chunk_size=4"),
    ("stats",),
    ("sne/message",),
    ("dwsnet",),
    ("deepsets",),
    ("probe",),
    ("neural-graph/plain",),
    ("scale-gmn",),
    ("mlp",),
    ("nfn/hnp",),
    ("nfn/np",),
    ("nfn/nft",),
)


class Residual(nn.Module):
    """A residual block: one neuron group is the stream, and one is inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.first = nn.Conv2d(6, 5, 3, padding=1)
        self.norm = nn.BatchNorm2d(5)
        self.second = nn.Conv2d(5, 6, 3, padding=1)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(n, 3)`` of images."""
        x = self.stem(x).relu()
        x = x + self.second(self.norm(self.first(x)).relu())
        return self.head(x.mean((2, 3)))


def networks() -> Iterator[tuple[str, nn.Module, Tensor, Sequence[str]]]:
    """Yield networks: name, module, example input, and the name of each neuron group."""
    images, tokens = torch.randn(2, 1, 6, 6), torch.randn(2, 5, 10)
    yield (
        "linear",
        nn.Sequential(nn.Linear(2, 6), nn.Linear(6, 5), nn.Linear(5, 1)),
        torch.randn(2, 2),
        ("first layer", "second layer"),
    )
    convolution = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    yield (
        "CNN, flattened",
        nn.Sequential(*convolution, nn.Linear(24, 5), nn.Tanh(), nn.Linear(5, 3)),
        images,
        ("channels", "dense, tanh"),
    )
    yield "residual CNN", Residual(), images, ("stream", "inner")
    yield (
        "transformer layer",
        nn.TransformerEncoderLayer(10, 2, 12, batch_first=True),
        tokens,
        ("heads", "queries and keys", "values and outputs", "perceptron"),
    )


def by_group() -> Iterator[tuple[str, ...]]:
    """Yield a row for each network, group and action: the relative change of each method's embedding."""
    for name, network, example, held in networks():
        architecture = Architecture.from_module(network, example)
        assert len(held) == len(architecture.groups), (name, architecture.groups)
        batch = toy_batch([architecture])
        encoders = [_encoder(method, batch) for method in METHODS]
        for group, words in zip(architecture.groups, held, strict=True):
            for action in group.actions:
                moved = _moved(batch, group.name, action)
                yield name, words, action, *(_shown(encoder, batch, moved) for encoder in encoders)


def _encoder(method: Sequence[str], batch: Batch) -> nn.Module | None:
    """Return an untrained encoder in float64, or None for a method that refuses the architecture."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            encoder = sneframe.encoder(method[0], batch.architectures, *method[1:]).double().eval()
        except PartError:
            return None
    encoder.normalise.fit([batch])
    return encoder


def _moved(batch: Batch, group: str, action: str) -> Batch:
    """Return a batch in which one neuron group of each network has moved."""
    kinds = ("permutations", "scales", "signs")
    elements = [
        evolve(g, **{kind: {n: t for n, t in getattr(g, kind).items() if n == group} for kind in kinds})
        for g in sample(batch, seed=0, step=0, actions=(action,))
    ]
    moved = apply(batch, elements)
    assert not any(map(_same, batch.networks, moved.networks)), (group, action)
    return moved


def _same(networks: Networks, others: Networks) -> bool:
    return torch.equal(networks.weights, others.weights)


def _shown(encoder: nn.Module | None, batch: Batch, moved: Batch) -> str:
    if encoder is None:
        return "–"
    with torch.no_grad():
        error = difference(encoder(batch), encoder(moved))
    return "exact" if error <= EXACT else f"{error:.1g}"
