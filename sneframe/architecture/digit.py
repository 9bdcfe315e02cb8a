"""Represent each axis of a tensor by digits of an index. The index counts the elements of a space.

A view splits an axis without moving any element. A space of 12 elements that is viewed as ``(3, 4)`` gives
two axes: the index ``i`` of the space is ``4 · first + second``, and each axis counts one of these two
digits. The space itself stays one leaf, because a later view may merge the digits again. The space is cut
into blocks only when an operation treats its digits differently, for example when the operation sums over one
of the digits (see :func:`separate`).
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
    """One digit of the index along a space.

    With ``sizes = (3, 8, 16)``, the digit at position 1 has 8 values, and counts blocks of 16 elements.

    Args:
        space: a space of ``prod(sizes)`` elements.
        sizes: the sizes of all digits of the index, the slowest digit first.
        position: the position of this digit in ``sizes``.
    """

    space: Space
    sizes: tuple[int, ...]
    position: int = 0

    @property
    def size(self) -> int:
        """Number of values of the digit."""
        return self.sizes[self.position]

    @property
    def is_whole(self) -> bool:
        """Whether the digit is the whole index."""
        return len(self.sizes) == 1

    def is_of(self, other: Digit) -> bool:
        """Whether this digit and ``other`` are digits of the same index, cut into the same sizes."""
        return find(self.space) is find(other.space) and self.sizes == other.sizes

    def is_same(self, other: Digit) -> bool:
        """Whether this digit and ``other`` are the same digit of the same index."""
        return self.is_of(other) and self.position == other.position


#: An axis of a tensor: its digits. The last digit varies fastest. An axis of size 1 has no digit.
Dim = tuple[Digit, ...]


def whole(space: Space) -> Dim:
    """Return the axis that counts all elements of a space."""
    return (Digit(space, (space.size,)),) if space.size > 1 else ()


def size_of(dim: Dim) -> int:
    """Return the number of elements along an axis."""
    return math.prod(digit.size for digit in dim)


def commit(digit: Digit) -> Space:
    """Cut the space of a digit into blocks, and return the space that this digit alone counts."""
    space, sizes = digit.space, digit.sizes
    for _ in range(digit.position):
        _, space = block(space, sizes[0], math.prod(sizes[1:]))
        sizes = sizes[1:]
    return find(block(space, sizes[0], math.prod(sizes[1:]))[0] if len(sizes) > 1 else space)


def space_of(dim: Dim, action: str) -> Space:
    """Return one space for a whole axis: the product of the spaces of the digits of the axis."""
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
    """Merge all digits of an index into one digit where they follow each other on an axis, in order.

    Example: if a view has split an axis of 12 elements into digits of 3 and 4 values, and a later view puts
    both digits on one axis again, one digit of 12 values replaces them.
    """
    result: list[Digit] = []
    for digit in dim:
        result.append(digit)
        run = result[-len(digit.sizes) :]
        complete = [part.position for part in run] == list(range(len(digit.sizes)))
        if complete and all(part.is_of(digit) for part in run):
            result[-len(run) :] = whole(digit.space)
    return tuple(result)


def unify_dims(a: Dim, b: Dim) -> None:
    """Unify the spaces of two axes of the same size, so that one action moves both axes."""
    a, b = merged(a), merged(b)
    action = (a or b)[0].space.action if (a or b) else "permute"
    if [digit.size for digit in a] == [digit.size for digit in b]:
        for first, second in zip(a, b, strict=True):
            if not first.is_same(second):
                unify(commit(first), commit(second))
    else:
        unify(space_of(a, action), space_of(b, action))


def fix_dim(dim: Dim) -> None:
    """Fix all elements along an axis."""
    for digit in dim:
        try:
            fix(digit.space if digit.is_whole else commit(digit))
        except Clash:  # the space cannot be cut at this digit, so fix the whole space
            fix(digit.space)


def separate(dims: Sequence[Dim], together: Collection[int]) -> list[Dim]:
    """Cut each space that has digits both on the axes in ``together`` and on the other axes of a tensor.

    An operation treats axes together if, for example, it sums over them. An operation that sums over the
    second digit of a space does not commute with permutations that carry elements from one block to another,
    so the space is cut into blocks.

    Args:
        dims: the axes of a tensor.
        together: the numbers of the axes that the operation treats together.

    Returns:
        The same axes, in terms of the cut spaces.
    """
    dims = [merged(dim) for dim in dims]
    inside = [digit for axis, dim in enumerate(dims) for digit in dim if axis in together]
    outside = [digit for axis, dim in enumerate(dims) for digit in dim if axis not in together]

    def is_cut(digit: Digit) -> bool:
        return any(digit.is_of(a) for a in inside) and any(digit.is_of(b) for b in outside)

    return [tuple(_apart(digit) if is_cut(digit) else digit for digit in dim) for dim in dims]


def separate_all(dims: Sequence[Dim]) -> list[Dim]:
    """Cut each space that has several digits, so that each digit becomes the whole index of its own space."""
    return [tuple(_apart(digit) for digit in merged(dim)) for dim in dims]


def completed(dims: Sequence[Dim]) -> list[Dim]:
    """Cut each space into its digits, unless all of its digits are on the axes of a tensor, each once.

    Returns:
        The same axes, in terms of the cut spaces.
    """
    dims = [merged(dim) for dim in dims]
    digits = [digit for dim in dims for digit in dim if not digit.is_whole]

    def is_complete(digit: Digit) -> bool:
        positions = sorted(other.position for other in digits if other.is_of(digit))
        return positions == list(range(len(digit.sizes)))

    return [
        tuple(digit if digit.is_whole or is_complete(digit) else _apart(digit) for digit in dim)
        for dim in dims
    ]


def settle(dims: Sequence[Dim]) -> None:
    """Unnest each nested space whose outer space is not on exactly one axis of a tensor.

    If the tensor lacks the outer space, or has it on two axes, it is unclear in which outer element an entry
    lies. The nested space must then act in the same way in every element of the outer space.
    """
    trees = [tree(digit.space) for dim in dims for digit in dim]
    for dim in dims:
        for digit in dim:
            for part in nodes(digit.space):
                if part.nested is not None and sum(bool(tree(part.nested) & each) for each in trees) != 1:
                    unnest(part)


def _apart(digit: Digit) -> Digit:
    """Cut the space of a digit, so that the digit becomes the whole index of a space of its own."""
    return digit if digit.is_whole else whole(commit(digit))[0]


def split_sizes(dims: Sequence[Dim], sizes: Sequence[int]) -> list[Dim]:
    """Split and merge the axes of a contiguous tensor into axes of the given sizes, as ``view`` does.

    Raises:
        Clash: a digit cannot be cut to fit a new axis, because neither size divides the other.
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
                rest = Digit(digit.space, _cut(digit, left), digit.position + 1)
                queue = [rest, *(renew(other) for other in queue)]
                digit = Digit(digit.space, _cut(digit, left), digit.position)
            elif left % digit.size:
                raise Clash
            taken[-1].append(digit)
            left //= digit.size
    return [merged(tuple(dim)) for dim in taken]


