"""Part, Spec and the carriers: what flows between parts, and what each part says of it before data flows.

A part is built from its own ``Config`` and the :class:`Spec` of what it will be given, and states in ``out`` the
spec of what it gives. :mod:`sneframe.model` folds the specs down the chain before any weight is read.
"""

from __future__ import annotations

import re
from abc import ABC
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import attrs
import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from sneframe.architecture import ACTIONS, Architecture
from sneframe.architecture.chain import Link, read_chain
from sneframe.architecture.layout import difference, layout
from sneframe.batch import Networks
from sneframe.errors import ArchitectureError, ArchitecturesRefused, PartError

if TYPE_CHECKING:
    from sneframe.symmetry import Element

FeaturesT = TypeVar("FeaturesT", "WeightFeatures", "NeuronFeatures")

# -- carriers: one value per architecture of the batch, in the order of ``batch.networks`` ----------------------
#
# ``extent`` of a carrier is how many networks it carries, and the width that a Spec declares of it. It is read at the first
# batch of a run alone, and raises a ValueError that says what is wrong where its tensors do not fit each other.
#
# ``act`` returns what a carrier becomes when a group element is applied to the networks that it was made of, as far as the
# part that made it keeps the symmetry. What no longer shows the order of neurons stays as it is. A carrier without ``act``
# cannot be moved, and the laws of symmetry then measure nothing of the part that gives it.


def _sizes(name: str, value: object, axes: str) -> tuple[int, ...]:
    """Return the shape of a tensor that has these axes, such as ``"B, L, D"``.

    Raises:
        ValueError: it is no tensor, or has other axes.
    """
    if not isinstance(value, Tensor) or value.ndim != axes.count(",") + 1:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name} must be ({axes}), got {got}")
    return tuple(value.shape)


def _channels(weights: Sequence[Tensor], biases: Sequence[Tensor]) -> tuple[int, int]:
    """Return how many networks and channels the features of all layers have.

    Raises:
        ValueError: they differ, or there are none.
    """
    found = {tuple(value.shape[:2]) for value in (*weights, *biases)}
    if len(found) != 1 or len(next(iter(found))) != 2:
        shown = ", ".join(map(str, sorted(found))) or "none"
        raise ValueError(f"weights and biases must begin with one (B, channels), got {shown}")
    return next(iter(found))  # type: ignore[return-value]  # its length was looked at


@frozen(kw_only=True, eq=False)
class ChunkTokens:
    """Parameters cut into chunks of scalars.

    Chunks are cut across neurons, so no group element can be applied to them: there is no ``act``.

    Args:
        architecture: of these networks.
        chunks: ``(B, Q, C)``, zero where padded.
        mask: ``(Q, C)`` bool, true where a weight stands, false where padded.
        parameter: ``(Q,)`` for each chunk the index of its parameter, ascending.
        counts: for each parameter how many chunks it has; they sum to Q.
    """

    architecture: Architecture
    chunks: Tensor
    mask: Tensor
    parameter: Tensor
    counts: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, int]:
        """B and C."""
        networks, chunks, size = _sizes("chunks", self.chunks, "B, Q, C")
        if _sizes("mask", self.mask, "Q, C") != (chunks, size):
            raise ValueError(f"mask must be {(chunks, size)} as chunks are, got {tuple(self.mask.shape)}")
        if _sizes("parameter", self.parameter, "Q")[0] != chunks or sum(self.counts) != chunks:
            raise ValueError(f"parameter and counts must tell of {chunks} chunks, got {sum(self.counts)}")
        return networks, size


@frozen(kw_only=True, eq=False)
class StatTokens:
    """Statistics of every parameter: ``stats (B, L, S)``."""

    architecture: Architecture
    stats: Tensor

    @property
    def extent(self) -> tuple[int, int]:
        """B and S."""
        networks, _, width = _sizes("stats", self.stats, "B, L, S")
        return networks, width

    def act(self, element: Element) -> StatTokens:  # noqa: ARG002  # others need it
        """Return the same statistics, which no group element changes."""
        return self


@frozen(kw_only=True, eq=False)
class WeightFeatures:
    """Channels on every weight and bias of a chain of layers.

    Args:
        architecture: of these networks.
        weights: per layer ``(B, channels, *shape)`` of its parameter: ``(B, channels, out, in)`` of a linear layer,
            ``(B, channels, out, in, height, width)`` of a 2-D convolution.
        biases: per layer ``(B, channels, out)``.
    """

    architecture: Architecture
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @property
    def extent(self) -> tuple[int, int]:
        """B and how many channels."""
        return _channels(self.weights, self.biases)

    def act(self, element: Element) -> WeightFeatures:
        """Return g·x: every channel moved as the weights themselves are."""
        return _acted(self, element)

    @classmethod
    def of(cls, networks: Networks, links: Sequence[Link]) -> WeightFeatures:
        """Return one channel, the weights and biases of a chain themselves, as views."""
        views = networks.parameters()
        return cls(
            architecture=networks.architecture,
            weights=tuple(views[link.weight.name].unsqueeze(1) for link in links),
            biases=tuple(views[link.bias.name].unsqueeze(1) for link in links),
        )


