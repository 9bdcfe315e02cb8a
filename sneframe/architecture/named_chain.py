"""Read a chain of layers off the names and shapes of a state dict, and say whether it is certain.

A chain is made of linear and convolution layers, with batch norms between them. It is certain if

1. the convolutions are numbered under one name, and so are the linear layers, which come after them: ``0``,
   ``2``, ``4``; ``net.0``, ``net.1``; ``conv1``, ``conv2``, ``fc1``, ``fc2``. A stage of one layer needs no
   number. A batch norm stands behind a layer under the same name (``net.1``), or has that layer's number and
   width (``bn1``);
2. each layer takes as many inputs as the one before it has outputs (behind a convolution: a multiple of
   them);
3. no connection around a layer fits the shapes. It would have to join two values of one width, so the input
   and all outputs of layers must differ in width. A stage whose numbers leave gaps, one at least between any
   two layers, is an ``nn.Sequential``: the missing numbers are its activations, and nothing leads out of its
   midst. So only its input and its output count;
4. each convolution is one. A transposed convolution has rows and columns exchanged, so a convolution with as
   many inputs as outputs, or one that also fits the other way round, leaves the neurons beside it fixed. So
   does a first linear layer that may be a table: square, without a bias.

What no name or shape shows is taken to be absent: groups in the first convolution, and functions between
layers that treat neurons differently, such as a cumulative sum.
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
#: The order of the parameters of one layer; others follow by name.
ROLES = ("weight", "bias", "running_mean", "running_var")


class Doubt(Exception):  # noqa: N818  # no error: it becomes a warning
    """Why names and shapes do not say that layers follow each other; half a sentence."""


@define(eq=False)
class Entry:
    """The parameters under one name.

    Args:
        stem: the name, without the last word.
        kind: of the layer.
        shapes: by the last word of each parameter's name.
        norms: of a linear or convolution layer, the batch norms behind it.
    """

    stem: str
    kind: str
    shapes: dict[str, tuple[int, ...]]
    norms: list[Entry] = field(factory=list)

    def name(self, last: str = "weight") -> str:
        """Return the whole name of a parameter."""
        return f"{self.stem}.{last}" if self.stem else last

    @property
    def outputs(self) -> int:
        """How many outputs the layer has."""
        return self.shapes["weight"][0]

    @property
    def inputs(self) -> int:
        """How many inputs the layer takes."""
        return self.shapes["weight"][1]

    @property
    def words(self) -> list[str]:
        """What stands between the numbers of the name: ``["net.", ""]`` of ``net.0``."""
        return DIGITS.split(self.stem)

    @property
    def numbers(self) -> list[int]:
        """The numbers in the name: ``[0]`` of ``net.0``."""
        return [int(digits) for digits in DIGITS.findall(self.stem)]


# -- names and shapes → layers -------------------------------------------------------------------------------


def entries_of(state: Mapping[str, Tensor]) -> list[Entry]:
    """Return the layers in the order of their names, numbers counted, whatever the order of the keys."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    for name in sorted((name for name, value in state.items() if value.is_floating_point()), key=_place):
        stem, _, last = name.rpartition(".")
        shapes.setdefault(stem, {})[last] = tuple(state[name].shape)
    found: list[Entry] = []
    for stem, own in shapes.items():
        kind = _kind(stem, own)
        alone = [{last: shape} for last, shape in own.items()] if kind == "parameter" else [own]
        found += [Entry(stem, kind, part) for part in alone]
    return found


def _place(name: str) -> tuple[list[tuple[str, int]], str, int, str]:
    """Return what names are sorted by: ``fc2`` before ``fc10``, the weight of a layer before its bias."""
    stem, _, last = name.rpartition(".")
    words, numbers = DIGITS.split(stem), [int(digits) for digits in DIGITS.findall(stem)]
    pieces = list(zip(words, [*numbers, -1], strict=True))
    return pieces, stem, ROLES.index(last) if last in ROLES else len(ROLES), last


def _kind(stem: str, shapes: Mapping[str, tuple[int, ...]]) -> str:  # noqa: PLR0911  # one line per kind
    """Return what kind of layer has parameters of these names and shapes."""
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
        return "layer_norm" if "bias" in shapes else "rms_norm"
    if len(weight) == 2:
        return "embedding" if "bias" not in shapes and EMBEDDING.search(stem) else "linear"
    return f"conv{len(weight) - 2}d" if 2 < len(weight) <= 5 else "parameter"


