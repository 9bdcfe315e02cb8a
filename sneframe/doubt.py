"""What training never had: the architectures of training networks in, and of another network a list of doubts out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import torch
from attrs import field, frozen
from torch import Tensor

from sneframe.architecture import Architecture, Layer
from sneframe.batch import Batch

#: From the least to the worst. A mild doubt: the network lies between training networks. A serious one: it lies outside of
#: them, so a prediction is a guess. Meaningless: it is of another kind, so that nothing was learnt about it.
GRADES = ("mild", "serious", "meaningless")
WIDTHS = 2.0  #: how many times wider, or narrower, than any training network is serious
WEIGHTS = 4.0  #: how many times more weights, or fewer
MAGNITUDE = 10.0  #: how many times larger, or smaller, weights
RECURRENT = ("lstm", "gru", "rnn")
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
        for about, own, known in (
            ("inputs", inputs(architecture), self._inputs),
            ("outputs", outputs(architecture), self._outputs),
        ):
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

    def _activations(self, architecture: Architecture, *, assumed: bool) -> Iterator[Doubt]:
        own = activations(architecture)
        new = own - self._functions
        trained = _listed(self._functions)
        if assumed:
            line = f"its activation is not known (--activation says it), training networks have {trained}"
            yield Doubt(about="activations", grade="mild", line=line)
        elif new:
            line = f"its activation is {_listed(new)}, those of training networks are {trained}"
            yield Doubt(about="activations", grade="serious", line=line)
        elif "other" in own:
            line = "its activation is of a kind without a name, which need not be that of training networks"
            yield Doubt(about="activations", grade="mild", line=line)

    def _sizes(self, architecture: Architecture) -> Iterator[Doubt]:
        depths = [each.depth for each in self.architectures]
        if not min(depths) <= architecture.depth <= max(depths):
            # Networks one layer deeper than any in training are predicted badly (docs/explanation/design.md, probes).
            line = f"it is {architecture.depth} layers deep, training networks {_span(depths)}"
            yield Doubt(about="depth", grade="serious", line=line)
        own = hidden_widths(architecture)
        if own and self._widths and (grade := _outside(own, self._widths, WIDTHS)):
            line = (
                f"its hidden layers are {_span(own)} wide, those of training networks {_span(self._widths)}"
            )
            yield Doubt(about="widths", grade=grade, line=line)
        counts = [each.num_weights for each in self.architectures]
        if grade := _outside([architecture.num_weights], counts, WEIGHTS):
            line = f"it has {architecture.num_weights} weights, training networks {_span(counts)}"
            yield Doubt(about="weights", grade=grade, line=line)


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
    """Return kind and number of inputs of each layer that reads the network's input, where that is known."""
    first = [
        layer
        for layer, level in zip(architecture.layers, architecture.levels, strict=True)
        if layer.parameters and level == 0
    ]
    return _ends_of(architecture if is_unordered(architecture) else None, first, _reads)


def outputs(architecture: Architecture) -> set[tuple[str, int]]:
    """Return kind and number of outputs of each layer behind which there is no other with parameters."""
    followed: set[int] = set()
    last = []
    for place in reversed(range(len(architecture.layers))):
        layer = architecture.layers[place]
        if layer.parameters and place not in followed:
            last.append(layer)
        if layer.parameters or place in followed:
            followed.update(layer.inputs)
    return _ends_of(architecture if is_unordered(architecture) else None, last, _writes)


def hidden_widths(architecture: Architecture) -> list[int]:
    """Return the numbers of outputs of all linear and convolution layers but the last."""
    layers = [layer for layer in architecture.layers if layer.parameters and _is_map(layer.kind)]
    widths = [width for layer in layers if (width := _writes(layer)) is not None]
    return widths if is_unordered(architecture) else widths[:-1]


def is_unordered(architecture: Architecture) -> bool:
    """Whether the order of several layers says nothing, as nothing but their names and shapes is known."""
    return (
        architecture.symmetry == "none" and sum(bool(layer.parameters) for layer in architecture.layers) > 1
    )


def _ends_of(
    unordered: Architecture | None, layers: Sequence[Layer], size: Callable[[Layer], int | None]
) -> set[tuple[str, int]]:
    """Return kinds and sizes of layers; where the order says nothing, of all that may be meant."""
    found = unordered.layers if unordered is not None else layers
    return {(layer.kind, n) for layer in found if layer.parameters and (n := size(layer)) is not None}


def _is_map(kind: str) -> bool:
    return kind == "linear" or kind.startswith("conv")


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
    return (
        shape[1] * groups
        if _is_map(layer.kind) or layer.kind in (*RECURRENT, "multihead_attention")
        else None
    )


def _writes(layer: Layer) -> int | None:
    """Return how many outputs or channels a layer writes; None where that is not known."""
    if layer.kind in RECURRENT:
        return (_shape(layer, "weight_hh") or (0, 0))[1] or None
    shape = _shape(layer, "weight", "in_proj_weight")
    if len(shape) < 2:
        return shape[0] if shape and "norm" in layer.kind else None
    if layer.kind in ("embedding", "multihead_attention"):
        return shape[1]
    if layer.kind.startswith("conv_transpose"):
        return int(shape[1] * layer.attributes.get("groups", 1))
    return shape[0] if _is_map(layer.kind) else None


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
