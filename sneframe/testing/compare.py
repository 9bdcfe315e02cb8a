"""Compare what parts give: how far apart, which rows are whose, what a group element makes of it."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import torch
from attrs import evolve
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.batch import Batch, Networks
from sneframe.part import ChunkTokens, WeightFeatures
from sneframe.symmetry import Element, apply


def difference(a: Any, b: Any) -> float:
    """Return the largest difference between the tensors of two values, over their size; infinite where shapes differ."""
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
    """Return the floating-point tensors of a value: a tensor, a batch, a carrier, or a tuple of these."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    if isinstance(value, ChunkTokens):  # what stands in the place of padding is nobody's
        return [torch.where(value.mask, value.chunks, torch.zeros_like(value.chunks))]
    if attrs.has(type(value)) and not isinstance(value, Architecture):
        value = [getattr(value, attribute.name) for attribute in attrs.fields(type(value))]
    return (
        [tensor for each in value for tensor in tensors_of(each)] if isinstance(value, tuple | list) else []
    )


def rows_of(value: Any, batch: Batch) -> list[list[Tensor]]:
    """Return what belongs to each network of a batch, in the order of the batch."""
    if isinstance(value, Tensor):
        return [[row] for row in value]
    carriers = value.networks if isinstance(value, Batch) else value
    rows: list[list[Tensor]] = []
    for carrier in carriers:
        size = len(carrier.weights) if isinstance(carrier, Networks) else len(tensors_of(carrier)[0])
        tensors = [carrier.weights] if isinstance(carrier, Networks) else tensors_of(carrier)
        rows += [[tensor[i] for tensor in tensors if len(tensor) == size] for i in range(size)]
    return [rows[position] for position in batch.order]


def act_on_features(features: WeightFeatures, element: Element) -> WeightFeatures:
    """Let an element act on every channel as on the weights.

    All entries of a kernel move together, so a channel is written on each of them, moved, and read off the first.
    """
    architecture = features.architecture
    pieces = [t for pair in zip(features.weights, features.biases, strict=True) for t in pair]
    entries = [p.size // t[0, 0].numel() for p, t in zip(architecture.parameters, pieces, strict=True)]
    found: list[list[Tensor]] = [[] for _ in pieces]
    for channel in range(max(piece.shape[1] for piece in pieces)):
        # A tensor with fewer channels goes along with its last.
        slices = [piece[:, min(channel, piece.shape[1] - 1)] for piece in pieces]
        flat = [s.flatten(1).repeat_interleave(k, dim=1) for s, k in zip(slices, entries, strict=True)]
        networks = Networks(architecture=architecture, weights=torch.cat(flat, dim=1))
        size = len(networks)
        batch = Batch(networks=[networks], order=np.arange(size), ids=np.arange(size))
        moved = apply(batch, (element,)).networks[0].parameters().values()
        for piece, given, values, k in zip(found, slices, moved, entries, strict=True):
            piece.append(values.flatten(1)[:, ::k].view_as(given))
    stacked = [
        torch.stack(channels[: piece.shape[1]], dim=1) for channels, piece in zip(found, pieces, strict=True)
    ]
    return evolve(features, weights=tuple(stacked[::2]), biases=tuple(stacked[1::2]))
