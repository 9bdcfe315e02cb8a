"""Digits: the axes of tensors, each a sequence of digits of the index along a space.

A view that splits an axis makes digits of it, and as long as nothing tells them apart, the space behind them stays whole.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import partial

from attrs import frozen

from sneframe.architecture.space import (
    Clash,
    Space,
    block,
    find,
    fix,
    multiply,
    nodes,
    segment,
    tree,
    unify,
    unnest,
)


@frozen(eq=False)
class Digit:
    """One digit of the index along a space: of the sizes ``(3, 8, 16)`` the digit 1 counts eight blocks of sixteen.

    Args:
        space: of ``prod(sizes)`` elements.
        sizes: of all digits of its index.
        place: which of them this one is.
    """

    space: Space
    sizes: tuple[int, ...]
    place: int = 0

    @property
    def size(self) -> int:
        """How many values it takes."""
        return self.sizes[self.place]

    @property
    def is_whole(self) -> bool:
        """Whether it is the index itself."""
        return len(self.sizes) == 1

    def is_of(self, other: Digit) -> bool:
        """Whether both are digits of one index."""
        return find(self.space) is find(other.space) and self.sizes == other.sizes

    def is_same(self, other: Digit) -> bool:
        """Whether both count the same elements."""
        return self.is_of(other) and self.place == other.place


#: An axis of a tensor, the last digit varying fastest; no digit where the size is 1.
Dim = tuple[Digit, ...]


def whole(space: Space) -> Dim:
    """Return the axis of a space."""
    return (Digit(space, (space.size,)),) if space.size > 1 else ()


def size_of(dim: Dim) -> int:
    """Return how many elements an axis has."""
    return math.prod(digit.size for digit in dim)


def commit(digit: Digit) -> Space:
    """Return the space of one digit; the space that it is a digit of is refined into blocks."""
    space, sizes = digit.space, digit.sizes
    for _ in range(digit.place):
        _, space = block(space, sizes[0], math.prod(sizes[1:]))
        sizes = sizes[1:]
    return find(block(space, sizes[0], math.prod(sizes[1:]))[0] if len(sizes) > 1 else space)


def space_of(dim: Dim, action: str) -> Space:
    """Return one space for an axis of any digits."""
    dim = merged(dim)
    if not dim:
        return Space(1, action, fixed=True)
    space = commit(dim[-1])
    for digit in reversed(dim[:-1]):
        outer = commit(digit)
        inside = find(space)
        if inside.nested is not None and find(inside.nested) is not outer and not inside.fixed:
            unnest(inside)
        space = multiply(outer, inside, action)
    return space


def merged(dim: Dim) -> Dim:
    """Return an axis in which all the digits of one index, where they follow each other, are the index itself."""
    found: list[Digit] = []
    for digit in dim:
        found.append(digit)
        run = found[-len(digit.sizes) :]
        complete = [part.place for part in run] == list(range(len(digit.sizes)))
        if complete and all(part.is_of(digit) for part in run):
            found[-len(run) :] = whole(digit.space)
    return tuple(found)


def unify_dims(a: Dim, b: Dim) -> None:
    """Make two axes the same."""
    a, b = merged(a), merged(b)
    action = (a or b)[0].space.action if (a or b) else "permute"
    if [digit.size for digit in a] == [digit.size for digit in b]:
        for first, second in zip(a, b, strict=True):
            if not first.is_same(second):
                unify(commit(first), commit(second))
    else:
        unify(space_of(a, action), space_of(b, action))


def fix_dim(dim: Dim) -> None:
    """Make the action trivial along an axis."""
    for digit in dim:
        try:
            fix(digit.space if digit.is_whole else commit(digit))
        except Clash:  # the blocks that it counts do not fit those that are there: fix all elements
            fix(digit.space)


def separate(dims: Sequence[Dim], together: Collection[int]) -> list[Dim]:
    """Return axes some of which an operation treats together, and apart from the others.

    An index with digits among these axes and elsewhere is refined into blocks: an operation that sums over one of its
    digits, say, does not commute with permutations that carry elements from one block to another.

    Args:
        dims: the axes of a tensor.
        together: numbers of the axes that the operation treats as one, such as those that it sums over.
    """
    dims = [merged(dim) for dim in dims]
    inside = [digit for axis, dim in enumerate(dims) for digit in dim if axis in together]
    outside = [digit for axis, dim in enumerate(dims) for digit in dim if axis not in together]

    def is_cut(digit: Digit) -> bool:
        return any(digit.is_of(a) for a in inside) and any(digit.is_of(b) for b in outside)

    return [tuple(_apart(digit) if is_cut(digit) else digit for digit in dim) for dim in dims]


def separate_all(dims: Sequence[Dim]) -> list[Dim]:
    """Return axes each of which an operation treats apart from all others."""
    return [tuple(_apart(digit) for digit in merged(dim)) for dim in dims]


def completed(dims: Sequence[Dim]) -> list[Dim]:
    """Return the axes of a tensor, those refined into blocks of whose index a digit is missing or stands twice."""
    dims = [merged(dim) for dim in dims]
    digits = [digit for dim in dims for digit in dim if not digit.is_whole]

    def is_complete(digit: Digit) -> bool:
        places = sorted(other.place for other in digits if other.is_of(digit))
        return places == list(range(len(digit.sizes)))

    return [
        tuple(digit if digit.is_whole or is_complete(digit) else _apart(digit) for digit in dim)
        for dim in dims
    ]


def settle(dims: Sequence[Dim]) -> None:
    """Let a nested space act alike in all elements of its outer space, unless that stands on one axis of the tensor.

    Where the tensor lacks the outer space, or has it on two axes, nothing says which of its elements an entry is in.
    """
    trees = [tree(digit.space) for dim in dims for digit in dim]
    for dim in dims:
        for digit in dim:
            for part in nodes(digit.space):
                if part.nested is not None and sum(bool(tree(part.nested) & each) for each in trees) != 1:
                    unnest(part)


def _apart(digit: Digit) -> Digit:
    return digit if digit.is_whole else whole(commit(digit))[0]


def split_sizes(dims: Sequence[Dim], sizes: Sequence[int]) -> list[Dim]:
    """Read the axes of a contiguous tensor as axes of other sizes, as ``view`` does.

    Raises:
        Clash: a digit would have to be cut where it has no border.
    """
    queue = [digit for dim in dims for digit in dim]
    taken: list[list[Digit]] = []
    for size in sizes:
        taken.append([])
        left = size
        while left > 1:
            digit = queue.pop(0)
            if digit.size > left:
                if digit.size % left:
                    raise Clash
                renew = partial(_renew, cut=digit, first=left)
                taken = [[renew(other) for other in dim] for dim in taken]
                rest = Digit(digit.space, _cut(digit, left), digit.place + 1)
                queue = [rest, *(renew(other) for other in queue)]
                digit = Digit(digit.space, _cut(digit, left), digit.place)
            elif left % digit.size:
                raise Clash
            taken[-1].append(digit)
            left //= digit.size
    return [merged(tuple(dim)) for dim in taken]


def _cut(digit: Digit, first: int) -> tuple[int, ...]:
    before, after = digit.sizes[: digit.place], digit.sizes[digit.place + 1 :]
    return (*before, first, digit.size // first, *after)


def _renew(other: Digit, *, cut: Digit, first: int) -> Digit:
    """Return another digit of an index of which one digit was cut in two; the same digit on another axis stays."""
    if not other.is_of(cut) or other.place == cut.place:
        return other
    return Digit(other.space, _cut(cut, first), other.place + (other.place > cut.place))


def take(dims: Sequence[Dim], axis: int, start: int, length: int) -> list[Dim]:
    """Return the axes of a tensor of which a stretch along one axis was taken.

    Raises:
        Clash: the stretch ends where the axis has no border.
    """
    size = size_of(dims[axis])
    if length == size:
        return list(dims)
    if not length:
        raise Clash
    first, *inner = merged(dims[axis])
    within = math.prod(digit.size for digit in inner)
    if start % within or length % within:
        raise Clash
    at, count, after = start // within, length // within, first.size - (start + length) // within
    own = [n for n in (at, count, after) if n]
    if first.is_whole or first.place:  # what lies within another digit is cut alike in each of its elements
        kept = whole(segment(commit(first), own)[at > 0])
        return [*dims[:axis], (*kept, *inner), *dims[axis + 1 :]]
    rest = math.prod(first.sizes[1:])
    stretch = segment(first.space, [n * rest for n in own])[at > 0]
    sizes = (count, *first.sizes[1:]) if count > 1 else first.sizes[1:]
    shift = int(count == 1)

    def renew(digit: Digit) -> Dim:
        if not digit.is_of(first):
            return (digit,)
        if digit.place < shift:
            return ()
        return (Digit(stretch, sizes, digit.place - shift),)

    return [tuple(new for digit in dim for new in renew(digit)) for dim in dims]