# -- layers → a chain ----------------------------------------------------------------------------------------


def chain_of(entries: Sequence[Entry]) -> list[Entry]:
    """Return the convolutions, and behind them the linear layers, each with its batch norms; what does not fit is doubt."""
    for entry in entries:
        _check_entry(entry)
    layers = [each for each in entries if each.kind != "batch_norm"]
    chain = sorted(layers, key=lambda each: each.kind == "linear")
    if not chain:
        raise Doubt("there is no linear or convolution layer")
    for each in chain:
        each.norms.clear()
    for entry in entries:
        if entry.kind == "batch_norm":
            _layer_before(entry, chain).norms.append(entry)
    if len({each.kind for each in chain if each.kind != "linear"}) > 1:
        raise Doubt("convolutions over different numbers of dimensions stand in no plain chain")
    for before, after in pairwise(chain):
        flattens = before.kind != "linear" and after.kind == "linear"
        if after.inputs != before.outputs and not (flattens and after.inputs % before.outputs == 0):
            raise Doubt(
                f"{after.name()!r} takes {after.inputs} inputs, {before.name()!r} has {before.outputs} outputs"
            )
    return chain


def _check_entry(entry: Entry) -> None:
    """Refuse what is neither a linear layer, a convolution nor a batch norm."""
    if entry.kind not in (*CHAIN, "batch_norm"):
        kind = entry.kind.replace("_", " ")
        raise Doubt(f"{entry.name(next(iter(entry.shapes)))!r} ({kind}) stands in no plain chain")
    rows = entry.shapes["weight"][:1]
    for last, shape in entry.shapes.items():
        if last != "weight" and shape != rows:
            raise Doubt(f"{entry.name(last)!r} has shape {shape}, expected {rows}")
    if 0 in entry.shapes["weight"]:
        raise Doubt(f"{entry.name()!r} is empty")
    if entry.kind in CHAIN and "running_mean" in entry.shapes:
        raise Doubt(f"{entry.name('running_mean')!r} stands in no plain chain")


def _layer_before(norm: Entry, chain: Sequence[Entry]) -> Entry:
    """Return the layer behind which a batch norm stands."""
    alike = [each for each in chain if each.words == norm.words and each.numbers < norm.numbers]
    if alike:
        found = [max(alike, key=lambda each: each.numbers)]
    else:
        found = [each for each in chain if each.numbers == norm.numbers and each.outputs == norm.outputs]
    if len(found) != 1:
        raise Doubt(f"behind which layer the batch norm {norm.name()!r} stands, its name does not say")
    if found[0].outputs != norm.outputs:
        raise Doubt(f"{norm.name()!r} does not fit the outputs of {found[0].name()!r}")
    return found[0]


# -- is the chain certain? -----------------------------------------------------------------------------------


def check_certain(chain: Sequence[Entry]) -> None:
    """Refuse a chain that might be something else of the same names and shapes: rules 1 and 3."""
    parts = [[each for each in chain if (each.kind == "linear") == linear] for linear in (False, True)]
    together = all(each.words == chain[0].words for each in chain)
    stages = [list(chain)] if together else [part for part in parts if part]
    for stage in stages:
        ordered = [each.numbers for each in stage] == sorted(each.numbers for each in stage)
        pairs = list(pairwise(stage))
        strangers = [pair for pair in pairs if pair[0].words != pair[1].words]
        if strangers or (pairs and (_running(stage) is None or not ordered)):
            before, after = (strangers or pairs)[0]
            raise Doubt(
                f"{before.name()!r} and {after.name()!r} are not numbered under one name, so that their order is "
                f"not certain"
            )
    open_ends: list[tuple[int, str]] = [(chain[0].inputs, f"the input of {chain[0].name()!r}")]
    width = chain[0].inputs
    for stage in stages:
        closed = _is_sequential(stage)
        for each in stage:
            # Maps of a convolution may be flattened to another width.
            if each.inputs != width and not (closed and each is not stage[0]):
                open_ends.append((each.inputs, f"the input of {each.name()!r}"))
            if not (closed and each is not stage[-1]):
                open_ends.append((each.outputs, f"the output of {each.name()!r}"))
            width = each.outputs
    for one, other in combinations(open_ends, 2):
        whole = one is open_ends[0] and other is open_ends[-1]
        # A connection around the whole network moves no hidden neuron; two layers could still be in the other
        # order.
        swapped = len(chain) == 2 and chain[0].kind == chain[1].kind and not _is_sequential(stages[0])
        if one[0] == other[0] and not (whole and not swapped):
            raise Doubt(
                f"{one[1]} and {other[1]} have the same width, {one[0]}, so that there may be a connection around what "
                f"lies between"
            )


