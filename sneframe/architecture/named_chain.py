"""Find a chain of layers in the names and shapes of a state dict, and decide whether the chain is certain.

A chain consists of linear and convolution layers, with batch norms between them. Example: ``net.0.weight`` of
shape ``(16, 3)`` and ``net.2.weight`` of shape ``(5, 16)`` are a certain chain with 16 hidden neurons.

The convolutions of a chain are one stage, and the linear layers after them are another stage. If all layers
have the same name, they are one stage. A chain is certain if

1. the layers of each stage are numbered under one name: ``0``, ``2``, ``4``; or ``net.0``, ``net.1``; or
   ``conv1``, ``conv2``, ``fc1``, ``fc2``. A stage of one layer needs no number. A batch norm follows a layer
   of the same name with a lower number (``net.1`` follows ``net.0``), or has the number and the width of its
   layer (``bn1``);
2. each layer has as many inputs as the layer before it has outputs. A linear layer after a convolution may
   have a multiple of this number;
3. the widths leave no room for a skip connection. A skip connection adds two values of the same width. So
   the input of the chain, its flattened maps and the outputs of its layers must all have different widths.
   There are two exceptions. First, a stage whose numbers have a gap between every two layers, such as
   ``0``, ``2``, ``4``, is an ``nn.Sequential`` with activations at the missing numbers. A skip connection
   cannot begin or end inside of it, so only the input and the output of the stage are compared. Second, the
   input and the output of the whole chain may have the same width, because a skip connection around the
   whole chain leaves its neurons movable. But two layers of one kind without a gap could then also run in
   the opposite order, so their chain is not certain;
4. every neuron is between two layers of clear kinds. Otherwise this neuron is fixed, and the rest of the
   chain stays certain. A layer can be unclear in two ways. A convolution may be a transposed convolution,
   which stores its weight with rows and columns exchanged. This is possible if the convolution also fits the
   chain after the exchange. A first linear layer may be an embedding table. This is possible if its weight
   is square and it has no bias.

Names and shapes cannot show two things, which are assumed to be absent: groups in the first convolution, and
functions between layers that treat neurons differently, such as a cumulative sum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise

from attrs import define, field
from torch import Tensor

EMBEDDING = re.compile(r"(^|[._])(\w*emb\w*|wte|wpe)$")
RECURRENT = {4: "lstm", 3: "gru", 1: "rnn"}
DIGITS = re.compile(r"[0-9]{1,18}")
CHAIN = ("linear", "conv1d", "conv2d", "conv3d")
#: The order of the parameters within a layer; other parameters follow in the order of their names.
ROLES = ("weight", "bias", "running_mean", "running_var")


class ChainDoubt(Exception):  # noqa: N818  # not an error: the caller turns it into a warning
    """Raised if it is not certain that the layers of a state dict form a chain."""


@define(eq=False)
class NamedLayer:
    """One layer of a state dict: the parameters whose names differ only in the last part.

    Args:
        stem: the common part of the names, such as ``net.0``.
        kind: the kind of the layer, such as ``conv2d``.
        shapes: the shapes of the parameters, by the last part of the name, such as ``weight``.
        norms: the batch norms that follow the layer, if the layer is linear or a convolution.
    """

    stem: str
    kind: str
    shapes: dict[str, tuple[int, ...]]
    norms: list[NamedLayer] = field(factory=list)

    def name(self, last: str = "weight") -> str:
        """Return the full name of the parameter whose name ends in ``last``."""
        return f"{self.stem}.{last}" if self.stem else last

    @property
    def outputs(self) -> int:
        """Number of outputs of the layer."""
        return self.shapes["weight"][0]

    @property
    def inputs(self) -> int:
        """Number of inputs of the layer."""
        return self.shapes["weight"][1]

    @property
    def words(self) -> list[str]:
        """The parts of the stem around its numbers: ``["net.", ""]`` for ``net.0``."""
        return DIGITS.split(self.stem)

    @property
    def numbers(self) -> list[int]:
        """The numbers in the stem: ``[0]`` for ``net.0``."""
        return [int(digits) for digits in DIGITS.findall(self.stem)]


# -- names and shapes → layers -------------------------------------------------------------------------------


def entries_of(state: Mapping[str, Tensor]) -> list[NamedLayer]:
    """Return the layers of a state dict, in the order of their names, with ``fc2`` before ``fc10``.

    The order of the keys of the state dict does not matter. A parameter of a layer of unknown kind becomes a
    layer by itself.
    """
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for name in sorted((name for name, value in state.items() if value.is_floating_point()), key=_sort_key):
        stem, _, last = name.rpartition(".")
        shapes.setdefault(stem, {})[last] = tuple(state[name].shape)
    entries: list[NamedLayer] = []
    for stem, own in shapes.items():
        kind = _kind(stem, own)
        alone = [{last: shape} for last, shape in own.items()] if kind == "parameter" else [own]
        entries += [NamedLayer(stem, kind, part) for part in alone]
    return entries


def _sort_key(name: str) -> tuple[list[tuple[str, int]], str, int, str]:
    """Return a sort key for parameter names: ``fc2`` is before ``fc10``, and a weight is before its bias."""
    stem, _, last = name.rpartition(".")
    words, numbers = DIGITS.split(stem), [int(digits) for digits in DIGITS.findall(stem)]
    pieces = list(zip(words, [*numbers, -1], strict=True))
    return pieces, stem, ROLES.index(last) if last in ROLES else len(ROLES), last


def _kind(stem: str, shapes: Mapping[str, tuple[int, ...]]) -> str:  # noqa: PLR0911  # one line per kind
    """Guess the kind of a layer from its stem, and from the names and shapes of its parameters."""
    if "in_proj_weight" in shapes:
        return "multihead_attention"
    recurrent = next((last for last in shapes if last.startswith("weight_hh")), None)
    if recurrent is not None and len(shapes[recurrent]) == 2:
        rows, hidden = shapes[recurrent]
        return RECURRENT.get(rows // max(1, hidden), "parameter")
    weight = shapes.get("weight")
    if weight is None or shapes.keys() - {"weight", "bias", "running_mean", "running_var"}:
        return "parameter"
    if len(weight) == 1:
        if "running_mean" in shapes:
            return "batch_norm"
        if "bias" in shapes:
            return "layer_norm"
        return "parameter" if "prelu" in stem.lower() else "rms_norm"  # PReLU has a slope for each channel
    if len(weight) == 2:
        return "embedding" if "bias" not in shapes and EMBEDDING.search(stem) else "linear"
    return f"conv{len(weight) - 2}d" if 2 < len(weight) <= 5 else "parameter"


# -- layers → a chain ----------------------------------------------------------------------------------------


def chain_of(entries: Sequence[NamedLayer]) -> list[NamedLayer]:
    """Order layers as a chain: the convolutions, then the linear layers, each with its batch norms.

    Raises:
        ChainDoubt: a layer is of another kind, it is not certain which layer a batch norm follows, or the
            sizes of two neighbouring layers do not fit.
    """
    for entry in entries:
        _check_entry(entry)
    layers = [each for each in entries if each.kind != "batch_norm"]
    chain = sorted(layers, key=lambda each: each.kind == "linear")
    if not chain:
        raise ChainDoubt("there is no linear or convolution layer")
    for each in chain:
        each.norms.clear()
    for entry in entries:
        if entry.kind == "batch_norm":
            _layer_of_norm(entry, chain).norms.append(entry)
    if len({each.kind for each in chain if each.kind != "linear"}) > 1:
        raise ChainDoubt("convolutions over different numbers of dimensions cannot be part of a plain chain")
    for before, after in pairwise(chain):
        flattens = before.kind != "linear" and after.kind == "linear"
        if after.inputs != before.outputs and not (flattens and after.inputs % before.outputs == 0):
            raise ChainDoubt(
                f"{after.name()!r} takes {after.inputs} inputs, but {before.name()!r} "
                f"has {before.outputs} outputs"
            )
    return chain


def _check_entry(entry: NamedLayer) -> None:
    """Raise ChainDoubt unless a layer is a linear layer, convolution or batch norm with the usual shapes."""
    if entry.kind not in (*CHAIN, "batch_norm"):
        kind = entry.kind.replace("_", " ")
        raise ChainDoubt(f"{entry.name(next(iter(entry.shapes)))!r} ({kind}) cannot be part of a plain chain")
    rows = entry.shapes["weight"][:1]
    for last, shape in entry.shapes.items():
        if last != "weight" and shape != rows:
            raise ChainDoubt(f"{entry.name(last)!r} has shape {shape}, but must have shape {rows}")
    if 0 in entry.shapes["weight"]:
        raise ChainDoubt(f"{entry.name()!r} has no elements")
    if entry.kind in CHAIN and "running_mean" in entry.shapes:
        raise ChainDoubt(f"{entry.name('running_mean')!r} cannot be part of a plain chain")


def _layer_of_norm(norm: NamedLayer, chain: Sequence[NamedLayer]) -> NamedLayer:
    """Return the layer that a batch norm follows. Raise ChainDoubt if this layer is not certain."""
    alike = [each for each in chain if each.words == norm.words and each.numbers < norm.numbers]
    if alike:
        candidates = [max(alike, key=lambda each: each.numbers)]
    else:
        candidates = [each for each in chain if each.numbers == norm.numbers and each.outputs == norm.outputs]
    if len(candidates) != 1:
        raise ChainDoubt(f"it is not certain which layer the batch norm {norm.name()!r} follows")
    if candidates[0].outputs != norm.outputs:
        raise ChainDoubt(
            f"the batch norm {norm.name()!r} has {norm.outputs} channels, but {candidates[0].name()!r} has "
            f"{candidates[0].outputs} outputs"
        )
    return candidates[0]


# -- is the chain certain? -----------------------------------------------------------------------------------


def check_certain(chain: Sequence[NamedLayer]) -> None:
    """Raise ChainDoubt unless a chain is certain by rules 1 and 3 of this module."""
    parts = [[each for each in chain if (each.kind == "linear") == linear] for linear in (False, True)]
    together = all(each.words == chain[0].words for each in chain)
    stages = [list(chain)] if together else [part for part in parts if part]
    for stage in stages:
        ordered = [each.numbers for each in stage] == sorted(each.numbers for each in stage)
        pairs = list(pairwise(stage))
        strangers = [pair for pair in pairs if pair[0].words != pair[1].words]
        if strangers or (pairs and (_counting(stage) is None or not ordered)):
            before, after = (strangers or pairs)[0]
            raise ChainDoubt(
                f"{before.name()!r} and {after.name()!r} are not numbered under one name, so their order is "
                f"not certain"
            )
    open_ends: list[tuple[int, str]] = [(chain[0].inputs, f"the input of {chain[0].name()!r}")]
    width = chain[0].inputs
    for stage in stages:
        closed = _is_sequential(stage)
        for each in stage:
            # The flattened maps of a convolution are wider than the output of the convolution.
            if each.inputs != width and not (closed and each is not stage[0]):
                open_ends.append((each.inputs, f"the input of {each.name()!r}"))
            if not (closed and each is not stage[-1]):
                open_ends.append((each.outputs, f"the output of {each.name()!r}"))
            width = each.outputs
    for one, other in combinations(open_ends, 2):
        whole = one is open_ends[0] and other is open_ends[-1]
        # A skip connection around the whole network does not constrain hidden neurons. But if the network has
        # two layers, they could also run in the opposite order.
        swapped = len(chain) == 2 and chain[0].kind == chain[1].kind and not _is_sequential(stages[0])
        if one[0] == other[0] and not (whole and not swapped):
            raise ChainDoubt(
                f"{one[1]} and {other[1]} have the same width, {one[0]}, so a skip connection may join them"
            )


def _counting(stage: Sequence[NamedLayer]) -> int | None:
    """Return the index of the number that counts the layers of a stage, among the numbers in a stem.

    Returns:
        The index of the only number that differs between the stems, if no two stems have the same value of
        this number; otherwise None.
    """
    rows = [each.numbers for each in stage]
    positions = [n for n, column in enumerate(zip(*rows, strict=True)) if len(set(column)) > 1]
    unique = len(positions) == 1 and len({row[positions[0]] for row in rows}) == len(rows)
    return positions[0] if unique else None


def _is_sequential(stage: Sequence[NamedLayer]) -> bool:
    """Whether a number is missing between every two layers of a stage.

    In an ``nn.Sequential``, the activations have the missing numbers.
    """
    words, position = stage[0].words, _counting(stage)
    if len(stage) < 2 or position is None or position != len(words) - 2 or words[-1] != "":
        return False
    if words[-2] != "" and not words[-2].endswith("."):
        return False
    return all(
        after.numbers[position] - before.numbers[position] - 1
        > sum(norm.words == before.words for norm in before.norms)
        for before, after in pairwise(stage)
    )


def next_to_doubtful(chain: Sequence[NamedLayer]) -> dict[int, str]:
    """Return the positions of the layers whose outputs are fixed by rule 4 of this module, with reasons."""
    fixed: dict[int, str] = {}
    for position in _maybe_transposed(chain):
        reason = (
            f"{chain[position].name()!r} may be a transposed convolution, whose rows and columns are "
            f"exchanged, so the neurons that it reads and writes are taken as fixed"
        )
        fixed |= {position: reason, position - 1: reason}
    first = chain[0]
    if first.kind == "linear" and first.inputs == first.outputs and "bias" not in first.shapes:
        fixed[0] = f"{first.name()!r} may be an embedding table, so the neurons after it are taken as fixed"
    return {n: reason for n, reason in fixed.items() if 0 <= n < len(chain) - 1}


def _maybe_transposed(chain: Sequence[NamedLayer]) -> Iterator[int]:
    """Yield the positions of the convolutions that may be transposed convolutions.

    Such a convolution also fits the chain with its rows and columns exchanged. To make it fit, the rows and
    columns of other convolutions may be exchanged, too.
    """
    convolutions = [each for each in chain if each.kind != "linear"]
    ways = [list(_orientations(each)) for each in convolutions]
    linear = chain[len(convolutions)] if len(convolutions) < len(chain) else None
    ends = {way for way in ways[-1] if linear is None or linear.inputs % way[1] == 0} if ways else set()
    forth: list[set[tuple[int, int, bool]]] = []
    for own in ways:
        forth.append({way for way in own if not forth or any(way[0] == past[1] for past in forth[-1])})
    for position in range(len(ways) - 1, -1, -1):
        here = forth[position] & ends
        if any(turned for _, _, turned in here):
            yield position
        ends = (
            {way for way in forth[position - 1] if any(way[1] == later[0] for later in here)}
            if position
            else set()
        )


def _orientations(entry: NamedLayer) -> Iterator[tuple[int, int, bool]]:
    """Yield each possible triple (number of inputs, number of outputs, whether the two are exchanged).

    The inputs and outputs of a convolution may be exchanged if neither a bias nor a batch norm shows the
    number of outputs, or if both numbers are equal.
    """
    yield entry.inputs, entry.outputs, False
    shown = "bias" in entry.shapes or entry.norms
    if not shown or entry.inputs == entry.outputs:
        yield entry.outputs, entry.inputs, True


def unclear_flattening(chain: Sequence[NamedLayer]) -> tuple[int, str] | None:
    """Return the position of a convolution whose maps are flattened in an unknown order, and a warning.

    Returns:
        The position and the text of the warning; None if no maps are flattened.
    """
    for position, (before, after) in enumerate(pairwise(chain)):
        if before.kind != "linear" and after.kind == "linear" and before.outputs != after.inputs:
            return position, (
                f"a state dict does not show in which order the {after.inputs} inputs of {after.name()!r} "
                f"read the {before.outputs} channels of {before.name()!r}, so these channels "
                f"are taken as fixed; flatten = channels_first declares torch's order"
            )
    return None
