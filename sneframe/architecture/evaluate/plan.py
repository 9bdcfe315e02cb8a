"""Find what keeps an architecture from being evaluated, and which layers its output depends on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, TypeAlias

from attrs import frozen

from sneframe.architecture.description import Architecture
from sneframe.architecture.evaluate.activations import activation_lacks, factor_lacks
from sneframe.architecture.evaluate.kinds import KINDS
from sneframe.architecture.evaluate.recurrent import GATES
from sneframe.architecture.evaluate.reshaping import STEPS
from sneframe.architecture.layer import INPUT, Layer
from sneframe.errors import ArchitectureError, choices, counted

#: Attributes that a layer of any kind may have. ``tied`` says which other names a parameter has.
EVERYWHERE = ("factor", "shift", "activation_options", "uses", "tied")
#: Steps that rearrange a parameter before a layer uses it: kinds of layers with their attributes.
Steps: TypeAlias = "Sequence[tuple[str, Mapping[str, Any]]]"
#: What a user can do if an attribute or a connection is missing.
HINT = "--module or from_module with an example input records it"


@frozen(kw_only=True, eq=False)
class Plan:
    """The layers that the output of an architecture depends on.

    Args:
        architecture: the architecture.
        outputs: the indices of the layers that the network returns.
        needed: the indices of the layers that the outputs depend on, in order.
        last_read: for each index of a layer, the index of the last needed layer that reads it.
    """

    architecture: Architecture
    outputs: tuple[int, ...]
    needed: tuple[int, ...]
    last_read: dict[int, int]

    @property
    def reads(self) -> int:
        """The number of inputs of the network that the needed layers read."""
        layers = self.architecture.layers
        return max((-source for index in self.needed for source in sources(layers[index])), default=0)


def label(architecture: Architecture, index: int) -> str:
    """Return a layer as text, such as ``layer 3 (linear 'fc.weight')``."""
    layer = architecture.layers[index]
    first = next((repr(parameter.name) for parameter in layer.parameters), None)
    return f"layer {index} ({' '.join(filter(None, (layer.kind, first)))})"


def sources(layer: Layer) -> tuple[int, ...]:
    """Return what a layer reads, in order: indices of layers, or −1, −2, … for the network's inputs."""
    reads = KINDS[layer.kind].reads if layer.kind in KINDS else (1, 1)
    if layer.inputs or reads == (0, 0) or layer.attributes.get("operation") == "value":
        return layer.inputs
    return (INPUT,)


@lru_cache(maxsize=4096)
def plan(architecture: Architecture) -> Plan:
    """Return the layers that the output of an architecture depends on.

    Raises:
        ArchitectureError: it is not recorded which layer the network returns, and several may be.
    """
    outputs = architecture.outputs
    if not outputs:
        read = {source for layer in architecture.layers for source in layer.inputs}
        outputs = tuple(index for index in range(len(architecture.layers)) if index not in read)
        if len(outputs) > 1:
            shown = ", ".join(label(architecture, index) for index in outputs[:3])
            more = f" and {len(outputs) - 3} more" if len(outputs) > 3 else ""
            raise ArchitectureError(
                f"it is not known which layer is the output: no layer reads {shown}{more}; {HINT}"
            )
    needed: set[int] = set()
    waiting = list(outputs)
    while waiting:
        index = waiting.pop()
        if index >= 0 and index not in needed:
            needed.add(index)
            waiting += sources(architecture.layers[index])
    last_read = {s: index for index in sorted(needed) for s in sources(architecture.layers[index]) if s >= 0}
    return Plan(architecture=architecture, outputs=outputs, needed=tuple(sorted(needed)), last_read=last_read)


