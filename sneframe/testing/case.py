"""Build the parts of a configuration for toy networks, whose neurons can be permuted, scaled and flipped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import torch
from attrs import frozen
from torch import nn

from sneframe.architecture import Architecture
from sneframe.architecture.low_rank import adapter
from sneframe.batch import Batch, join
from sneframe.config.schema import RunConfig
from sneframe.errors import PartError, PluginError, one_line
from sneframe.model import CHAIN, Model, build_model, build_parts, check_head
from sneframe.parts.head import Head
from sneframe.parts.normalise import Normalise
from sneframe.parts.part import Part, Spec
from sneframe.plugins import Blamed

NETWORKS = 6  #: number of networks of each architecture
SEED = 7


class Chain(nn.Module):
    """Runs the parts of a configuration one after the other, from normalise to head.

    A chain ends early if a part cannot be built.

    Args:
        parts: the parts, in the order of their slots.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({part.slot: part for part in parts})

    @property
    def removed(self) -> frozenset[str]:
        """The actions that the part which normalises removes from all networks."""
        first = self.part("normalise")
        assert isinstance(first, Normalise)
        return first.removes

    def part(self, slot: str) -> Part:
        """Return the part in a slot."""
        found = self.parts[slot]
        assert isinstance(found, Part)
        return found

    def forward(self, batch: Batch, last: str) -> Any:
        """Run the chain up to the slot ``last``, and return the output of that part.

        The output is a batch, a tuple of carriers, or the values of the head.

        Raises:
            PluginError: a part fails.
        """
        value: Any = batch
        for slot in self.parts:
            if slot == "head":
                value = batch.restore([carrier.values for carrier in value])
            part = self.part(slot)
            with Blamed(part):
                value = part(value)
            if slot == last:
                break
        return value


@frozen(kw_only=True)
class Failure:
    """The reason why a part could not be built or fitted. Later parts of the chain cannot be measured either.

    Args:
        slot: slot of the part that failed.
        law: ``built`` or ``fitted``: the step that failed.
        said: the error message as one line.
    """

    slot: str
    law: str
    said: str


@frozen(kw_only=True, eq=False)
class Case:
    """A part to measure, with the chain that contains the part.

    Args:
        part: the part to measure.
        chain: the chain of the part, in float64 and evaluation mode, with fitted constants.
        batch: toy networks with raw float64 weights.
        rebuild: function that builds the same chain from a given seed. ``chain`` has the seed SEED.
        removed: the actions that the part which normalises removes from all networks.
    """

    part: Part
    chain: Chain
    batch: Batch
    rebuild: Callable[[int], Chain]
    removed: frozenset[str] = frozenset()

    def output(self, batch: Batch, chain: Chain | None = None) -> Any:
        """Run a chain up to the part, and return the output of the part. The default is ``self.chain``."""
        return (chain or self.chain)(batch, self.part.slot)


@frozen(kw_only=True, eq=False)
class BuiltChain:
    """The chain of a configuration, built for toy networks.

    Args:
        chain: the parts in float64 and evaluation mode, with fitted constants. The chain ends before the
            first part that fails.
        batch: toy networks with raw float64 weights.
        rebuild: function that builds the same chain from a given seed. ``chain`` has the seed SEED.
        failure: the failure of the first part that cannot be built or fitted, or None.
    """

    chain: Chain
    batch: Batch
    rebuild: Callable[[int], Chain]
    failure: Failure | None

    def case(self, slot: str) -> Case:
        """Return the part in a slot as a case."""
        return Case(
            part=self.chain.part(slot),
            chain=self.chain,
            batch=self.batch,
            rebuild=self.rebuild,
            removed=self.chain.removed,
        )


def toy_architectures() -> tuple[tuple[Architecture, ...], ...]:
    """Return sets of architectures, the largest first: two MLPs and an adapter, the MLPs, and one MLP.

    The MLPs have different depths, and no activations, so that their hidden neurons can be permuted, scaled
    and flipped. The low-rank adapter changes two modules, with different ranks, which can be mixed.
    """

    def mlp(*widths: int) -> Architecture:
        with torch.random.fork_rng(devices=[]):
            linear = [nn.Linear(a, b) for a, b in pairwise(widths)]
            return Architecture.from_module(nn.Sequential(*linear))

    shapes = {"q.lora_A.weight": (3, 5), "q.lora_B.weight": (4, 3), "q.lora_scaling": ()}
    low_rank = adapter({**shapes, "v.lora_A.weight": (2, 4), "v.lora_B.weight": (6, 2)})
    assert low_rank is not None
    small, large = mlp(2, 6, 5, 1), mlp(2, 5, 7, 4, 1)
    return (small, large, low_rank), (small, large), (small,)