def _running(stage: Sequence[Entry]) -> int | None:
    """Return the place of the one number in which the names of a stage differ; None if there is no such place."""
    rows = [each.numbers for each in stage]
    places = [place for place, column in enumerate(zip(*rows, strict=True)) if len(set(column)) > 1]
    return places[0] if len(places) == 1 and len({row[places[0]] for row in rows}) == len(rows) else None


def _is_sequential(stage: Sequence[Entry]) -> bool:
    """Whether numbers are missing between any two layers: the activations of an ``nn.Sequential`` have them."""
    words, place = stage[0].words, _running(stage)
    if len(stage) < 2 or place is None or place != len(words) - 2 or words[-1] != "":
        return False
    if words[-2] != "" and not words[-2].endswith("."):
        return False
    return all(
        after.numbers[place] - before.numbers[place] - 1
        > sum(norm.words == before.words for norm in before.norms)
        for before, after in pairwise(stage)
    )


def beside_doubtful(chain: Sequence[Entry]) -> dict[int, str]:
    """Return, for each layer whose neurons are beside one that may be of another kind, why they are fixed: rule 4."""
    found: dict[int, str] = {}
    for place in _turnable(chain):
        reason = (
            f"{chain[place].name()!r} may be a transposed convolution, whose rows and columns are exchanged, so the "
            f"neurons beside it are taken as fixed"
        )
        found |= {place: reason, place - 1: reason}
    first = chain[0]
    if first.kind == "linear" and first.inputs == first.outputs and "bias" not in first.shapes:
        found[0] = f"{first.name()!r} may be a table (embedding), so the neurons behind it are taken as fixed"
    return {place: reason for place, reason in found.items() if 0 <= place < len(chain) - 1}


def _turnable(chain: Sequence[Entry]) -> Iterator[int]:
    """Yield the places of convolutions that fit the chain with rows and columns exchanged, others exchanged or not."""
    convolutions = [each for each in chain if each.kind != "linear"]
    ways = [list(_ways(each)) for each in convolutions]
    linear = chain[len(convolutions)] if len(convolutions) < len(chain) else None
    ends = {way for way in ways[-1] if linear is None or linear.inputs % way[1] == 0} if ways else set()
    forth: list[set[tuple[int, int, bool]]] = []
    for own in ways:
        forth.append({way for way in own if not forth or any(way[0] == past[1] for past in forth[-1])})
    for place in range(len(ways) - 1, -1, -1):
        here = forth[place] & ends
        if any(turned for _, _, turned in here):
            yield place
        ends = (
            {way for way in forth[place - 1] if any(way[1] == later[0] for later in here)} if place else set()
        )


def _ways(entry: Entry) -> Iterator[tuple[int, int, bool]]:
    """Yield inputs and outputs of a convolution as it is, and turned, if nothing of its own says how many outputs it has."""
    yield entry.inputs, entry.outputs, False
    told = "bias" in entry.shapes or entry.norms
    if not told or entry.inputs == entry.outputs:
        yield entry.outputs, entry.inputs, True


def unclear_flattening(chain: Sequence[Entry]) -> tuple[int, str] | None:
    """Return the last convolution whose maps are flattened in an order that is not known, and what is said of it."""
    for place, (before, after) in enumerate(pairwise(chain)):
        if before.kind != "linear" and after.kind == "linear" and before.outputs != after.inputs:
            return place, (
                f"{after.name()!r} reads {after.inputs} inputs from {before.outputs} channels: whether channels or "
                f"positions vary fastest cannot be read off a state dict, so the neurons of {before.name()!r} are taken as "
                f"fixed; flatten = channels_first says that it is torch's order"
            )
    return None
