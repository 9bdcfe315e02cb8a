"""Compares a training step of ``sne/default`` with the same step by the equations of SNE."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
import torch.nn.functional as F
from einops import rearrange
from sneframe_sne.scalar_attention import ScalarSAB
from sneframe_sne.set_attention import ISAB, MAB, PMA
from torch import Tensor, nn

import sneframe
from sneframe.architecture import Architecture
from sneframe.batch import Batch, join
from sneframe.freed_memory import keep_freed_memory
from sneframe.model import Encoder

NETWORKS, ROUNDS = 64, 15


def attention(block: nn.Module, x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
    """Return MAB(x, y) by its equation, with torch's attention."""
    query = block.query(x)
    q, k, v = (
        rearrange(t, "s c (h d) -> s h c d", h=block.heads) for t in (query, block.key(y), block.value(y))
    )
    allowed = None if mask is None else rearrange(mask, "s c -> s 1 1 c")
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    hidden = block.norm1(query + rearrange(attended, "s h c d -> s c (h d)"))
    return block.norm2(hidden + F.relu(block.output(hidden)))


@contextmanager
def by_the_equations() -> Iterator[None]:
    """Compute every set function of SNE by its equation inside a ``with`` block."""

    def pooled(self: PMA, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return attention(self, self.seed.expand(len(x), 1, -1), x, mask)[:, 0]

    def induced(self: ISAB, x: Tensor, mask: Tensor | None = None) -> Tensor:
        points = attention(self.gather, self.points.expand(len(x), -1, -1), x, mask)
        return attention(self.scatter, x, points, None)

    def scalars(self: ScalarSAB, x: Tensor, mask: Tensor | None, pool: PMA, added: Tensor) -> Tensor:
        elements = rearrange(x, "s c -> s c 1")
        return pooled(pool, attention(self, elements, elements, mask) + added[:, None], mask)

    with (
        patch.object(ScalarSAB, "pooled", scalars),
        patch.object(PMA, "forward", pooled),
        patch.object(ISAB, "forward", induced),
        patch.object(MAB, "forward", attention),
    ):
        yield


class Sine(nn.Module):
    """The activation of the networks."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * x)


def networks() -> tuple[Architecture, Batch]:
    """Return 64 networks 1 → 32 → 32 → 1 with random weights."""
    layers = [nn.Linear(1, 32), Sine(), nn.Linear(32, 32), Sine(), nn.Linear(32, 1)]
    architecture = Architecture.from_module(nn.Sequential(*layers), torch.zeros(2, 1))
    weights = 0.2 * torch.randn(NETWORKS, architecture.num_weights)
    return architecture, join({architecture: weights}, {architecture: range(NETWORKS)})


def seconds(action: Callable[[], object]) -> float:
    """Return the CPU time of one call."""
    begun = time.process_time()
    action()
    return time.process_time() - begun


def prepared() -> tuple[Encoder, Batch]:
    """Return ``sne/default`` and a batch, for one thread."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    keep_freed_memory()
    architecture, batch = networks()
    encoder = sneframe.encoder("sne/default", [architecture])
    encoder.normalise.fit([batch])
    return encoder, batch


def step_gradients(encoder: Encoder, batch: Batch) -> Tensor:
    """Return the gradients of one step, as one vector."""
    encoder.zero_grad()
    embedding: Tensor = encoder(batch)
    embedding.square().sum().backward()
    return torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None])


def step() -> None:
    """Compare a step of ``sne/default`` with the same step by the equations, one thread, in turn."""
    encoder, batch = prepared()

    def training() -> Tensor:
        return step_gradients(encoder, batch)

    def literal() -> Tensor:
        with by_the_equations():
            return training()

    def inference() -> Tensor:
        with torch.no_grad():
            embedding: Tensor = encoder(batch)
            return embedding

    def literal_inference() -> Tensor:
        with by_the_equations():
            return inference()

    difference = float((inference() - literal_inference()).norm() / inference().norm())
    gradients = float((training() - literal()).norm() / literal().norm())
    print(f"step: 64 networks 1-32-32-1, one thread, CPU time, medians of {ROUNDS}")
    print(f"  embeddings differ by {difference:.1e} of their size, gradients by {gradients:.1e}")
    for name, fast, slow in (
        ("forward and backward", training, literal),
        ("forward only", inference, literal_inference),
    ):
        pairs = [(seconds(fast), seconds(slow)) for _ in range(ROUNDS)]
        ours, theirs = (statistics.median(each) for each in zip(*pairs, strict=True))
        ratio = statistics.median(slow / fast for fast, slow in pairs)
        line = f"{1000 * ours:.0f} ms, by the equations {1000 * theirs:.0f} ms, ratio {ratio:.2f}"
        print(f"  {name}: {line}; products of matrices alone {1000 * products(name):.0f} ms")


def products(name: str) -> float:
    """Return the CPU time of the products of matrices of one step in the fast form, and of nothing else.

    Chunks: 37 of 32 weights for each network. Sets of one parameter: one of 32 chunks, and five of one.
    """
    chunks, size, width, heads, points = 37 * NETWORKS, 32, 64, 4, 16
    rows = 6 * NETWORKS * points
    shapes = [
        (chunks * size, heads + 2, width),  # before the first LayerNorm
        *[(chunks * size, heads + 3, width)] * 2,  # after it, and its projection
        *[(chunks * size, width, heads)] * 2,  # scores of the pooling, and pooled elements
        *[(chunks * size * heads, size, 3)],  # moments of the attention of scalars
        *[(chunks, width, width)] * (2 * 4 + 3),  # of chunks: in two induced blocks, and pooled
        *[(rows, width, width)] * (2 * 3),  # of their points
    ]
    passes = 3 if "backward" in name else 1  # a product has one gradient for each of its factors
    total = 0.0
    for a, b, c in shapes:
        left, right = torch.randn(min(a, 4096), b), torch.randn(b, c)
        torch.mm(left, right)
        best = min(seconds(lambda left=left, right=right: torch.mm(left, right)) for _ in range(5))
        total += passes * best * a / len(left)
    return total
