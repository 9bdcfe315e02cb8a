"""Record which elements along an axis can still be permuted, scaled or flipped while a network is traced.

A :class:`Space` stands for the elements along one axis, under one action. At first a space is a single
*leaf*, whose elements may be moved freely. Each constraint that the trace meets refines the space: the space
is cut into consecutive *segments*, is cut into *blocks* (an outer space times an inner space), is unified
with another space (:func:`unify`), or is *fixed*. Each refinement allows only a subgroup of the moves that
were allowed before. So a constraint that cannot be expressed exactly can always be met by fixing more.

Example: the rows of the weight of ``nn.Linear(4, 6)`` are a space of 6 elements. If the outputs are split
into two halves of 3, the space becomes two segments of 3: no permutation may carry a neuron from one half to
the other. If the halves are then added, the two segments are unified, and one permutation of 3 neurons acts
on both segments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from attrs import define, field


class Clash(Exception):  # noqa: N818  # not an error: the caller fixes the spaces instead
    """Raised if no refinement of a space satisfies two constraints at once."""


@define(eq=False)
class Space:
    """The elements along an axis, under one action.

    Args:
        size: number of elements.
        action: ``permute``, ``scale`` or ``sign``.
        fixed: whether the action must leave the elements unchanged. In a refined space, only the values of
            ``fixed`` in the leaves count.
        nested: the outer space, if this space acts separately within each element of an outer space, as the
            neurons of an attention head do; otherwise None.
        free: whether no constraint on the space is known, as along a broadcast axis. A free space takes over
            the nesting of the space that it is unified with.
        shared: whether another space was unified with this space.
        power: for scale and sign, the power of the factor that multiplies the weights along the axis of a
            parameter: 1 for an axis of outputs, −1 for an axis that is summed over, None as long as the power
            is unknown.
        segments: the consecutive spaces that this space was cut into.
        blocks: the outer and the inner space that this space was cut into.
        same: the space that this space was unified with.
    """

    size: int
    action: str = "permute"
    fixed: bool = False
    nested: Space | None = field(default=None, repr=False)
    free: bool = False
    shared: bool = False
    power: int | None = None
    segments: list[Space] = field(factory=list, repr=False)
    blocks: tuple[Space, Space] | None = field(default=None, repr=False)
    same: Space | None = field(default=None, repr=False)

    @property
    def is_leaf(self) -> bool:
        """Whether the space has not been refined."""
        return not self.segments and self.blocks is None


def find(space: Space) -> Space:
    """Return the space that represents ``space`` and all spaces that ``space`` was unified with."""
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
    """Return the ids of a space and of all spaces that this space was refined into."""
    space = find(space)
    ids = {id(space)}
    for child in space.segments or space.blocks or ():
        ids |= tree(child)
    return ids


def nodes(space: Space) -> Iterator[Space]:
    """Yield a space and all spaces that this space was refined into."""
    space = find(space)
    yield space
    for child in [*space.segments, *(space.blocks or ())]:
        yield from nodes(child)


def is_fixed(space: Space) -> bool:
    """Whether all elements of a space are fixed."""
    return all(leaf.fixed for leaf in leaves(space))


def fix(space: Space) -> None:
    """Fix all elements of a space."""
    for leaf in list(leaves(space)):
        leaf.fixed = True


def unnest(space: Space) -> None:
    """Make a nested space act in the same way in every element of its outer space."""
    space = find(space)
    before, space.nested = space.nested, None
    for child in space.segments or (space.blocks or ())[:1]:
        if find(child).nested is not None and before is not None:
            unnest(child)


# -- refinement ----------------------------------------------------------------------------------------------


def segment(space: Space, sizes: Sequence[int]) -> list[Space]:
    """Cut a space into consecutive segments of the given sizes, and return the segments.

    Raises:
        Clash: a new border lies inside a block.
    """
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
            multiply(part, inner, space.action)
            for part in segment(outer, [size // inner.size for size in sizes])
        ]
    return _regroup(space, sizes)


def _regroup(space: Space, sizes: Sequence[int]) -> list[Space]:
    """Cut a space that already has segments. An old segment that crosses a new border is cut in two."""
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
    """Cut a space into ``outer`` blocks of ``inner`` elements.

    Returns:
        The space of the blocks, and the space of the elements within a block.

    Raises:
        Clash: the blocks do not fit the present segments or blocks of the space.
    """
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
            # The blocks would allow one factor per block times one factor per position in a block. No layer
            # needs such factors, so the space is fixed instead.
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
    """Cut a space that already has blocks into ``outer`` blocks of ``inner`` elements.

    Raises:
        Clash: neither the old number of blocks divides the new number, nor the other way round.
    """
    first, second = find(blocks[0]), find(blocks[1])
    if first.size == outer:
        return first, second
    if outer % first.size == 0:
        middle, rest = block(second, outer // first.size, inner)
        return multiply(first, middle, space.action), rest
    if first.size % outer == 0:
        start, middle = block(first, outer, first.size // outer)
        return start, multiply(middle, second, space.action)
    raise Clash


def unify(a: Space, b: Space) -> None:
    """Unify two spaces of the same size, so that one action moves the elements of both.

    Raises:
        Clash: the sizes differ, or the segments and blocks of the spaces do not fit each other.
    """
    a, b = find(a), find(b)
    if a is b:
        return
    if a.size != b.size:
        raise Clash
    if is_fixed(a) or is_fixed(b):
        fix(a)
        fix(b)
        a.same = b
        return
    if b.is_leaf and not a.is_leaf:
        a, b = b, a
    if not a.is_leaf:
        _unify_parts(a, b)
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
    b.shared = True
    a.same = b


def _unify_parts(a: Space, b: Space) -> None:
    """Unify two spaces part by part. At least one of the spaces is refined."""
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
    """Whether both spaces are nested in the same space, or neither space is nested."""
    if a.nested is None or b.nested is None:
        return a.nested is b.nested
    return find(a.nested) is find(b.nested)


def _child(space: Space, size: int) -> Space:
    """Return a new leaf of ``size`` elements with the properties of the space that the leaf is cut from."""
    return Space(
        size, space.action, fixed=space.fixed, nested=space.nested, free=space.free, power=space.power
    )


def multiply(outer: Space, inner: Space, action: str) -> Space:
    """Return the product of two spaces: one copy of ``inner`` for each element of ``outer``."""
    if outer.size == 1:
        return inner
    if inner.size == 1:
        return outer
    return Space(outer.size * inner.size, action, blocks=(outer, inner), nested=find(outer).nested)
