"""Spaces: what can be permuted, scaled or flipped along an axis, as constraints are met one by one.

A :class:`Space` stands for the elements along an axis. At first it is one *leaf*, free as a whole. What is learned
of a network only ever refines it: into *segments* that follow each other, into *blocks* (an outer times an inner
space), into the same space as another (:func:`unify`), or into *fixed* elements. Each refinement leaves a subgroup of
the group before it, so a constraint that cannot be expressed exactly may always be met by fixing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

from attrs import define, field


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
        shared: whether another space was unified with it.
        power: for scale and sign of a parameter's axis how its weights answer, −1 where it is summed over.
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


def nodes(space: Space) -> Iterator[Space]:
    """Yield a space and all that it was refined into."""
    space = find(space)
    yield space
    for child in [*space.segments, *(space.blocks or ())]:
        yield from nodes(child)


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
            multiply(part, inner, space.action)
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
        return multiply(first, middle, space.action), rest
    if first.size % outer == 0:
        start, middle = block(first, outer, first.size // outer)
        return start, multiply(middle, second, space.action)
    raise Clash


def unify(a: Space, b: Space) -> None:
    """Make two spaces of one size the same: one action on both."""
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
    b.shared = True
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


def multiply(outer: Space, inner: Space, action: str) -> Space:
    """Return the space of ``outer`` blocks, each of ``inner`` elements."""
    if outer.size == 1:
        return inner
    if inner.size == 1:
        return outer
    return Space(outer.size * inner.size, action, blocks=(outer, inner), nested=find(outer).nested)
