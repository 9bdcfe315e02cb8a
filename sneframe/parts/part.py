"""Define Part, the base class of all parts, and Spec, the description of the input or output of a part.

A part is built from its own ``Config`` and the :class:`Spec` of its input. The part sets ``out`` to the Spec
of its output. :mod:`sneframe.model` passes the specs down the chain before any weight is read.
"""

from __future__ import annotations

import re
from abc import ABC
from typing import Any, ClassVar

import attrs
from attrs import evolve, frozen
from torch import nn

from sneframe.architecture import ACTIONS, Architecture
from sneframe.architecture.chain import Link, read_chain
from sneframe.architecture.layout import difference, layout
from sneframe.errors import ArchitectureError, ArchitecturesRefused, PartError


@frozen(kw_only=True)
class Spec:
    """Description of the values that flow from one part to the next.

    Args:
        carrier: class of the values.
        width: number of values in a vector: S, the number of channels, D or E, depending on the carrier.
        architectures: architectures of the training zoo.
        values: T, the number of values that the head has to predict.
        sizes: for each of ``architectures``, a second width of its values, if the carrier has one that
            differs between architectures, such as the number of outputs of a network. Empty if it has none.
    """

    carrier: type
    width: int
    architectures: tuple[Architecture, ...]
    values: int = 1
    sizes: tuple[int, ...] = ()

    def gives(self, carrier: type, width: int, *, sizes: tuple[int, ...] = ()) -> Spec:
        """Return the spec of the output of a part that returns this carrier with this width and sizes."""
        return evolve(self, carrier=carrier, width=width, sizes=sizes)


#: The value of ``keeps`` for a part that treats all weights in the same way, or reads no weight.
ANY_ACTION = frozenset(ACTIONS)


class Part(nn.Module, ABC):
    """The base class of all parts.

    A subclass is either abstract or final. There is one abstract subclass for each slot. A final part has a
    name ``PLUGIN/NAME``, a nested attrs class ``Config`` that is frozen and keyword-only, and a tuple
    ``takes`` of the carriers that it accepts.

    In ``keeps``, the part claims to keep some of the actions ``permute``, ``scale`` and ``sign``. A part
    keeps an action if its output moves as the weights do, or does not change. :mod:`sneframe.testing.laws`
    measures these claims.

    Args:
        config: an instance of the ``Config`` of the part.
        spec: spec of the input of the part.

    Raises:
        PartError: the part does not accept the carrier or the architectures of ``spec``.
    """

    slot: ClassVar[str]
    name: ClassVar[str]
    Config: ClassVar[type[Any]]
    takes: ClassVar[tuple[type, ...]] = ()
    keeps: ClassVar[frozenset[str]] = frozenset()

    config: Any
    out: Spec
    #: The layout of all networks, for a part that is built for one layout.
    layout: Architecture | None = None

    def __init__(self, config: Any, spec: Spec) -> None:
        super().__init__()
        if self.takes and spec.carrier not in self.takes:
            wanted = " or ".join(sorted(carrier.__name__ for carrier in self.takes))
            raise PartError(f"{self.slot} {self.name!r} takes {wanted}, but got {spec.carrier.__name__}")
        self.config = config
        self.out = spec

    def leaves_out(self, architecture: Architecture) -> str | None:  # noqa: ARG002  # for parts that need it
        """Return what the part leaves out of the networks of an architecture and why, in one line, or None.

        A part that reads less of some networks than of others must say so here. The run shows the line with
        the number of these networks, and ``metrics.json`` keeps it.
        """
        return None

    def one_layout(self, spec: Spec) -> Architecture:
        """Return the layout of all networks of the zoo, for a part that is built for one layout.

        The layout is also stored in :attr:`layout`. The encoder then passes all networks of a batch to its
        parts as networks of a single architecture, which is this layout. So the parts ignore the activations
        of the networks.

        Raises:
            ArchitecturesRefused: the zoo has several layouts.
        """
        layouts = tuple(dict.fromkeys(map(layout, spec.architectures)))
        if len(layouts) != 1:
            shown = "; ".join(each.summary for each in layouts[:3])
            raise ArchitecturesRefused(
                f"{self.slot} {self.name!r} takes networks of one layout, but the zoo has {len(layouts)} "
                f"layouts ({shown}{' …' if len(layouts) > 3 else ''}): select one of them with zoo.where"
            )
        self.layout = layouts[0]
        return layouts[0]

    def one_chain(self, spec: Spec, *, layers: int = 2) -> tuple[Link, ...]:
        """Return the links of the layout of all networks, for a part that is built for a chain of layers.

        Args:
            spec: spec of the input of the part.
            layers: smallest number of layers that the part can take.

        Raises:
            ArchitecturesRefused: the zoo has several layouts, or its layout is not a chain of at least
                ``layers`` layers.
        """
        architecture = self.one_layout(spec)
        try:
            return read_chain(architecture, layers=layers)
        except ArchitectureError as error:
            raise ArchitecturesRefused(
                f"{self.slot} {self.name!r} takes a chain of at least {layers} layers with weight and bias, "
                f"but {error} in {architecture.summary}"
            ) from error

    def check_layout(self, given: Architecture) -> None:
        """Check that an architecture has the layout for which the part was built.

        Raises:
            PartError: the architecture has another layout.
        """
        assert self.layout is not None
        if (own := layout(given)) != self.layout:
            raise PartError(f"{self.slot} {self.name!r} was built for {difference(self.layout, own)}")


def fault(cls: object) -> str | None:  # noqa: PLR0911  # one line per thing that can be wrong
    """Check a class that a plugin offers as a part, and return what is wrong with the class, or None."""
    if not (isinstance(cls, type) and issubclass(cls, Part)):
        return f"{cls!r} is not a subclass of sneframe.parts.part.Part"
    abstract = (base for base in cls.__mro__[1:] if base.__module__.startswith("sneframe.parts."))
    slot_class = next((base for base in abstract if "slot" in vars(base)), None)
    if slot_class is None:
        return (
            f"{cls.__qualname__} subclasses no abstract part (Tokenizer, LayerEncoder, Aggregator, Head, …)"
        )
    if cls.__mro__[1] is not slot_class:
        return (
            f"{cls.__qualname__} must subclass {slot_class.__name__} directly, but got the base "
            f"{cls.__mro__[1].__qualname__}"
        )
    if cls.__abstractmethods__:
        return f"{cls.__qualname__} does not define {', '.join(sorted(cls.__abstractmethods__))}"
    name = vars(cls).get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9_-]+/[a-z0-9_.-]+", name):
        return f"{cls.__qualname__}.name must be 'PLUGIN/NAME' in lower case, but got {name!r}"
    config = vars(cls).get("Config")
    if not (isinstance(config, type) and attrs.has(config)):
        return f"{cls.__qualname__}.Config must be an attrs class, but got {config!r}"
    if any(not attribute.kw_only for attribute in attrs.fields(config)):
        return f"{cls.__qualname__}.Config must be keyword-only: @frozen(kw_only=True)"
    if not getattr(config, "__attrs_props__").is_frozen:  # noqa: B009  # not in the stubs
        return f"{cls.__qualname__}.Config must be frozen: @frozen(kw_only=True)"
    return None
