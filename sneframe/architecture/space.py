"""Spaces: what can be permuted, scaled or flipped along an axis, as constraints are met one by one.

A :class:`Space` stands for the elements along an axis. At first it is one *leaf*, free as a whole. What is learned
of a network only ever refines it: into *segments* that follow each other, into *blocks* (an outer times an inner
space), into the same space as another (:func:`unify`), or into *fixed* elements. Each refinement leaves a subgroup of
the group before it, so a constraint that cannot be expressed exactly may always be met by fixing more.

Axes of tensors are sequences of :class:`Digit`: a view that splits an axis makes digits of it, and as long as nothing
tells them apart, the space behind them stays whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate, pairwise

from attrs import define, field, frozen


class Clash(Exception):  # noqa: N818  # not an error: whoever meets it fixes what it was about
    """Two constraints that no refinement expresses."""


@define(eq=False)
class Space:
    """The elements along an axis, under one action.

    Args:
        size: how many.
        action: ``permute``, ``scale`` or ``sign``.
        fixed: whether the action is trivial on it; of a refined space its leaves say so.
        nested: the outer space in each element of which this one acts on its own (neurons within a head), if any.
        free: whether nothing is known of it, so that it takes over whatever it is unified with (a broadcast axis).
        power: for scale and sign of a parameter's axis how its weights answer, −1 where it is summed over.
    """

    size: int
    action: str = "permute"
    fixed: bool = False
    nested: Space | None = field(default=None, repr=False)
    free: bool = False
    power: int | None = None
    segments: list[Space] = field(factory=list, repr=False)
    blocks: tuple[Space, Space] | None = field(default=None, repr=False)
    same: Space | None = field(default=None, repr=False)

    @property
    def is_leaf(self) -> bool:
        """Whether it is not refined."""
        return not self.segments and self.blocks is None


def find(space: Space) -> Space:
    """Return the representative of the spaces that this one was unified with."""
    while space.same is not None:
        if space.same.same is not None:
            space.same = space.same.same
        space = space.same
    return space


def leaves(space: Space) -> Iterator[Space]:
    """Yield the leaves of a space, in order."""
    space = find(space)
    if space.is_leaf:
        yield space
    for child in space.segments or space.blocks or ():
        yield from leaves(child)


def tree(space: Space) -> set[int]:
    """Return the identities of a space and of all that it was refined into."""
    space = find(space)
    found = {id(space)}
    for child in space.segments or space.blocks or ():
        found |= tree(child)
    return found


def is_fixed(space: Space) -> bool:
    """Whether the action is trivial on all of it."""
    return all(leaf.fixed for leaf in leaves(space))


def fix(space: Space) -> None:
    """Make the action trivial on all of it."""
    for leaf in list(leaves(space)):
        leaf.fixed = True


def unnest(space: Space) -> None:
    """Let it act alike in every element of the space that it was nested in."""
    space = find(space)
    before, space.nested = space.nested, None
    for child in space.segments or (space.blocks or ())[:1]:
        if find(child).nested is not None and before is not None:
            unnest(child)


# -- refinement -----------------------------------------------------------------------------------------------


def segment(space: Space, sizes: Sequence[int]) -> list[Space]:
    """Cut a space into consecutive segments of these sizes, and return them."""
    space = find(space)
    if len(sizes) == 1:
        return [space]
    if is_fixed(space):
        return [Space(size, space.action, fixed=True) for size in sizes]
    if space.is_leaf:
        space.segments = [_child(space, size) for size in sizes]
        return list(space.segments)
    if space.blocks is not None:
        outer, inner = space.blocks
        if any(size % inner.size for size in sizes):
            raise Clash
        return [
            _blocks(part, inner, space.action)
            for part in segment(outer, [size // inner.size for size in sizes])
        ]
    return _regroup(space, sizes)


def _regroup(space: Space, sizes: Sequence[int]) -> list[Space]:
    """Cut along the segments that are there, and cut those up that lie across a border."""
    borders = list(accumulate(sizes))
    pieces: list[Space] = []
    start = 0
    for child in space.segments:
        stop = start + child.size
        cuts = [start, *(border for border in borders if start < border < stop), stop]
        pieces += segment(child, [high - low for low, high in pairwise(cuts)])
        start = stop
    space.segments = pieces
    parts, queue = [], list(pieces)
    for size in sizes:
        taken = [queue.pop(0)]
        while sum(piece.size for piece in taken) < size:
            taken.append(queue.pop(0))
        parts.append(taken[0] if len(taken) == 1 else Space(size, space.action, segments=taken))
    return parts


def block(space: Space, outer: int, inner: int) -> tuple[Space, Space]:  # noqa: PLR0911  # one line per form
    """Cut a space into ``outer`` blocks of ``inner`` elements, and return the space of blocks and that within one."""
    space = find(space)
    unit = Space(1, space.action, fixed=True)
    if outer == 1:
        return unit, space
    if inner == 1:
        return space, unit
    if is_fixed(space):
        return Space(outer, space.action, fixed=True), Space(inner, space.action, fixed=True)
    if space.is_leaf:
        if space.action != "permute":
            # A factor per block times a factor per place would be less than what the space had, and is of no use.
            space.fixed = True
            return block(space, outer, inner)
        blocks = _child(space, outer)
        space.blocks = (blocks, Space(inner, space.action, nested=blocks))
        return space.blocks
    if space.blocks is not None:
        return _reblock(space, space.blocks, outer, inner)
    if all(child.size % inner == 0 for child in space.segments):
        pairs = [block(child, child.size // inner, inner) for child in space.segments]
        together = Space(outer, space.action, segments=[blocks for blocks, _ in pairs])
        own = all(find(within).nested is not None for _, within in pairs)
        within = pairs[0][1]
        for _, other in pairs[1:]:
            unify(within, other)
        find(within).nested = together if own else None
        space.segments, space.blocks = [], (together, within)
        return space.blocks
    raise Clash


def _reblock(space: Space, blocks: tuple[Space, Space], outer: int, inner: int) -> tuple[Space, Space]:
    first, second = find(blocks[0]), find(blocks[1])
    if first.size == outer:
        return first, second
    if outer % first.size == 0:
        middle, rest = block(second, outer // first.size, inner)
        return _blocks(first, middle, space.action), rest
    if first.size % outer == 0:
        start, middle = block(first, outer, first.size // outer)
        return start, _blocks(middle, second, space.action)
    raise Clash


def unify(a: Space, b: Space) -> None:
    """Make two spaces of one size the same: one action on both."""
    a, b = find(a), find(b)
    if a is b:
        return
    assert a.size == b.size, f"spaces of {a.size} and {b.size} elements cannot be the same"
    if is_fixed(a) or is_fixed(b):
        fix(a)
        fix(b)
        a.same = b
        return
    if b.is_leaf and not a.is_leaf:
        a, b = b, a
    if not a.is_leaf:
        _join(a, b)
        a, b = find(a), find(b)
        if a is b:
            return
    if not (a.free or b.free) and not _nested_alike(a, b):
        unnest(a)
        unnest(b)
    elif a.free and not b.free:
        a.nested = b.nested
    elif b.free and not a.free:
        b.nested = a.nested
    b.free = a.free and b.free
    a.same = b


def _join(a: Space, b: Space) -> None:
    """Unify what two refined spaces were refined into."""
    if a.blocks is not None and b.blocks is not None:
        outer, inner = block(a, find(b.blocks[0]).size, find(b.blocks[1]).size)
        unify(outer, b.blocks[0])
        unify(inner, b.blocks[1])
        return
    if a.blocks is not None:
        a, b = b, a
    parts = [find(part) for part in (b.segments if b.segments else a.segments)]
    other = a if b.segments else b
    for piece, part in zip(segment(other, [part.size for part in parts]), parts, strict=True):
        unify(piece, part)


def _nested_alike(a: Space, b: Space) -> bool:
    if a.nested is None or b.nested is None:
        return a.nested is b.nested
    return find(a.nested) is find(b.nested)


def _child(space: Space, size: int) -> Space:
    return Space(
        size, space.action, fixed=space.fixed, nested=space.nested, free=space.free, power=space.power
    )


def _blocks(outer: Space, inner: Space, action: str) -> Space:
    if outer.size == 1:
        return inner
    if inner.size == 1:
        return outer
    return Space(outer.size * inner.size, action, blocks=(outer, inner), nested=find(outer).nested)


# -- axes of tensors --------------------------------------------------------------------------------------------


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
        space = _blocks(outer, inside, action)
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
