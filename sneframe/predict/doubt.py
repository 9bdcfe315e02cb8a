"""Find doubts. A doubt says how a network differs from all networks that the run was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.batch import Batch, Networks
from sneframe.errors import counted
from sneframe.nn.diverged import usual
from sneframe.predict.outline import (
    activations,
    depth,
    hidden_widths,
    inputs,
    is_unordered,
    layers_of,
    outputs,
    structure,
)

#: The doubt about a network whose symmetry is not certain, by the origin of its symmetry.
UNSURE = {
    "guessed": "its symmetry is guessed from names and shapes",
    "none": "its symmetry is not known, so every neuron is taken as fixed",
}
#: Grades of doubt. Mild: the network is new, but in the range of the training networks. Serious: the network
#: is outside of this range, so a prediction is a guess. Meaningless: the network is of another kind, about
#: which the run has learnt nothing.
GRADES = ("mild", "serious", "meaningless")
WIDTHS = 2.0  #: a layer this many times wider or narrower than in training is a serious doubt
WEIGHTS = 4.0  #: this many times more or fewer weights than in training are a serious doubt
MAGNITUDE = 10.0  #: weights this many times larger or smaller than in training are a serious doubt
NAMED = 5  #: up to this many sizes are listed; otherwise only the smallest and the largest size are named


@frozen(kw_only=True)
class Doubt:
    """One way in which a network differs from all training networks.

    Args:
        about: what differs: ``architecture``, ``inputs``, ``outputs``, ``layers``, ``activations``,
            ``depth``, ``widths``, ``weights``, ``magnitude``, ``symmetry`` or ``distance``.
        grade: how much the difference matters, one of :data:`GRADES`.
        line: one clause that says what the network has and what training networks have.
    """

    about: str
    grade: str
    line: str


def worst(doubts: Iterable[Doubt]) -> str | None:
    """Return the worst grade among doubts, or None if there is no doubt."""
    return max((doubt.grade for doubt in doubts), key=GRADES.index, default=None)


def doubtful(doubts: Iterable[Doubt]) -> bool:
    """Return whether a doubt is more than mild, so that predictions are guesses or meaningless."""
    return worst(doubts) in GRADES[1:]


def in_words(doubts: Sequence[Doubt]) -> str:
    """Join the lines of doubts into one line. Mild doubts are left out if there is a worse doubt."""
    shown = [doubt for doubt in doubts if doubt.grade != GRADES[0]] or doubts
    return "; ".join(doubt.line for doubt in shown)


def magnitudes(architecture: Architecture, read: Callable[[str], Tensor]) -> dict[str, float]:
    """Return the root mean square of the weights of one network, for each type of parameter.

    Args:
        architecture: the architecture of the network.
        read: function that returns a parameter by name. It is called for one parameter after the other.
    """
    sums: dict[str, tuple[float, int]] = {}
    for kind, parameter in zip(architecture.types, architecture.parameters, strict=True):
        square, count = sums.get(kind, (0.0, 0))
        values = read(parameter.name).detach().flatten()
        # A norm needs no copy of the weights in double precision.
        square += float(torch.linalg.vector_norm(values, dtype=torch.float64)) ** 2
        sums[kind] = (square, count + values.numel())
    return {kind: (square / max(1, count)) ** 0.5 for kind, (square, count) in sums.items()}


def ranges_of(batches: Iterable[Batch]) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest root mean square among networks, for each type of parameter.

    The root mean square of a network is computed over all weights that the network has of that type. Networks
    that are not :func:`~sneframe.nn.diverged.usual` are left out. Else no new network would be too large.

    Args:
        batches: batches that hold each network once.
    """
    found: dict[str, list[np.ndarray]] = {}
    for networks in (networks for batch in batches for networks in batch.networks):
        for kind, means in magnitudes_of(networks).items():
            found.setdefault(kind, []).append(means.cpu().numpy())
    sizes = {kind: np.concatenate(each) for kind, each in found.items()}
    kept = {kind: each[usual(each)] for kind, each in sizes.items()}
    return {kind: (float(each.min()), float(each.max())) for kind, each in kept.items() if len(each)}


