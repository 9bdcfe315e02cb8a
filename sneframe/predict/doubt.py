"""What training never had: the architectures of training networks in, and of another network a list of doubts out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import torch
from attrs import field, frozen
from torch import Tensor

from sneframe.architecture import Architecture, Layer
from sneframe.batch import Batch
from sneframe.errors import counted

#: From the least to the worst. A mild doubt: the network lies between training networks. A serious one: it lies outside of
#: them, so a prediction is a guess. Meaningless: it is of another kind, so that nothing was learnt about it.
GRADES = ("mild", "serious", "meaningless")
WIDTHS = 2.0  #: how many times wider, or narrower, than any training network is serious
WEIGHTS = 4.0  #: how many times more weights, or fewer
MAGNITUDE = 10.0  #: how many times larger, or smaller, weights
GATES = {"lstm": 4, "gru": 3, "rnn": 1}  #: of recurrent layers: how many times their hidden size the rows are
NAMED = 5  #: how many sizes are named one by one


@frozen(kw_only=True)
class Doubt:
    """One way in which a network differs from all training networks.

    Args:
        about: what differs: ``architecture``, ``inputs``, ``outputs``, ``layers``, ``activations``, ``depth``, ``widths``,
            ``weights``, ``magnitude``, ``symmetry`` or ``distance``.
        grade: how much it matters, of :data:`GRADES`.
        line: what differs, in words, with what training networks have.
    """

    about: str
    grade: str
    line: str


def worst(doubts: Iterable[Doubt]) -> str | None:
    """Return the worst grade among doubts, or None where there is no doubt."""
    return max((doubt.grade for doubt in doubts), key=GRADES.index, default=None)


def in_words(doubts: Sequence[Doubt]) -> str:
    """Return doubts as one line; beside more than mild ones the mild ones are left out."""
    shown = [doubt for doubt in doubts if doubt.grade != GRADES[0]] or doubts
    return "; ".join(doubt.line for doubt in shown)


def magnitudes(architecture: Architecture, read: Callable[[str], Tensor]) -> dict[str, float]:
    """Return for each type of parameter the root mean square of a network's weights.

    Args:
        architecture: of the network.
        read: gives a parameter by its name; one after the other is read.
    """
    sums: dict[str, tuple[float, int]] = {}
    for kind, parameter in zip(architecture.types, architecture.parameters, strict=True):
        square, count = sums.get(kind, (0.0, 0))
        values = read(parameter.name).detach()
        sums[kind] = (square + float(values.double().square().sum()), count + values.numel())
    return {kind: (square / max(1, count)) ** 0.5 for kind, (square, count) in sums.items()}


def ranges_of(batches: Iterable[Batch]) -> dict[str, tuple[float, float]]:
    """Return for each type of parameter the smallest and the largest root mean square among networks.

    Args:
        batches: each network once.
    """
    found: dict[str, tuple[float, float]] = {}
    for networks in (networks for batch in batches for networks in batch.networks):
        architecture = networks.architecture
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        for kind, view in zip(architecture.types, networks.parameters().values(), strict=True):
            flat = view.flatten(1)
            # A norm needs no copy of the weights in double precision.
            square = torch.linalg.vector_norm(flat, dim=1, dtype=torch.float64).square()
            sums[kind] = sums.get(kind, torch.zeros_like(square)) + square
            counts[kind] = counts.get(kind, 0) + flat.shape[1]
        for kind, square in sums.items():
            means = (square / max(1, counts[kind])).sqrt()
            low, high = found.get(kind, (float("inf"), 0.0))
            found[kind] = min(low, float(means.min())), max(high, float(means.max()))
    return found


@frozen(kw_only=True, eq=False, slots=False)
class Seen:
    """What training networks had.

    Args:
        architectures: of the training networks.
        magnitudes: for each type of parameter, such as ``linear.weight``, the smallest and the largest root mean square of a
            training network; empty where the run kept none.
    """

    architectures: tuple[Architecture, ...]
    magnitudes: Mapping[str, tuple[float, float]] = field(factory=dict)

    def doubts(self, architecture: Architecture, *, assumed: bool = False) -> tuple[Doubt, ...]:
        """Return what of an architecture training never had.

        Args:
            architecture: of the network that is asked about.
            assumed: whether its activation is not known, as a state dict does not say it.
        """
        if architecture in self.architectures:
            return ()
        found = [
            *self._layers(architecture),
            *self._ends(architecture),
            *self._activations(architecture, assumed=assumed),
            *self._sizes(architecture),
        ]
        if structure(architecture) not in self._structures:
            line = f"no training network has its architecture, {architecture.summary}"
            found.append(Doubt(about="architecture", grade="mild", line=line))
        return tuple(sorted(found, key=lambda doubt: -GRADES.index(doubt.grade)))

    def doubts_of_weights(self, found: Mapping[str, float]) -> Iterator[Doubt]:
        """Yield each type of parameter whose weights are far larger or smaller than those of any training network.

        Args:
            found: the :func:`magnitudes` of the network.
        """
        for kind, value in found.items():
            low, high = self.magnitudes.get(kind, (0.0, float("inf")))
            if value > high * MAGNITUDE or value < low / MAGNITUDE:
                line = f"the root mean square of its {kind} is {value:.3g}, of training networks {low:.3g} to {high:.3g}"
                yield Doubt(about="magnitude", grade="serious", line=line)

    def unseen(self, architecture: Architecture) -> tuple[str, ...]:
        """Return the types of parameters that no training network has."""
        return tuple(dict.fromkeys(kind for kind in architecture.types if kind not in self._types))

    # -- what training networks had --------------------------------------------------------------------------

    @cached_property
    def _types(self) -> frozenset[str]:
        return frozenset(kind for each in self.architectures for kind in each.types)

    @cached_property
    def _kinds(self) -> frozenset[str]:
        return frozenset(layer.kind for each in self.architectures for layer in each.layers)

    @cached_property
    def _functions(self) -> frozenset[str]:
        return frozenset(name for each in self.architectures for name in activations(each))

    @cached_property
    def _structures(self) -> frozenset[object]:
        return frozenset(structure(each) for each in self.architectures)

    @cached_property
    def _inputs(self) -> frozenset[tuple[str, int]]:
        return frozenset(end for each in self.architectures for end in inputs(each))

    @cached_property
    def _outputs(self) -> frozenset[tuple[str, int]]:
        return frozenset(end for each in self.architectures for end in outputs(each))

    @cached_property
    def _are_ordered(self) -> bool:
        """Whether of all training networks it is known which layers are the first and the last."""
        return not any(map(is_unordered, self.architectures))

    @cached_property
    def _widths(self) -> tuple[int, ...]:
        return tuple(width for each in self.architectures for width in hidden_widths(each))

    # -- what differs ----------------------------------------------------------------------------------------

    def _layers(self, architecture: Architecture) -> Iterator[Doubt]:
        own = {layer.kind for layer in architecture.layers if layer.parameters}
        if unseen := ", ".join(self.unseen(architecture)):
            common = own & self._kinds
            line = (
                f"no training network has {unseen}"
                if common
                else f"it has {unseen} alone, which no training network has"
            )
            yield Doubt(about="layers", grade="serious" if common else "meaningless", line=line)
        joins = {layer.kind for layer in architecture.layers if not layer.parameters} - self._kinds
        if joins:
            line = f"no training network has {_listed(joins)} between its layers"
            yield Doubt(about="layers", grade="serious", line=line)

    def _ends(self, architecture: Architecture) -> Iterator[Doubt]:
        for about, verb, own, known in (
            ("inputs", "takes", inputs(architecture), self._inputs),
            ("outputs", "gives", outputs(architecture), self._outputs),
        ):
            if is_unordered(architecture) or not self._are_ordered:
                yield from self._sets_of_ends(architecture, about, verb, own, known)
                continue
            kinds = {kind for kind, _ in known}
            alike = sorted({size for kind, size in own if kind in kinds})
            if alike and not own & known:
                same = {size for kind, size in known if kind in {kind for kind, _ in own}}
                line = f"it has {_listed(alike)} {about}, training networks have {_listed(same)}"
                yield Doubt(about=about, grade="meaningless", line=line)
            elif own and known and not alike:
                mine, theirs = _listed({kind for kind, _ in own}), _listed(kinds)
                line = f"its {about} are those of {mine}, of training networks those of {theirs}"
                yield Doubt(about=about, grade="serious", line=line)

    def _sets_of_ends(
        self,
        architecture: Architecture,
        about: str,
        verb: str,
        own: set[tuple[str, int]],
        known: Iterable[tuple[str, int]],
    ) -> Iterator[Doubt]:
        """Yield that no layer fits as the first, or as the last, where it is not known which these are."""
        mine, theirs = {size for _, size in own}, {size for _, size in known}
        if not mine or not theirs or mine & theirs:
            return
        whose = "those of training networks do" if self._are_ordered else "layers of training networks do"
        line = f"none of its layers {verb} {_listed(theirs)} {about}, as {whose}"
        if not is_unordered(architecture):
            line = f"it has {_listed(mine)} {about}, and no layer of a training network {verb} as many"
        yield Doubt(about=about, grade="meaningless", line=line)

    def _activations(self, architecture: Architecture, *, assumed: bool) -> Iterator[Doubt]:
        own = activations(architecture)
        new = own - self._functions
        trained = _listed(self._functions)
        if assumed or (is_unordered(architecture) and own == {"none"}):
            hint = " (--activation says it)" if assumed else ""
            line = f"its activation is not known{hint}, training networks have {trained}"
            yield Doubt(about="activations", grade="mild", line=line)
        elif new:
            line = f"its activation is {_listed(new)}, those of training networks are {trained}"
            yield Doubt(about="activations", grade="serious", line=line)
        elif "other" in own:
            line = "its activation is of a kind without a name, which need not be that of training networks"
            yield Doubt(about="activations", grade="mild", line=line)

    def _sizes(self, architecture: Architecture) -> Iterator[Doubt]:
        # Networks one layer deeper than any in training are predicted badly (docs/explanation/design.md, probes).
        if is_unordered(architecture) or not self._are_ordered:
            own, known = layers_of(architecture), [layers_of(each) for each in self.architectures]
            line = f"it has {counted(own, 'layer')} with weights, training networks {_span(known)}"
        else:
            own, known = depth(architecture), [depth(each) for each in self.architectures]
            line = f"it is {counted(own, 'layer')} deep, training networks {_span(known)}"
        if not min(known) <= own <= max(known):
            yield Doubt(about="depth", grade="serious", line=line)
        yield from self._hidden(architecture)
        counts = [each.num_weights for each in self.architectures]
        if grade := _outside([architecture.num_weights], counts, WEIGHTS):
            line = f"it has {architecture.num_weights} weights, training networks {_span(counts)}"
            yield Doubt(about="weights", grade=grade, line=line)

    def _hidden(self, architecture: Architecture) -> Iterator[Doubt]:
        own = hidden_widths(architecture)
        if not own or not self._widths:
            return
        if is_unordered(architecture):
            low, high = min(self._widths), max(self._widths)
            if all(width * WIDTHS < low or width > high * WIDTHS for width in own):
                line = f"none of its layers is about as wide as layers of training networks, {_span(self._widths)}"
                yield Doubt(about="widths", grade="serious", line=line)
        elif grade := _outside(own, self._widths, WIDTHS):
            # Of training networks without an order it is not known which of their layers are hidden.
            whose = "those of training networks" if self._are_ordered else "layers of training networks"
            line = f"its hidden layers are {_span(own)} wide, {whose} {_span(self._widths)}"
            yield Doubt(about="widths", grade=grade, line=line)


# -- an architecture, looked at --------------------------------------------------------------------------------


def structure(architecture: Architecture) -> object:
    """Return what is left of an architecture without names and groups, which depend on where its description comes from."""
    return tuple(
        (layer.kind, tuple((p.role, p.shape) for p in layer.parameters), layer.inputs, layer.activation)
        for layer in architecture.layers
    )


def activations(architecture: Architecture) -> set[str]:
    """Return the activations behind the layers of an architecture; ``none`` where there is none, as in a linear network."""
    return {layer.activation for layer in architecture.layers} - {"none"} or {"none"}


def inputs(architecture: Architecture) -> set[tuple[str, int]]:
    """Return kind and number of inputs of each layer that reads the network's input, where that is known.

    Where the order of layers is not known, any layer may read it; these are then all numbers that any may take.
    """
    if is_unordered(architecture):
        return {(layer.kind, size) for layer in architecture.layers for size in _may_read(layer)}
    first = [
        layer
        for layer, level in zip(architecture.layers, architecture.levels, strict=True)
        if layer.parameters and level == 0
    ]
    return {(layer.kind, size) for layer in first if (size := _reads(layer)) is not None}


def outputs(architecture: Architecture) -> set[tuple[str, int]]:
    """Return kind and number of outputs of each layer behind which there is no other with parameters.

    Where the order of layers is not known, any layer may be the last; these are then all numbers that any may give.
    """
    if is_unordered(architecture):
        return {(layer.kind, size) for layer in architecture.layers for size in _may_write(layer)}
    followed: set[int] = set()
    last = []
    for place in reversed(range(len(architecture.layers))):
        layer = architecture.layers[place]
        if layer.parameters and place not in followed:
            last.append(layer)
        if layer.parameters or place in followed:
            followed.update(layer.inputs)
    return {(layer.kind, size) for layer in last if (size := _writes(layer)) is not None}


def hidden_widths(architecture: Architecture) -> list[int]:
    """Return the numbers of outputs of all linear, convolution and recurrent layers but the last such layer.

    The width of a recurrent layer is its hidden size, also where it is the last. Where the order of layers is not known,
    these are all numbers of outputs that any of them may give.
    """
    layers = [
        layer
        for layer in architecture.layers
        if layer.parameters and (_is_map(layer.kind) or layer.kind in GATES)
    ]
    if is_unordered(architecture):
        sizes = {size for layer in layers for size in _may_write(layer)}
        return sorted(sizes | {size for layer in layers if (size := _hidden_size(layer))})
    if layers and _is_map(layers[-1].kind):
        layers = layers[:-1]
    found = [_hidden_size(layer) or _writes(layer) for layer in layers]
    return [width for width in found if width]


def depth(architecture: Architecture) -> int:
    """Return how many layers with matrices of weights lie on the longest path; norms and vectors do not count."""
    reached: list[int] = []
    for layer in architecture.layers:
        reached.append(max((reached[source] for source in layer.inputs), default=0) + _counts(layer))
    return max(reached)


def layers_of(architecture: Architecture) -> int:
    """Return how many layers with matrices of weights there are, in any order; norms and vectors do not count."""
    return sum(map(_counts, architecture.layers))


def is_unordered(architecture: Architecture) -> bool:
    """Whether the order of several layers says nothing, as nothing but their names and shapes is known."""
    return (
        architecture.symmetry == "none" and sum(bool(layer.parameters) for layer in architecture.layers) > 1
    )


def _is_map(kind: str) -> bool:
    return kind == "linear" or kind.startswith("conv")


def _counts(layer: Layer) -> bool:
    return "norm" not in layer.kind and any(len(p.shape) > 1 for p in layer.parameters)


def _shape(layer: Layer, *roles: str) -> tuple[int, ...]:
    return next((p.shape for role in roles for p in layer.parameters if p.role == role), ())


def _reads(layer: Layer) -> int | None:
    """Return how many inputs, channels or words a layer reads; None where that is not known."""
    shape = _shape(layer, "weight", "weight_ih", "in_proj_weight")
    if len(shape) < 2:
        return shape[0] if shape and "norm" in layer.kind else None
    if layer.kind == "embedding" or layer.kind.startswith("conv_transpose"):
        return shape[0]
    groups = layer.attributes.get("groups", 1)
    return shape[1] * groups if _is_map(layer.kind) or layer.kind in (*GATES, "multihead_attention") else None


def _writes(layer: Layer) -> int | None:
    """Return how many outputs or channels a layer writes; None where that is not known."""
    if layer.kind in GATES:
        size = (_shape(layer, "weight_hr") or (0,))[0] or _hidden_size(layer)
        return size * _directions(layer) or None
    shape = _shape(layer, "weight", "in_proj_weight")
    if len(shape) < 2:
        return shape[0] if shape and "norm" in layer.kind else None
    if layer.kind in ("embedding", "multihead_attention"):
        return shape[1]
    if layer.kind.startswith("conv_transpose"):
        return int(shape[1] * layer.attributes.get("groups", 1))
    return shape[0] if _is_map(layer.kind) else None


def _hidden_size(layer: Layer) -> int:
    """Return the hidden size of a recurrent layer; of any other 0."""
    if layer.kind not in GATES:
        return 0
    return (_shape(layer, "weight_hh") or (0,))[0] // GATES[layer.kind]


def _directions(layer: Layer) -> int:
    return 2 if any(parameter.name.endswith("_reverse") for parameter in layer.parameters) else 1


def _may_read(layer: Layer) -> set[int]:
    """Return all numbers of inputs that a layer may have of which names and shapes alone are known."""
    return _may_have(layer, 1)


def _may_write(layer: Layer) -> set[int]:
    """Return all numbers of outputs that a layer may have of which names and shapes alone are known."""
    return _may_have(layer, 0)


def _may_have(layer: Layer, axis: int) -> set[int]:
    """Return what a layer may read (``axis`` 1) or write (0): a matrix without bias may be stored the other way round."""
    if layer.kind in GATES:
        size = _writes(layer) if axis == 0 else _reads(layer)
        return {size} if size else set()
    if "norm" in layer.kind:
        return {p.shape[0] for p in layer.parameters if p.shape}
    shapes = [parameter.shape for parameter in layer.parameters if len(parameter.shape) > 1]
    bias = _shape(layer, "bias")
    if layer.kind == "linear" and len(shapes) == 1 and bias == shapes[0][:1]:
        return {shapes[0][axis]}
    found = {size for shape in shapes for size in shape}
    if layer.kind.startswith("conv"):  # of which neither its groups nor whether it is transposed are known
        found = {size for shape in shapes for size in _channels(*shape[:2])}
    return found


def _channels(rows: int, columns: int) -> set[int]:
    return {rows, *(columns * groups for groups in range(1, rows + 1) if rows % groups == 0)}


# -- words -----------------------------------------------------------------------------------------------------


def _outside(own: Sequence[int], known: Sequence[int], factor: float) -> str | None:
    """Return the grade of the doubt that sizes lie outside of those of training networks; None where they do not."""
    low, high = min(known), max(known)
    if low <= min(own) and max(own) <= high:
        return None
    return "serious" if min(own) * factor < low or max(own) > high * factor else "mild"


def _span(values: Sequence[int]) -> str:
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _listed(values: Iterable[str] | Iterable[int]) -> str:
    """Return words or sizes in order; of many sizes the smallest and the largest."""
    found = sorted(set(values))  # type: ignore[type-var]  # all of one type
    if len(found) > NAMED and isinstance(found[0], int):
        return f"{found[0]} to {found[-1]}"
    return ", ".join(map(str, found))
