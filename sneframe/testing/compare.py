"""Measure how much two outputs of a part differ, and find the rows of an output for each network."""

from __future__ import annotations

import math
from typing import Any

import attrs
import torch
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.batch import Batch, Networks
from sneframe.parts.carriers import ChunkTokens


def difference(a: Any, b: Any) -> float:
    """Return the largest difference between two outputs, relative to the size of ``a``.

    The result is inf if the outputs differ in the number of tensors or in a shape.
    """
    pairs = list(zip(tensors_of(a), tensors_of(b), strict=False))
    if len(tensors_of(a)) != len(tensors_of(b)) or any(x.shape != y.shape for x, y in pairs):
        return math.inf
    worst = 0.0
    for x, y in pairs:
        if x.numel():
            change = (x.double() - y.double()).abs().max()
            worst = max(worst, float(change / x.double().abs().max().clamp_min(1e-12)))
            worst = math.inf if math.isnan(worst) else worst
    return worst


def tensors_of(value: Any) -> list[Tensor]:
    """Return the floating-point tensors in a value: a tensor, a batch, a carrier, or a tuple of these."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, ChunkTokens):  # the numbers in padding are ignored
        return [torch.where(value.mask, value.chunks, torch.zeros_like(value.chunks))]
    if attrs.has(type(value)) and not isinstance(value, Architecture):
        value = [getattr(value, attribute.name) for attribute in attrs.fields(type(value))]
    return (
        [tensor for each in value for tensor in tensors_of(each)] if isinstance(value, tuple | list) else []
    )


def rows_of(value: Any, batch: Batch) -> list[list[Tensor]]:
    """Return a list for each network of a batch, in its order: the rows of the network in ``value``."""
    if isinstance(value, Tensor):
        return [[row] for row in value]
    carriers = value.networks if isinstance(value, Batch) else value
    rows: list[list[Tensor]] = []
    for carrier in carriers:
        size = len(carrier.weights) if isinstance(carrier, Networks) else len(tensors_of(carrier)[0])
        tensors = [carrier.weights] if isinstance(carrier, Networks) else tensors_of(carrier)
        rows += [[tensor[i] for tensor in tensors if len(tensor) == size] for i in range(size)]
    return [rows[position] for position in batch.order]
