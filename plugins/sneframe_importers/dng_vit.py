"""Import the vision transformers of DNG.

``vit_models/model_{i}_{epoch}.pth`` holds the state dict of model i at an epoch.
``stat/results_{a}_{b}.json`` holds the accuracies of models in per cent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from attrs import frozen
from einops import rearrange
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.config.schema import option
from sneframe.errors import ArchitectureError, FileError, ZooError
from sneframe.files import inside, read_state_dict
from sneframe.symmetry.describe import describe
from sneframe.zoo.importer import ImportContext, Imported, Skipped, ZooImporter
from sneframe_importers.each import each_file, files_in, one

NAME = re.compile(r"model_(\d+)_(\d+)\.pth")


@frozen(kw_only=True)
class DNGViT:
    """Options of ``zoo import dng-vit``."""

    heads: int = option(4, "number of heads of each attention, which the weights do not show")
    epochs: tuple[int, ...] = option((), "epochs of the checkpoints to import; default: all")


def read(config: DNGViT, source: Path, reading: ImportContext) -> Iterator[Imported | Skipped]:
    """Yield the transformers of a folder, ordered by model number, then by epoch.

    Raises:
        ZooError: the folder has no checkpoint or no results, or the results are damaged.
    """
    results = _results(source)
    names = sorted(files_in(source, "model_*_*.pth"), key=_numbers)
    if config.epochs:
        names = [name for name in names if _numbers(name)[1] in config.epochs]
    yield from each_file(names, str, partial(_opened, config, source, results), reading)


@contextmanager
def _opened(
    config: DNGViT, source: Path, results: Mapping[tuple[int, int], Mapping[str, float]]
) -> Iterator[Callable[[str], Imported]]:
    """Give the function that reads the checkpoint of a name."""
    known: dict[tuple[Any, ...], Architecture] = {}

    def make(name: str) -> Imported:
        number, epoch = _numbers(name)
        state = read_state_dict(inside(source, name)).tensors
        tensors = {key: value for key, value in state.items() if value.is_floating_point()}
        key = tuple((each, value.shape) for each, value in tensors.items())
        if key not in known:
            known[key] = _architecture(tensors, config.heads)
        if (number, epoch) not in results:
            raise FileError(f"stat/results_*.json has no results for model {number} at epoch {epoch}")
        properties = {**results[number, epoch], "epoch": epoch}
        return one(name, known[key], tensors, properties, group=number)

    yield make


IMPORTER = ZooImporter(
    name="importers/dng-vit",
    config=DNGViT,
    read=read,
    engines=True,
    help="Vision transformers of DNG: a folder with vit_models/ and stat/.",
)


def _numbers(name: str) -> tuple[int, int]:
    match = NAME.fullmatch(Path(name).name)
    return (int(match[1]), int(match[2])) if match else (-1, -1)


def _results(source: Path) -> dict[tuple[int, int], dict[str, float]]:
    """Return the accuracies in [0, 1] of each network, by its model number and epoch."""
    results: dict[tuple[int, int], dict[str, float]] = {}
    for name in files_in(source, "results_*_*.json"):
        try:
            for row in json.loads((source / name).read_text(encoding="utf-8")):
                accuracies = {
                    key: float(row[key]) / 100 for key in ("test_accuracy", "train_accuracy") if key in row
                }
                results[int(row["model_id"]), int(row["epoch"])] = accuracies
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise ZooError(f"{source / name}: not a list of results ({type(error).__name__})") from error
    return results


def _architecture(tensors: Mapping[str, Tensor], heads: int) -> Architecture:
    """Return the architecture of a transformer.

    The symmetry of a SimpleViT is derived from its module. For any other transformer, only the names and
    shapes of the tensors are used.

    Raises:
        ArchitectureError: the queries of a SimpleViT cannot be divided into this number of heads.
    """
    try:
        module = SimpleViT(tensors, heads)
    except (KeyError, ValueError, IndexError):
        return Architecture.from_state_dict(tensors)
    own = module.state_dict()
    if own.keys() != tensors.keys() or any(own[name].shape != value.shape for name, value in tensors.items()):
        return Architecture.from_state_dict(tensors)
    tokens = torch.ones(1, 4, tensors["to_patch_embedding.1.weight"].shape[0])
    return describe(module, tokens)


class SimpleViT(nn.Module):
    """The SimpleViT of vit-pytorch (Beyer et al., arXiv 2205.01580). Its input is the patches of an image.

    Constant positions are added to the residual stream. Unlike parameters, they cannot be permuted with the
    stream, so the stream has no neuron group.

    Args:
        tensors: a state dict, which gives the sizes.
        heads: number of heads of each attention.

    Raises:
        KeyError, ValueError, IndexError: the state dict is not that of a SimpleViT.
        ArchitectureError: the queries cannot be divided into this number of heads.
    """

    def __init__(self, tensors: Mapping[str, Tensor], heads: int) -> None:
        super().__init__()
        dim, patch = tensors["to_patch_embedding.2.weight"].shape
        if dim % 4:
            raise ValueError(f"positions of SimpleViT need a width that is a multiple of 4, but got {dim}")
        self.to_patch_embedding = nn.Sequential(
            nn.Identity(), nn.LayerNorm(patch), nn.Linear(patch, dim), nn.LayerNorm(dim)
        )
        self.transformer = nn.Module()
        self.transformer.norm = nn.LayerNorm(dim)
        layers: list[nn.Module] = []
        while (stem := f"transformer.layers.{len(layers)}") + ".0.to_qkv.weight" in tensors:
            inner = tensors[f"{stem}.0.to_qkv.weight"].shape[0] // 3
            hidden = tensors[f"{stem}.1.net.1.weight"].shape[0]
            layers.append(nn.ModuleList([Attention(dim, inner, heads), FeedForward(dim, hidden)]))
        self.transformer.layers = nn.ModuleList(layers)
        self.linear_head = nn.Linear(dim, tensors["linear_head.weight"].shape[0])

    def forward(self, patches: Tensor) -> Tensor:
        """Return logits ``(B, classes)`` for the patches ``(B, tokens, values)`` of a square grid."""
        x = self.to_patch_embedding(patches)
        x = x + positions(x.shape[-2], x.shape[-1])
        layers: Any = self.transformer.layers
        for attention, feed_forward in layers:
            x = x + attention(x)
            x = x + feed_forward(x)
        norm: Any = self.transformer.norm
        logits: Tensor = self.linear_head(norm(x).mean(1))
        return logits


def positions(tokens: int, dim: int) -> Tensor:
    """Return the sines and cosines that SimpleViT adds to the patches of a square grid, ``(tokens, dim)``."""
    side = math.isqrt(tokens)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    frequencies = 10_000.0 ** -torch.linspace(0, 1, dim // 4)
    angles = [axis.flatten()[:, None] * frequencies for axis in (x, y)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)


class Attention(nn.Module):
    """Attention without biases. One matrix computes the queries, keys and values.

    Args:
        dim: width of the residual stream.
        inner: width of the queries, of the keys and of the values, over all heads.
        heads: number of heads.

    Raises:
        ArchitectureError: ``inner`` is not a multiple of ``heads``.
    """

    def __init__(self, dim: int, inner: int, heads: int) -> None:
        super().__init__()
        if inner % heads:
            raise ArchitectureError(
                f"{inner} rows of queries are not a multiple of {heads} heads (option '--heads')"
            )
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return what this layer adds to the residual stream ``x``, shape ``(B, tokens, dim)``."""
        q, k, v = (
            rearrange(each, "b t (h d) -> b h t d", h=self.heads)
            for each in self.to_qkv(self.norm(x)).chunk(3, -1)
        )
        seen = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v
        out: Tensor = self.to_out(rearrange(seen, "b h t d -> b t (h d)"))
        return out


class FeedForward(nn.Module):
    """A layer norm, a linear layer, a GELU and a second linear layer."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return what this layer adds to the residual stream ``x``, shape ``(B, tokens, dim)``."""
        out: Tensor = self.net(x)
        return out
