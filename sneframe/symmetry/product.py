"""Compute products and inverses of group elements.

Example: an element g swaps neurons 0 and 1, and an element h swaps neurons 1 and 2. Then ``compose(g, h)`` is
the single element that has the effect of h followed by g, and ``inverse(g)`` is g itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from attrs import evolve
from einops import rearrange
from torch import Tensor

from sneframe.symmetry.act import Element


def compose(second: Sequence[Element], first: Sequence[Element]) -> tuple[Element, ...]:
    """Return the elements that have the same effect as ``first`` followed by ``second``."""
    return tuple(_compose(g, h) for g, h in zip(second, first, strict=True))


def inverse(elements: Sequence[Element]) -> tuple[Element, ...]:
    """Return the elements that undo ``elements``."""
    return tuple(_inverse(element) for element in elements)


def _compose(second: Element, first: Element) -> Element:
    """Return g·h, where (g·(h·x))[i] = d_g[i] (h·x)[π_g(i)] = d_g[i] d_h[π_g(i)] x[π_h(π_g(i))]."""
    permutations = {}
    for group in first.architecture.groups:
        g, h = second.permutations.get(group.name), first.permutations.get(group.name)
        moved = second.permutations.get(group.parent) if group.parent else None
        if h is not None and moved is not None:
            h = h.gather(1, rearrange(moved, "b m -> b m 1").expand_as(h))
        order = h.gather(-1, g) if g is not None and h is not None else g if g is not None else h
        if order is not None:
            permutations[group.name] = order
    return Element(
        architecture=first.architecture,
        permutations=permutations,
        scales=_product(second, second.scales, first.scales),
        signs=_product(second, second.signs, first.signs),
        matrices={
            **second.matrices,
            **{n: second.matrices[n] @ h if n in second.matrices else h for n, h in first.matrices.items()},
        },
    )


def _product(second: Element, g: Mapping[str, Tensor], h: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return by group name the scales or the signs of g·h: d_g[i] d_h[π_g(i)].

    Args:
        second: the element g, which is applied last.
        g: the scales or the signs of g, by name of the group.
        h: the scales or the signs of h, by name of the group.
    """
    product = dict(g)
    for name, values in h.items():
        order = second.permutations.get(name)
        moved = values if order is None else values.gather(1, order)
        product[name] = product[name] * moved if name in product else moved
    return product


def _inverse(element: Element) -> Element:
    """Return the inverse of an element, for every network."""
    permutations: dict[str, Tensor] = {}
    for group in element.architecture.groups:
        order = element.permutations.get(group.name)
        if order is None:
            continue
        back = order.argsort(dim=-1)
        outer = permutations.get(group.parent) if group.parent else None
        if outer is not None:
            back = back.gather(1, rearrange(outer, "b m -> b m 1").expand_as(back))
        permutations[group.name] = back

    def undone(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        moved = {n: v.gather(1, permutations[n]) if n in permutations else v for n, v in values.items()}
        return {name: 1 / value for name, value in moved.items()}

    return evolve(
        element,
        permutations=permutations,
        scales=undone(element.scales),
        signs=undone(element.signs),
        matrices={name: torch.linalg.inv(value) for name, value in element.matrices.items()},
    )
