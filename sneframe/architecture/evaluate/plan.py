"""Find what keeps an architecture from being evaluated, and which layers its output depends on."""

from __future__ import annotations

from functools import lru_cache

from attrs import frozen

from sneframe.architecture.description import Architecture
from sneframe.architecture.evaluate.activations import activation_lacks, factor_lacks
from sneframe.architecture.evaluate.kinds import KINDS
from sneframe.architecture.layer import INPUT, Layer
from sneframe.errors import ArchitectureError, choices, counted

#: Attributes that a layer of any kind may have. ``tied`` says which other names a parameter has.
EVERYWHERE = ("factor", "shift", "activation_options", "uses", "tied")
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
        reason = _layer_lacks(architecture, layer) or activation_lacks(layer)
        if reason is None and not factors:
            reason = factor_lacks(layer)
        if reason is not None:
            return f"{label(architecture, index)} cannot be evaluated: {reason}"
    return None


def _layer_lacks(architecture: Architecture, layer: Layer) -> str | None:
    """Return what is missing to evaluate the operation of a layer, or None."""
    if layer.kind == "not_recorded":
        return f"its operation {layer.attributes.get('operation', 'unknown')!r} could not be described"
    if (kind := KINDS.get(layer.kind)) is None:
        return f"no evaluation is known for its kind, {choices(layer.kind, KINDS)}"
    for need in kind.needs:
        if need not in layer.attributes:
            return f"its attribute {need!r} is not known; {HINT}"
    known = {*EVERYWHERE, *kind.needs, *kind.allows}
    if unknown := sorted(set(layer.attributes) - known):
        return f"its attribute {unknown[0]!r} is not one that {layer.kind} is evaluated with"
    least, most = kind.reads
    if not least <= len(sources(layer)) <= (len(sources(layer)) if most is None else most):
        wanted = f"{least} or more values" if most is None else counted(most, "value")
        return f"it must read {wanted}, but reads {list(layer.inputs)}"
    return _roles_lack(architecture, layer) or kind.lacks(layer)


def _roles_lack(architecture: Architecture, layer: Layer) -> str | None:
    """Return which parameter of a layer is missing or not expected, or None."""
    kind, uses = KINDS[layer.kind], layer.attributes.get("uses", {})
    owned = [role for role, _ in owned_roles(layer)]
    names = {parameter.name for parameter in architecture.parameters}
    for role, name in uses.items():
        if name not in names:
            return f"its attribute 'uses' names the parameter {name!r}, which no layer has"
        owned.append(role)
    if twice := next((role for role in owned if owned.count(role) > 1), None):
        return f"it has several parameters of the role {twice!r}"
    if missing := next((role for role in kind.roles if role not in owned), None):
        return f"it has no parameter of the role {missing!r}"
    if kind.optional is not None:
        for role in owned:
            if role not in (*kind.roles, *kind.optional):
                return f"it has a parameter of the role {role!r}, which {layer.kind} is not evaluated with"
    return None


def owned_roles(layer: Layer) -> list[tuple[str, str]]:
    """Return ``(role, name)`` of each parameter that a layer owns.

    The role of a parameter of a recurrent layer has level and direction, as in ``weight_ih_l0_reverse``.
    """
    if layer.kind in ("lstm", "gru", "rnn"):
        return [(parameter.name.rpartition(".")[2], parameter.name) for parameter in layer.parameters]
    return [(parameter.role, parameter.name) for parameter in layer.parameters]
