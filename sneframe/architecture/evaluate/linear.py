"""Evaluate layers that multiply the last axis with weights, or look rows up: linear layers and embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from sneframe.architecture.evaluate.step import Step, refuse, rows


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
