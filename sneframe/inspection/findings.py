"""Find what is wrong with the weights of a network, or unusual. Each finding is one line with its numbers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import median

from attrs import frozen

from sneframe.errors import counted
from sneframe.inspection.measure import Measured

#: Kinds of layers that normalise, whose weights scale what they have normalised.
NORMS = ("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "norm")
KIN = 5  #: fewest parameters of one kind and role that can be compared
FACTOR = 5.0  #: a parameter is far from its kin if its scale differs by more than this factor …
SPREADS = 6.0  #: … and by more than so many robust standard deviations of the logarithms
ROBUST = 1.4826  #: median absolute deviations in a standard deviation of a normal distribution


@frozen(kw_only=True)
class NetworkFinding:
    """Something that is wrong with a parameter, or unusual.

    Args:
        kind: what it is, one of the headings of the page on inspection.
        parameters: names of the parameters.
        text: one line that says what, with numbers.
        serious: whether the network can hardly work.
    """

    kind: str
    parameters: tuple[str, ...]
    text: str
    serious: bool = False


def findings(parameters: Sequence[Measured]) -> tuple[NetworkFinding, ...]:
    """Return what is wrong with the parameters of a network, serious findings first."""
    found = [
        *_not_finite(parameters),
        *_dead(parameters),
        *_scales_of_norms(parameters),
        *_untrained(parameters),
        *_copies(parameters),
        *_far_from_kin(parameters),
        *_shared(parameters),
    ]
    return tuple(sorted(found, key=lambda each: not each.serious))


def _not_finite(parameters: Sequence[Measured]) -> Iterator[NetworkFinding]:
    for each in parameters:
        if each.lacking:
            text = f"{counted(each.lacking, 'value')} of {each.size:,} NaN or infinite"
            yield NetworkFinding(kind="not finite", parameters=(each.name,), text=text, serious=True)


def _dead(parameters: Sequence[Measured]) -> Iterator[NetworkFinding]:
    """Yield parameters with rows of zeros, or of one constant."""
    for each in parameters:
        if each.rows is None or each.initialiser == "zeros":
            continue
        for count, what in ((each.rows.zero, "zero"), (each.rows.constant, "one constant")):
            if count:
                text = f"{counted(count, 'row')} of {each.shape[0]} {'are' if count > 1 else 'is'} {what}"
                yield NetworkFinding(kind="dead rows", parameters=(each.name,), text=text)


def _scales_of_norms(parameters: Sequence[Measured]) -> Iterator[NetworkFinding]:
    for each in parameters:
        if each.kind in NORMS and each.role == "weight" and each.zero:
            count = round(each.zero * each.size)
            text = f"{count} of {each.size} scales are 0, so these channels carry nothing but their bias"
            yield NetworkFinding(kind="scale of a norm at zero", parameters=(each.name,), text=text)


def _untrained(parameters: Sequence[Measured]) -> Iterator[NetworkFinding]:
    """Yield matrices that cannot be told from an initialiser, those of one initialiser together.

    Vectors are left out: many trained networks have biases of 0, or a norm's scales of 1.
    """
    matrices = [each for each in parameters if each.rows is not None and each.size > 1]
    by_name: dict[str, list[str]] = defaultdict(list)
    for each in matrices:
        if each.initialiser is not None:
            by_name[each.initialiser].append(each.name)
    total = len(matrices)
    for initialiser, names in by_name.items():
        which = "the only matrix" if total == 1 else f"{len(names)} of {total} matrices"
        text = f"{which} cannot be told from {initialiser}: untrained?"
        yield NetworkFinding(
            kind="looks untrained", parameters=tuple(names), text=text, serious=len(names) == total
        )


def _copies(parameters: Sequence[Measured]) -> Iterator[NetworkFinding]:
    for each in parameters:
        if each.rows is not None and each.rows.copies:
            text = f"{counted(each.rows.copies, 'row')} of {each.shape[0]} repeat another row"
            yield NetworkFinding(kind="copied rows", parameters=(each.name,), text=text)


def _far_from_kin(parameters: Sequence[Measured]) -> Iterator[NetworkFinding]:
    """Yield parameters whose scale is far from that of the others of the same kind, role and rank.

    The scale of a matrix is rms · √in, which initialisers keep equal over layers of all widths.
    """
    kin: dict[tuple[str, str, int], list[tuple[Measured, float]]] = defaultdict(list)
    for each in parameters:
        if each.rms:
            inputs = math.prod(each.shape[1:])
            kin[each.kind, each.role, len(each.shape)].append((each, math.log(each.rms * math.sqrt(inputs))))
    for (kind, role, _), members in kin.items():
        if len(members) < KIN:
            continue
        middle = median(value for _, value in members)
        spread = ROBUST * median(abs(value - middle) for _, value in members)
        for each, value in members:
            if abs(value - middle) > max(math.log(FACTOR), SPREADS * spread):
                factor = math.exp(value - middle)
                text = (
                    f"scale {_times(factor)} the median of {len(members)} parameters "
                    f"({kind or 'any layer'}, {role})"
                )
                yield NetworkFinding(kind="far from its kin", parameters=(each.name,), text=text)


def _times(factor: float) -> str:
    return f"{factor:.3g} times" if factor >= 1 else f"1/{1 / factor:.3g} of"


def _shared(parameters: Sequence[Measured]) -> Iterator[NetworkFinding]:
    """Yield parameters that have the same values. Constants are not compared, since many layers have them."""
    same: dict[str, list[str]] = defaultdict(list)
    for each in parameters:
        if each.initialiser not in ("zeros", "ones") and each.size > 1:
            same[each.digest].append(each.name)
    for names in same.values():
        if len(names) > 1:
            text = f"{len(names)} parameters hold the same values"
            yield NetworkFinding(kind="shared values", parameters=tuple(names), text=text)
