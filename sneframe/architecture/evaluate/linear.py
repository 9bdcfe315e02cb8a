"""Evaluate layers that multiply the last axis with weights, or look rows up: linear layers and embeddings."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from sneframe.architecture.evaluate.step import Step, refuse, rows
from sneframe.architecture.layer import Layer


def linear(step: Step) -> Tensor:
    """Return ``x Wᵀ + b`` for ``x (n, K, …, in)`` and weights ``(B, out, in)``."""
    value, weight = step.value, step.weight
    if value.shape[-1] != weight.shape[2] or value.ndim < 2:
        raise refuse(
            f"it reads {weight.shape[2]} columns, but got {value.shape[-1]} (shape {tuple(value.shape[1:])})"
        )
    return product(value, weight, step.bias)


def product(value: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``x Wᵀ + b (B, …, out)`` for ``x (n, …, in)``, weights ``(B, out, in)``, biases ``(B, out)``."""
    flat, sizes = rows(value)
    networks = max(len(flat), len(weight))
    flat, weight = flat.expand(networks, -1, -1), weight.expand(networks, -1, -1)
    result = torch.bmm(flat, weight.mT) if bias is None else torch.baddbmm(bias[:, None], flat, weight.mT)
    return result.unflatten(1, sizes)


def embedding(step: Step) -> Tensor:
    """Return rows of the table ``(B, words, columns)``.

    Integers ``(n, …)`` choose rows. Floating-point values ``(n, …, words)`` mix rows. A value that is 1 for
    one word and 0 for all others chooses a row too.
    """
    value, table = step.value, step.weight
    words = table.shape[1]
    if value.is_floating_point():
        if value.shape[-1] != words:
            raise refuse(
                f"it mixes {words} words, but got {value.shape[-1]} (shape {tuple(value.shape[1:])})"
            )
        return product(value, table.mT, None)
    starts = torch.arange(len(table), device=value.device) * words
    return F.embedding(value + starts.reshape(-1, *[1] * (value.ndim - 1)), table.flatten(0, 1))


def matrix_lacks(layer: Layer) -> Iterator[str]:
    """Yield which parameter of a layer with a weight matrix has a shape that does not fit, or None.

    Parameters that other layers own, or that are rearranged first, are checked when they are used.
    """
    uses = layer.attributes.get("uses", {})
    shapes = {p.role: p.shape for p in layer.parameters if p.role not in uses}
    weight, bias = shapes.get("weight"), shapes.get("bias")
    if weight is not None and len(weight) != 2:
        yield f"its weight must be a matrix, but has the shape {weight}"
    if weight is not None and bias is not None and bias != weight[:1]:
        yield f"its bias must have the shape {weight[:1]}, but has {bias}"
