"""Part and Spec: what every part has, and how it describes its input and output before any data flows.

A part is built from its own ``Config`` and the :class:`Spec` of its input, and states in ``out`` the spec of
its output. :mod:`sneframe.model` passes the specs down the chain before any weight is read.
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
        width: size of their last axis: S, channels, D or E.
        architectures: architectures of the training zoo.
        values: T, how many values the head has to predict.
    """

    carrier: type
    width: int
    architectures: tuple[Architecture, ...]
    values: int = 1

    def gives(self, carrier: type, width: int) -> Spec:
        """Return the spec of the output of a part that gives this carrier with this width."""
        return evolve(self, carrier=carrier, width=width)


#: The claim of a part that treats every weight alike, or reads no weight.
ANY_ACTION = frozenset(ACTIONS)


class Part(nn.Module, ABC):
    """Base of all parts. A subclass is either abstract, one per slot, or final.

    A final part has a name ``PLUGIN/NAME``, a nested attrs class ``Config`` that is frozen and keyword-only,
    and a tuple ``takes`` of the carriers that it accepts. In ``keeps`` it claims the actions (``permute``,
    ``scale``, ``sign``) that it does not break: its output moves as the weights do, or stays.
    :mod:`sneframe.testing.laws` measures these claims.

    Args:
        config: an instance of the part's own ``Config``.
        spec: spec of the part's input.

    Raises:
        PartError: the part cannot take this carrier or these architectures.
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
            raise PartError(f"{self.slot} {self.name!r} takes {wanted}, it is given {spec.carrier.__name__}")
        self.config = config
        self.out = spec

    def one_layout(self, spec: Spec) -> Architecture:
        """Return the layout that all networks of the zoo share, for a part that is built for one layout.

        The layout is kept in :attr:`layout`. An encoder then passes all networks of a batch to its parts as
        networks of one architecture, this layout, whatever activations they have.

        Raises:
            ArchitecturesRefused: the zoo holds several layouts.
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
        """Return the links of the zoo's only layout, for a part that is built for a chain of layers.

        Args:
            spec: spec of the part's input.
            layers: smallest number of layers that the part can take.

        Raises:
            ArchitecturesRefused: the zoo holds several layouts, or its layout is no chain of so many layers.
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
        """Check that networks have the layout that the part was built for.

        Raises:
            PartError: they have another layout.
        """
        assert self.layout is not None
        if (own := layout(given)) != self.layout:
            raise PartError(f"{self.slot} {self.name!r} was built for {difference(self.layout, own)}")


def fault(cls: object) -> str | None:  # noqa: PLR0911  # one line per thing that can be wrong
    """Return the fault of a class that is to be used as a part, or None."""
    if not (isinstance(cls, type) and issubclass(cls, Part)):
        return f"{cls!r} is not a subclass of sneframe.parts.part.Part"
    abstract = (base for base in cls.__mro__[1:] if base.__module__.startswith("sneframe.parts."))
    slot_class = next((base for base in abstract if "slot" in vars(base)), None)
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