def toy_batch(architectures: Sequence[Architecture], networks: int = NETWORKS, seed: int = SEED) -> Batch:
    """Return a batch of random float64 networks.

    Each architecture has ``networks`` of them, and the architectures alternate.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = {
        a: torch.randn(networks, a.num_weights, generator=generator, dtype=torch.float64)
        for a in architectures
    }
    count = len(architectures)
    return join(
        weights, {a: range(number, networks * count, count) for number, a in enumerate(architectures)}
    )


def chained(config: RunConfig) -> BuiltChain:
    """Build the chain of a configuration for the largest set of toy architectures that all its parts take.

    A low-rank adapter is among them if the part that normalises removes its symmetry.

    Raises:
        PartError: a part also refuses a single MLP.
    """
    with_adapter, *others, smallest = toy_architectures()
    part = config.normalise.part
    removed = issubclass(part, Normalise) and "linear" in part.removes
    for architectures in (with_adapter, *others) if removed else others:
        with suppress(PartError):
            return _chained(config, architectures)
    return _chained(config, smallest)


def _chained(config: RunConfig, architectures: Sequence[Architecture]) -> BuiltChain:
    batch = toy_batch(architectures)

    def build(seed: int) -> tuple[Chain, Failure | None]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _build(config, batch)

    def rebuild(seed: int) -> Chain:
        return build(seed)[0]

    chain, failure = build(SEED)
    return BuiltChain(chain=chain, batch=batch, rebuild=rebuild, failure=failure)


def _build(config: RunConfig, batch: Batch) -> tuple[Chain, Failure | None]:
    """Build and fit the parts of a chain up to the first part that fails.

    Returns:
        The chain of the parts before the failure; and the failure, or None if all parts could be built.
    """
    parts: list[Part] = []
    spec = Spec(carrier=Batch, width=1, architectures=batch.architectures)
    left = build_parts(config, spec)
    for slot in CHAIN:
        law = "built"
        try:
            part: Part = next(left)
            if isinstance(part, Head):
                check_head(part, nn.ModuleList(parts), self_supervised=config.self_supervised)
            part.double().eval()
            law = "fitted"
            if isinstance(part, Normalise):
                with Blamed(part):
                    part.fit([batch])
            elif isinstance(part, Head) and not part.trained:
                _finish(part, Chain(parts), batch.architectures)
        except PluginError as error:
            blamed = getattr(config, slot).part.name == error.part
            return Chain(parts), Failure(slot=slot, law=law, said=said(error)) if blamed else None
        parts.append(part)
    return Chain(parts), None


def _finish(head: Head, chain: Chain, architectures: Sequence[Architecture]) -> None:
    """Fit a head to the embeddings of toy networks.

    There are 64 networks of each architecture. With fewer, the embeddings may differ too little to fit a
    head.
    """
    networks = toy_batch(architectures, networks=64, seed=SEED + 2)
    with torch.no_grad():
        embedding = networks.restore([carrier.values for carrier in chain(networks, "aggregator")])
    with Blamed(head):
        head.finish(embedding, embedding[:, :1].clone())


def said(error: BaseException) -> str:
    """Return the message of an error as one line.

    For a PluginError that blames a part, this is the message of the error that the part raised.
    """
    if isinstance(error, PluginError) and error.part is not None:
        return one_line(error.__cause__) if error.__cause__ is not None else error.said
    return str(error) if isinstance(error, (PartError, PluginError)) else one_line(error)


def built(config: RunConfig, architectures: Sequence[Architecture]) -> tuple[Model, Callable[[int], Model]]:
    """Build the model of a configuration for toy networks.

    Returns:
        The model, and a function that builds the same model from a given seed.

    Raises:
        PartError: a part refuses the architectures.
        PluginError: a part fails.
    """

    def build(seed: int) -> Model:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = build_model(config, architectures)
        model.double().eval()
        with Blamed(model.encoder.normalise):
            model.encoder.normalise.fit([toy_batch(architectures)])
        return model

    return build(SEED), build