def lacking(architecture: Architecture, symmetry: str, *, factors: bool) -> str | None:
    """Return what keeps the layers of an architecture from being evaluated, or None.

    The shapes are not looked at. See :func:`sneframe.architecture.evaluate.obstacle`.
    """
    try:
        found = plan(architecture)
    except ArchitectureError as error:
        return str(error)
    weighted = sum(bool(layer.parameters) for layer in architecture.layers)
    if symmetry == "none" and not architecture.outputs and weighted > 1:
        return (
            "only the names and shapes of its parameters are known, not the order of its layers; "
            "--module or from_module with an example input records it"
        )
    for index in found.needed:
        layer = architecture.layers[index]
        reasons = chain(
            _layer_lacks(layer),
            _roles_lack(architecture, layer),
            activation_lacks(layer),
            () if factors else factor_lacks(layer),
        )
        if (reason := next(reasons, None)) is not None:
            return f"{label(architecture, index)} cannot be evaluated: {reason}"
    return None


def _layer_lacks(layer: Layer) -> Iterator[str]:
    """Yield what is missing to evaluate the operation of a layer, apart from its parameters."""
    for word in ("not_recorded", "operation") if layer.kind == "not_recorded" else ("not_recorded",):
        if word in layer.attributes:
            yield f"its operation could not be described: {layer.attributes[word]}"
    if layer.kind not in KINDS:
        yield f"no evaluation is known for its kind, {choices(layer.kind, KINDS)}"
    kind, count = KINDS[layer.kind], len(sources(layer))
    for need in kind.needs:
        if need not in layer.attributes:
            yield f"its attribute {need!r} is not known; {HINT}"
    if "computed" in layer.attributes:
        roles = ", ".join(map(str, layer.attributes["computed"]))
        yield f"its {roles} is computed from other parameters, in a way that is not described"
    if unknown := sorted(set(layer.attributes) - {*EVERYWHERE, *kind.needs, *kind.allows}):
        yield f"its attribute {unknown[0]!r} is not one that {layer.kind} is evaluated with"
    least, most = kind.reads
    if count < least or (most is not None and count > most):
        wanted = f"{least} or more values" if most is None else f"{least} to {most} values"
        wanted = counted(least, "value") if least == most else wanted
        yield f"it must read {wanted}, but reads {list(layer.inputs)}"


def _roles_lack(architecture: Architecture, layer: Layer) -> Iterator[str]:
    """Yield which parameter of a layer is missing, not expected, or of a shape that does not fit."""
    kind, names = KINDS[layer.kind], {parameter.name for parameter in architecture.parameters}
    for name, steps in (used(use) for use in layer.attributes.get("uses", {}).values()):
        if name not in names:
            yield f"its attribute 'uses' names the parameter {name!r}, which no layer has"
        for word, attributes in steps:
            if word not in STEPS or any(need not in attributes for need in KINDS[word].needs):
                yield f"its attribute 'uses' has a step {word!r} that cannot be evaluated"
    owned = [role for role, _, _ in roles_of(layer)]
    if twice := next((role for role in owned if owned.count(role) > 1), None):
        yield f"it has several parameters of the role {twice!r}"
    if missing := next((role for role in kind.roles if role not in owned), None):
        yield f"it has no parameter of the role {missing!r}"
    if kind.optional is not None:
        for role in owned:
            if role not in (*kind.roles, *kind.optional):
                yield f"it has a parameter of the role {role!r}, which {layer.kind} is not evaluated with"
    yield from kind.lacks(layer)


def used(use: str | Mapping[str, Any]) -> tuple[str, Steps]:
    """Return the name of a parameter that ``uses`` names, and the steps that rearrange it first."""
    if isinstance(use, str):
        return use, ()
    return use["parameter"], [(kind, attributes) for kind, attributes in use.get("steps", ())]


def roles_of(layer: Layer) -> list[tuple[str, str, Steps]]:
    """Return the role and name of each parameter that a layer uses, and the steps that rearrange it first.

    A parameter that ``uses`` names has the role that is given there. The role of a parameter of a recurrent
    layer has level and direction, as in ``weight_ih_l0_reverse``.
    """
    uses = [(role, *used(use)) for role, use in layer.attributes.get("uses", {}).items()]
    named = {name for _, name, _ in uses}
    whole = layer.kind in GATES
    own = [
        (p.name.rpartition(".")[2] if whole else p.role, p.name, ())
        for p in layer.parameters
        if p.name not in named
    ]
    return [*own, *uses]