def magnitudes_of(networks: Networks) -> dict[str, Tensor]:
    """Return the :func:`magnitudes` ``(B,)`` of several networks, for each type of parameter."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for kind, view in zip(networks.architecture.types, networks.parameters().values(), strict=True):
        flat = view.flatten(1)
        # A norm needs no copy of the weights in double precision.
        square = torch.linalg.vector_norm(flat, dim=1, dtype=torch.float64).square()
        sums[kind] = sums.get(kind, torch.zeros_like(square)) + square
        counts[kind] = counts.get(kind, 0) + flat.shape[1]
    return {kind: (square / max(1, counts[kind])).sqrt() for kind, square in sums.items()}


@frozen(kw_only=True, eq=False, slots=False)
class Seen:
    """The facts about the training networks. :meth:`doubts` compares another network with them.

    Args:
        architectures: the architectures of the training networks.
        magnitudes: the smallest and the largest root mean square among training networks for each type of
            parameter, such as ``linear.weight``. The mapping is empty if the run recorded no such values.
    """

    architectures: tuple[Architecture, ...]
    magnitudes: Mapping[str, tuple[float, float]] = field(factory=dict)

    def doubts(self, architecture: Architecture, *, assumed: bool = False) -> tuple[Doubt, ...]:
        """Return the doubts about an architecture, which differs from those of all training networks.

        The worst doubt comes first. If a training network has this architecture, there is no doubt.

        Args:
            architecture: the architecture of another network.
            assumed: whether the activation is only assumed, because a state dict does not name it.
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
        """Yield a doubt for each type of parameter whose weights are far larger or smaller than in training.

        Args:
            found: the :func:`magnitudes` of the network.
        """
        for kind, value in found.items():
            low, high = self.magnitudes.get(kind, (0.0, float("inf")))
            if value > high * MAGNITUDE or value < low / MAGNITUDE:
                seen = f"{low:.3g} to {high:.3g}"
                line = f"the root mean square of its {kind} is {value:.3g}, but {seen} in training networks"
                yield Doubt(about="magnitude", grade="serious", line=line)

    def doubts_of_network(
        self,
        architecture: Architecture,
        own: Mapping[str, float],
        distance: float | None,
        *,
        assumed: bool = False,
    ) -> tuple[Doubt, ...]:
        """Return the doubts that say how a network differs from all training networks. The worst is first.

        Args:
            architecture: the architecture of the network.
            own: the :func:`magnitudes` of the network.
            distance: its distance from the training networks, where 1 is the largest that is not far; None if
                it could not be measured.
            assumed: whether the activation is only assumed, because a state dict does not name it.
        """
        found = [*self.doubts(architecture, assumed=assumed), *self.doubts_of_weights(own)]
        known = architecture in self.architectures
        line = UNSURE.get(architecture.symmetry)
        if line is not None and not (known and architecture.symmetry == "none"):
            found.append(Doubt(about="symmetry", grade="mild", line=line))
        if distance is not None and distance > 1:
            times = f"{distance:.3g} times as far as they are from each other"
            line = f"it is far from all training networks: {times}"
            found.append(Doubt(about="distance", grade="serious", line=line))
        return tuple(sorted(found, key=lambda doubt: -GRADES.index(doubt.grade)))

    def unseen(self, architecture: Architecture) -> tuple[str, ...]:
        """Return the types of an architecture's parameters that no training network has."""
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
        """Whether the first and the last layers of all training networks are known."""
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
                else f"it has only {unseen}, which no training network has"
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
                line = f"it has {_listed(alike)} {about}, but training networks have {_listed(same)}"
                yield Doubt(about=about, grade="meaningless", line=line)
            elif own and known and not alike:
                mine, theirs = _listed({kind for kind, _ in own}), _listed(kinds)
                line = f"its {about} are those of {mine} layers, but in training those of {theirs} layers"
                yield Doubt(about=about, grade="serious", line=line)

    def _sets_of_ends(
        self,
        architecture: Architecture,
        about: str,
        verb: str,
        own: set[tuple[str, int]],
        known: Iterable[tuple[str, int]],
    ) -> Iterator[Doubt]:
        """Yield a doubt if no number of inputs (or outputs) can be the same as in a training network.

        This method is used if the order of layers is not known, either in ``architecture`` or in a training
        network. All numbers that a layer may read (or write) are then compared.
        """
        mine, theirs = {size for _, size in own}, {size for _, size in known}
        if not mine or not theirs or mine & theirs:
            return
        whose = "those of training networks do" if self._are_ordered else "layers of training networks do"
        line = f"none of its layers {verb} {_listed(theirs)} {about}, but {whose}"
        if not is_unordered(architecture):
            line = f"it has {_listed(mine)} {about}, and no layer of a training network {verb} as many"
        yield Doubt(about=about, grade="meaningless", line=line)

    def _activations(self, architecture: Architecture, *, assumed: bool) -> Iterator[Doubt]:
        own = activations(architecture)
        new = own - self._functions
        trained = _listed(self._functions)
        if assumed or (is_unordered(architecture) and own == {"none"}):
            hint = " (state it with --activation)" if assumed else ""
            line = f"its activation is not known{hint}, but training networks have {trained}"
            yield Doubt(about="activations", grade="mild", line=line)
        elif new:
            line = f"its activation is {_listed(new)}, but training networks have {trained}"
            yield Doubt(about="activations", grade="serious", line=line)
        elif "other" in own:
            line = "its activation has no known name, so it may differ from that of training networks"
            yield Doubt(about="activations", grade="mild", line=line)

    def _sizes(self, architecture: Architecture) -> Iterator[Doubt]:
        # Predictions are bad already for networks one layer deeper than any in training.
        if is_unordered(architecture) or not self._are_ordered:
            own, known = layers_of(architecture), [layers_of(each) for each in self.architectures]
            line = f"it has {counted(own, 'layer')} with weights, but training networks have {_span(known)}"
        else:
            own, known = depth(architecture), [depth(each) for each in self.architectures]
            line = f"it is {counted(own, 'layer')} deep, but the depth of training networks is {_span(known)}"
        if not min(known) <= own <= max(known):
            yield Doubt(about="depth", grade="serious", line=line)
        yield from self._hidden(architecture)
        counts = [each.num_weights for each in self.architectures]
        if grade := _outside([architecture.num_weights], counts, WEIGHTS):
            line = f"it has {architecture.num_weights} weights, but training networks have {_span(counts)}"
            yield Doubt(about="weights", grade=grade, line=line)

    def _hidden(self, architecture: Architecture) -> Iterator[Doubt]:
        own = hidden_widths(architecture)
        if not own or not self._widths:
            return
        if is_unordered(architecture):
            low, high = min(self._widths), max(self._widths)
            if all(width * WIDTHS < low or width > high * WIDTHS for width in own):
                line = f"none of its layers is about as wide as in training networks ({_span(self._widths)})"
                yield Doubt(about="widths", grade="serious", line=line)
        elif grade := _outside(own, self._widths, WIDTHS):
            # The hidden layers of a training network are known only if the order of its layers is known.
            whose = "those of training networks" if self._are_ordered else "layers of training networks"
            line = f"its hidden layers are {_span(own)} wide, but {whose} are {_span(self._widths)} wide"
            yield Doubt(about="widths", grade=grade, line=line)


# -- words ----------------------------------------------------------------------------------------------


def _outside(own: Sequence[int], known: Sequence[int], factor: float) -> str | None:
    """Return the grade of the doubt about the sizes ``own``, or None if all are in the range of ``known``.

    The doubt is serious if a size is more than ``factor`` times smaller or larger than that range allows.
    """
    low, high = min(known), max(known)
    if low <= min(own) and max(own) <= high:
        return None
    return "serious" if min(own) * factor < low or max(own) > high * factor else "mild"


def _span(values: Sequence[int]) -> str:
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _listed(values: Iterable[str] | Iterable[int]) -> str:
    """Join words or sizes in ascending order. Of many sizes, only the smallest and the largest are named."""
    found = sorted(set(values))  # type: ignore[type-var]  # all of one type
    if len(found) > NAMED and isinstance(found[0], int):
        return f"{found[0]} to {found[-1]}"
    return ", ".join(map(str, found))
