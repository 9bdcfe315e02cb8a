"""Evaluate torch's ``MultiheadAttention``."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from sneframe.architecture.evaluate.linear import product
from sneframe.architecture.evaluate.step import Step, aligned, refuse
from sneframe.architecture.layer import Layer

#: The roles that the parameters of an attention may have. ``weight`` and ``bias`` are those of ``out_proj``.
ROLES = (
    *("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias"),
    *("bias_k", "bias_v", "weight", "bias"),
)


def multihead_attention(step: Step) -> Tensor:
    """Return the outputs of all heads side by side, multiplied with ``out_proj`` if the layer owns it.

    The layer reads query, key and value, ``(n, K, tokens, columns)`` if ``batch_first`` and else ``(n,
    tokens, K, columns)``, and perhaps a mask ``(n, tokens, tokens)``: true, or a number that is added, where
    a token is hidden.
    """
    values = [value if step["batch_first"] else value.transpose(1, 2) for value in step.inputs[:3]]
    if any(value.ndim != 4 for value in values):
        shapes = [tuple(value.shape[1:]) for value in step.inputs[:3]]
        raise refuse(f"it reads three tensors of three axes, but got the shapes {shapes}")
    query, key, value = _projected(step, values)
    query, key, value = (_heads(each, step["num_heads"]) for each in (query, key, value))
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    mask = _mask(step, scores)
    if mask is not None:
        scores = scores + mask
    result = (torch.softmax(scores, -1) @ value).transpose(-3, -2).flatten(-2)
    if "weight" in step.parameters:
        result = product(result, step.weight, step.bias)
    return result if step["batch_first"] else result.transpose(1, 2)


def _projected(step: Step, values: list[Tensor]) -> list[Tensor]:
    """Return query, key and value after their linear layers, with the learned last token if there is one."""
    found = step.parameters
    if "in_proj_weight" in found:
        weights = list(found["in_proj_weight"].chunk(3, 1))
    else:
        weights = [found[f"{name}_proj_weight"] for name in "qkv"]
    for name, given, weight in zip(("query", "key", "value"), values, weights, strict=True):
        if given.shape[-1] != weight.shape[2]:
            raise refuse(f"its {name} has {weight.shape[2]} columns, but got {given.shape[-1]}")
    biases = list(found["in_proj_bias"].chunk(3, 1)) if "in_proj_bias" in found else [None] * 3
    projected = [product(*each) for each in zip(values, weights, biases, strict=True)]
    for place, role in ((1, "bias_k"), (2, "bias_v")):
        if role in found:
            token = (
                found[role].reshape(len(found[role]), 1, 1, -1).expand(-1, projected[place].shape[1], -1, -1)
            )
            projected[place] = torch.cat([projected[place], token], 2)
    return projected


def _heads(value: Tensor, heads: int) -> Tensor:
    """Split the columns ``(B, K, tokens, columns)`` into ``(B, K, heads, tokens, columns of a head)``."""
    return value.unflatten(-1, (heads, -1)).transpose(-3, -2)


def _mask(step: Step, scores: Tensor) -> Tensor | None:
    """Return what is added to scores ``(B, K, heads, tokens, tokens)``, or None."""
    tokens, others = scores.shape[-2:]
    if len(step.inputs) > 3:
        mask = step.inputs[3]
        if mask.ndim != 3:
            raise refuse(f"its mask must have two axes, but has the shape {tuple(mask.shape[1:])}")
        mask = F.pad(mask, (0, others - mask.shape[-1]))
    elif step.get("is_causal", False):
        mask = torch.ones(1, tokens, others, dtype=torch.bool, device=scores.device).triu(1)
    else:
        return None
    if not mask.is_floating_point():
        mask = torch.zeros(mask.shape, dtype=scores.dtype, device=scores.device).masked_fill(
            mask.bool(), -math.inf
        )
    return aligned((scores, mask))[1]


def attention_lacks(layer: Layer) -> Iterator[str]:
    """Yield which parameters of an attention are missing."""
    roles = {*(p.role for p in layer.parameters), *layer.attributes.get("uses", {})}
    if unknown := sorted(roles - set(ROLES)):
        yield f"it has a parameter of the role {unknown[0]!r}, which an attention is not evaluated with"
    together, apart = {"in_proj_weight"}, {f"{name}_proj_weight" for name in "qkv"}
    if roles & (together | apart) not in (together, apart):
        yield "it must have either in_proj_weight, or q_proj_weight, k_proj_weight and v_proj_weight"
    if bool({"bias_k", "bias_v"} & roles) and not {"bias_k", "bias_v"} <= roles:
        yield "it must have both bias_k and bias_v, or none of them"
    if bool(layer.attributes.get("mask", False)) != (len(layer.inputs) == 4):
        yield "it must read a fourth value, the mask, if and only if its attribute 'mask' is true"
