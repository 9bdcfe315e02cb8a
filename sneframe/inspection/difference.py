"""Compare two networks parameter by parameter: what changed, by how much, and along how many directions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Unpack

import torch
from attrs import frozen
from torch import Tensor

from sneframe.batch import Batch
from sneframe.inspection.spectrum import EXACT, as_matrix, spectrum_of
from sneframe.inspection.updates import ROLE, with_updates
from sneframe.predict.lazy_network import Describer, LazyNetwork, Network, stacked
from sneframe.predict.reading import ReadingOptions, network_reader
from sneframe.symmetry.act import apply
from sneframe.symmetry.align import align

#: Networks with more weights are compared without matching their neurons, which needs all weights at once.
MATCHED = 50_000_000
#: The rank of a change is the number of singular values that hold this fraction of its squared norm.
HELD = 0.99
#: Networks whose matrices have at least this mean cosine count as related. Independent ones lie below it.
RELATED = 0.5

Read = Callable[[str], Tensor]


@frozen(kw_only=True)
class ParameterChange:
    """What changed in one parameter.

    Args:
        name: name of the parameter in both networks.
        shape: its shape.
        relative: norm of the difference over the norm of the first; 0 if they are equal, infinite if only the
            first is zero, None if one of them is not finite.
        cosine: cosine of both, as vectors; None if one of them is zero or not finite.
        rank: number of singular values that hold 99 % of the squared norm of the difference; None for a
            vector, without a difference, and if the matrix is too large to know it.
    """

    name: str
    shape: tuple[int, ...]
    relative: float | None
    cosine: float | None
    rank: int | None = None

    @property
    def changed(self) -> bool:
        """Whether any weight differs."""
        return self.relative != 0


@frozen(kw_only=True)
class NetworkDifference:
    """What changed from one network to another.

    Args:
        first: source of the first network.
        second: source of the second network.
        changes: one for each parameter that both have, in the order of the first.
        only_first: names of parameters that only the first has.
        only_second: names of parameters that only the second has.
        reshaped: both shapes of each parameter whose shape differs, by name.
        moved: number of neurons that were matched to another place, by neuron group.
        matched: why neurons were matched, or why not, as a sentence.
    """

    first: str
    second: str
    changes: tuple[ParameterChange, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    moved: dict[str, int]
    matched: str

    @property
    def cosine(self) -> float | None:
        """The mean cosine of the matrices that both have; None if there are none."""
        known = [each.cosine for each in self.changes if each.cosine is not None and len(each.shape) > 1]
        return sum(known) / len(known) if known else None

    @property
    def verdict(self) -> Literal["equal", "related", "unrelated", "different architectures"]:
        """Whether one network comes from the other. Weights alone do not say which of them came first."""
        if not self.changes:
            return "different architectures"
        if not any(each.changed for each in self.changes) and not (
            self.only_first or self.only_second or self.reshaped
        ):
            return "equal"
        return "related" if self.cosine is not None and self.cosine >= RELATED else "unrelated"


def difference(
    first: Network,
    second: Network,
    *,
    match: bool = True,
    exact: int = EXACT,
    **reading: Unpack[ReadingOptions],
) -> NetworkDifference:
    """Return what changed from one network to another.

    If both have the same architecture with known neuron groups, the neurons of the second are first permuted
    to be as close as possible to those of the first (weight matching). Low-rank adapters are compared by
    their updates.

    Args:
        first: the first network: a module, a state dict, or the path of a file or of a model folder.
        second: the second network.
        match: whether to match neurons.
        exact: length of the smaller side of a matrix up to which the rank of its change is computed.
        reading: how files are read, as in :class:`~sneframe.predict.reading.ReadingOptions`.

    Raises:
        ConfigError: an option of reading or its value is unknown.
        FileError: a file cannot be read, is of no known kind, or holds no weights.
        ArchitectureError: a network cannot be described, or an object is no network.
    """
    describer = Describer(network_reader(**reading), ())
    return _difference(
        with_updates(describer.of(first)), with_updates(describer.of(second)), match=match, exact=exact
    )


def _difference(first: LazyNetwork, second: LazyNetwork, *, match: bool, exact: int) -> NetworkDifference:
    shapes = [
        {
            parameter.name: parameter.shape
            for layer in each.architecture.layers
            for parameter in layer.parameters
        }
        for each in (first, second)
    ]
    common = [name for name, shape in shapes[0].items() if shapes[1].get(name) == shape]
    reads = (first.by_name(), second.by_name())
    moved: dict[str, int] = {}
    permuted = [group for group in first.architecture.groups if "permute" in group.actions]
    if all(ROLE in {each.role for each in network.architecture.parameters} for network in (first, second)):
        matched = (
            "adapters were compared by their updates s B A, which do not depend on the choice of A and B"
        )
    elif not match:
        matched = "neurons were not matched, as asked"
    elif first.architecture != second.architecture:
        matched = "neurons were not matched: the architectures differ"
    elif not permuted:
        matched = "neurons were not matched: no neuron groups are known"
    elif first.architecture.num_weights > MATCHED:
        matched = f"neurons were not matched: more than {MATCHED:,} weights"
    elif not (_finite(first) and _finite(second)):
        matched = "neurons were not matched: some weights are not finite"
    else:
        reads, moved = _matched(first, second)
        matched = f"the neurons of {len(permuted)} groups were matched"
    own, other = reads
    return NetworkDifference(
        first=first.source,
        second=second.source,
        changes=tuple(_change(name, own(name), other(name), exact) for name in common),
        only_first=tuple(name for name in shapes[0] if name not in shapes[1]),
        only_second=tuple(name for name in shapes[1] if name not in shapes[0]),
        reshaped={
            name: (shape, shapes[1][name])
            for name, shape in shapes[0].items()
            if name in shapes[1] and shapes[1][name] != shape
        },
        moved=moved,
        matched=matched,
    )


def _finite(network: LazyNetwork) -> bool:
    read = network.by_name()
    return all(bool(read(each.name).isfinite().all()) for each in network.architecture.parameters)


def _matched(first: LazyNetwork, second: LazyNetwork) -> tuple[tuple[Read, Read], dict[str, int]]:
    """Return both networks, the neurons of the second matched to the first, and how many of them moved.

    Both are read in single precision, so that weights that are equal stay equal.
    """
    one, other = stacked([first]), stacked([second])
    elements = align(other, one)
    (element,) = elements
    moved = {}
    for group, permutation in element.permutations.items():
        order = permutation[0]
        count = int((order != torch.arange(order.shape[-1]).expand_as(order)).sum())
        if count:
            moved[group] = count
    return (_reading(one), _reading(apply(other, elements))), moved


def _reading(batch: Batch) -> Read:
    """Return a function that reads the parameters of the only network of a batch by name."""
    (networks,) = batch.networks
    return {name: value[0] for name, value in networks.parameters().items()}.__getitem__


def _change(name: str, one: Tensor, other: Tensor, exact: int) -> ParameterChange:
    """Return what changed in a parameter."""
    one, other = one.detach().double(), other.detach().double()
    shape = tuple(one.shape)
    change = other - one
    if not bool(change.isfinite().all()):
        return ParameterChange(name=name, shape=shape, relative=None, cosine=None)
    norms = float(one.norm()), float(other.norm())
    moved = float(change.norm())
    relative = 0.0 if moved == 0 else moved / norms[0] if norms[0] else math.inf
    cosine = float((one * other).sum() / (norms[0] * norms[1])) if all(norms) else None
    rank = None
    if moved and one.ndim > 1 and min(as_matrix(one).shape) <= exact:
        squares = spectrum_of(as_matrix(change), exact=exact).values ** 2
        held = squares.cumsum() / squares.sum()
        rank = int((held < HELD).sum()) + 1
    return ParameterChange(name=name, shape=shape, relative=relative, cosine=cosine, rank=rank)