def _cut(digit: Digit, first: int) -> tuple[int, ...]:
    """Return the sizes of all digits of an index after cutting one digit in two.

    The slower part of ``digit`` gets ``first`` values.
    """
    before, after = digit.sizes[: digit.position], digit.sizes[digit.position + 1 :]
    return (*before, first, digit.size // first, *after)


def _renew(other: Digit, *, cut: Digit, first: int) -> Digit:
    """Return ``other`` with the sizes and position that it has after the digit ``cut`` was cut in two.

    A digit of another index, and a copy of ``cut``, are returned unchanged.
    """
    if not other.is_of(cut) or other.position == cut.position:
        return other
    return Digit(other.space, _cut(cut, first), other.position + (other.position > cut.position))


def take(dims: Sequence[Dim], axis: int, start: int, length: int) -> list[Dim]:
    """Return the axes of a tensor after taking the slice ``start : start + length`` along one axis.

    Raises:
        Clash: the slice is empty, or does not begin and end where the slowest digit changes.
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
    before, count, after = start // within, length // within, first.size - (start + length) // within
    sizes_cut = [n for n in (before, count, after) if n]
    if first.is_whole or first.position:
        # A digit that is not the slowest digit of its index is cut in the same way for each value of the
        # slower digits.
        kept = whole(segment(commit(first), sizes_cut)[before > 0])
        return [*dims[:axis], (*kept, *inner), *dims[axis + 1 :]]
    rest = math.prod(first.sizes[1:])
    part = segment(first.space, [n * rest for n in sizes_cut])[before > 0]
    sizes = (count, *first.sizes[1:]) if count > 1 else first.sizes[1:]
    shift = int(count == 1)

    def renew(digit: Digit) -> Dim:
        if not digit.is_of(first):
            return (digit,)
        if digit.position < shift:
            return ()
        return (Digit(part, sizes, digit.position - shift),)

    return [tuple(new for digit in dim for new in renew(digit)) for dim in dims]