@frozen(kw_only=True, eq=False)
class NeuronFeatures:
    """Channels on every pair of neurons that a chain of layers joins, and on every neuron.

    Of linear layers they are what ``WeightFeatures`` are. A kernel between two channels of a convolution, or the positions
    of a channel that was flattened in front of a linear layer, have one vector together: what was told apart by its
    position is folded into the channels.

    Args:
        architecture: of these networks.
        weights: per layer ``(B, channels, out, in)``, of a convolution out and in its channels, behind a flatten in the
            channels that were flattened.
        biases: per layer ``(B, channels, out)``.
    """

    architecture: Architecture
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @property
    def extent(self) -> tuple[int, int]:
        """B and how many channels."""
        return _channels(self.weights, self.biases)

    def act(self, element: Element) -> NeuronFeatures:
        """Return g·x: every channel moved as the weights between the same neurons are."""
        return _acted(self, element)


def _acted(features: FeaturesT, element: Element) -> FeaturesT:
    """Apply an element to every channel as to the weights.

    Where the entries of a kernel are folded into the channels, a channel is written on each of them, moved, and read off
    the first.
    """
    architecture = features.architecture
    links = read_chain(architecture)
    entries = [link.weight.size // w[0, 0].numel() for link, w in zip(links, features.weights, strict=True)]
    values: dict[str, Tensor] = {}
    for link, count, weight, bias in zip(links, entries, features.weights, features.biases, strict=True):
        values[link.weight.name] = weight.flatten(2).repeat_interleave(count, dim=2)
        values[link.bias.name] = bias
    names, sizes = zip(*((p.name, p.size) for p in architecture.parameters), strict=True)
    flat = torch.cat([values[name] for name in names], dim=2)
    channels = [Networks(architecture=element.architecture, weights=each) for each in flat.unbind(1)]
    moved = torch.stack([each.act(element).weights for each in channels], dim=1)
    found = dict(zip(names, moved.split(sizes, dim=2), strict=True))
    weights = [
        found[link.weight.name][..., ::count].reshape(weight.shape)
        for link, count, weight in zip(links, entries, features.weights, strict=True)
    ]
    return evolve(features, weights=tuple(weights), biases=tuple(found[link.bias.name] for link in links))


@frozen(kw_only=True, eq=False)
class LayerCodes:
    """One code per parameter or per layer.

    Args:
        architecture: of these networks.
        codes: ``(B, L, D)``.
        units: for each of the L codes the indices of the parameters it stands for.
    """

    architecture: Architecture
    codes: Tensor
    units: tuple[tuple[int, ...], ...]

    @property
    def extent(self) -> tuple[int, int]:
        """B and D."""
        networks, codes, width = _sizes("codes", self.codes, "B, L, D")
        if codes != len(self.units):
            raise ValueError(f"units must tell of each of {codes} codes, got {len(self.units)}")
        return networks, width

    def act(self, element: Element) -> LayerCodes:  # noqa: ARG002  # others need it
        """Return the same codes, which no group element changes."""
        return self


def each_parameter(architecture: Architecture) -> tuple[tuple[int, ...], ...]:
    """Return the units of codes that stand for one parameter each."""
    return tuple((parameter,) for parameter in range(len(architecture.parameters)))


@frozen(kw_only=True, eq=False)
class Embedding:
    """One vector per network: ``values (B, E)``."""

    architecture: Architecture
    values: Tensor

    @property
    def extent(self) -> tuple[int, int]:
        """B and E."""
        networks, width = _sizes("values", self.values, "B, E")
        return networks, width

    def act(self, element: Element) -> Embedding:  # noqa: ARG002  # others need it
        """Return the same vectors, which no group element changes."""
        return self


# -- specs and parts ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Spec:
    """What one part gives the next.

    Args:
        carrier: the class that carries it.
        width: of its last axis: S, channels, D or E.
        architectures: of the training zoo.
        values: T, how many values the head is to predict.
    """

    carrier: type
    width: int
    architectures: tuple[Architecture, ...]
    values: int = 1

    def gives(self, carrier: type, width: int) -> Spec:
        """Return the spec after a part that gives this carrier at this width."""
        return evolve(self, carrier=carrier, width=width)


#: What a part claims that answers to no single weight, or to each weight alone.
ANY_ACTION = frozenset(ACTIONS)


class Part(nn.Module, ABC):
    """What every part has; subclasses are either abstract (one per slot) or final.

    A final part names itself ``PLUGIN/NAME``, nests a frozen, keyword-only attrs class ``Config``, and lists in
    ``takes`` the carriers it can be given. It claims in ``keeps`` the actions (``permute``, ``scale``, ``sign``) that
    it does not break: what it gives moves as the weights do, or stays; :mod:`sneframe.testing.laws` measures that.

    Args:
        config: an instance of its own ``Config``.
        spec: what it will be given.

    Raises:
        PartError: it cannot take this carrier or these architectures.
    """

    slot: ClassVar[str]
    name: ClassVar[str]
    Config: ClassVar[type[Any]]
    takes: ClassVar[tuple[type, ...]] = ()
    keeps: ClassVar[frozenset[str]] = frozenset()

    config: Any
    out: Spec
    #: Of a part that is built for one: that of all networks it is given.
    layout: Architecture | None = None

    def __init__(self, config: Any, spec: Spec) -> None:
        super().__init__()
        if self.takes and spec.carrier not in self.takes:
            wanted = " or ".join(sorted(carrier.__name__ for carrier in self.takes))
            raise PartError(f"{self.slot} {self.name!r} takes {wanted}, it is given {spec.carrier.__name__}")
        self.config = config
        self.out = spec

    def one_layout(self, spec: Spec) -> Architecture:
        """Return the layout that all networks of the zoo have, for a part that is built for one.

        It is kept in :attr:`layout`: an encoder then gives its parts all networks of a batch as those of one
        architecture, this layout, whatever activations they have.

        Raises:
            ArchitecturesRefused: the zoo holds several.
        """
        layouts = tuple(dict.fromkeys(map(layout, spec.architectures)))
        if len(layouts) != 1:
            shown = "; ".join(each.summary for each in layouts[:3])
            raise ArchitecturesRefused(
                f"{self.slot} {self.name!r} is built for one architecture, the zoo holds {len(layouts)}: "
                f"{shown}{' …' if len(layouts) > 3 else ''}; select one with zoo.where"
            )
        self.layout = layouts[0]
        return layouts[0]

    def one_chain(self, spec: Spec, *, layers: int = 2) -> tuple[Link, ...]:
        """Return the links of the zoo's only layout, for a part that is built for a chain.

        Args:
            spec: what the part will be given.
            layers: how many it needs.

        Raises:
            ArchitecturesRefused: the zoo holds several layouts, or one that is no chain of as many layers.
        """
        architecture = self.one_layout(spec)
        try:
            return read_chain(architecture, layers=layers)
        except ArchitectureError as error:
            raise ArchitecturesRefused(
                f"{self.slot} {self.name!r} takes a chain of at least {layers} layers with weight and bias, but {error} "
                f"in {architecture.summary}"
            ) from error

    def check_layout(self, given: Architecture) -> None:
        """Check that networks have the layout that a part was built for.

        Raises:
            PartError: they have another.
        """
        assert self.layout is not None
        if (own := layout(given)) != self.layout:
            raise PartError(f"{self.slot} {self.name!r} was built for {difference(self.layout, own)}")


def fault(cls: object) -> str | None:  # noqa: PLR0911  # one line per thing that can be wrong
    """Return what is wrong with an offered part class, or None: the check that the registry makes."""
    if not (isinstance(cls, type) and issubclass(cls, Part)):
        return f"{cls!r} is not a subclass of sneframe.parts.part.Part"
    slot_class = next((base for base in cls.__mro__[1:] if "slot" in vars(base) and base is not Part), None)
    if slot_class is None:
        return (
            f"{cls.__qualname__} subclasses no abstract part (Tokenizer, LayerEncoder, Aggregator, Head, …)"
        )
    if cls.__mro__[1] is not slot_class:
        return f"{cls.__qualname__} must subclass {slot_class.__name__} directly: a part is abstract or final"
    if cls.__abstractmethods__:
        return f"{cls.__qualname__} does not define {', '.join(sorted(cls.__abstractmethods__))}"
    name = vars(cls).get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9_-]+/[a-z0-9_.-]+", name):
        return f"{cls.__qualname__}.name must be 'PLUGIN/NAME' in lower case, got {name!r}"
    config = vars(cls).get("Config")
    if not (isinstance(config, type) and attrs.has(config)):
        return f"{cls.__qualname__}.Config must be an attrs class, got {config!r}"
    if any(not attribute.kw_only for attribute in attrs.fields(config)):
        return f"{cls.__qualname__}.Config must be keyword-only: @frozen(kw_only=True)"
    if not getattr(config, "__attrs_props__").is_frozen:  # noqa: B009  # not in the stubs
        return f"{cls.__qualname__}.Config must be frozen: @frozen(kw_only=True)"
    return None
