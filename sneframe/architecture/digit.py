"""Digits: the axes of tensors, each a sequence of digits of the index along a space.

A view that splits an axis makes digits of it, and as long as nothing tells them apart, the space behind them stays whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from attrs import frozen

from sneframe.architecture.space import Clash, Space, block, find, fix, multiply, segment, unify, unnest


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
        fix(digit.space if digit.is_whole else commit(digit))


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
    """Return another digit of an index of which one digit was cut in two."""
    if not other.is_of(cut):
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
    first, *inner = merged(dims[axis])
    within = math.prod(digit.size for digit in inner)
    if start % within or length % within:
        raise Clash
    at, count, after = start // within, length // within, first.size - (start + length) // within
    if first.place:  # what lies within another digit is cut alike in each of its elements
        space = commit(first)
        kept = segment(space, [n for n in (at, count, after) if n])[at > 0]
        return [_replace(dim, first, whole(kept)) for dim in dims]
    rest = math.prod(first.sizes[1:])
    kept = segment(first.space, [n * rest for n in (at, count, after) if n])[at > 0]
    sizes = (count, *first.sizes[1:]) if count > 1 else first.sizes[1:]
    shift = int(count == 1)

    def renew(digit: Digit) -> Dim:
        if not digit.is_of(first):
            return (digit,)
        if digit.place < shift:
            return ()
        return (Digit(kept, sizes, digit.place - shift),)

    return [tuple(new for digit in dim for new in renew(digit)) for dim in dims]


def _replace(dim: Dim, old: Digit, new: Dim) -> Dim:
    return tuple(d for digit in dim for d in (new if digit.is_same(old) else (digit,)))
