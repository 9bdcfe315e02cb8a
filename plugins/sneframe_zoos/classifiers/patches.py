"""Compute convolutions of many networks as products of matrices.

The patch of an output pixel is the vector of all values under the kernel at that pixel. A convolution
multiplies the matrix of all patches by the matrix of its kernels. For the small maps of zoo networks this
takes less time than the convolutions of PyTorch, because the patches are gathered by tables of indices that
are computed once, and the gradient of the gathering is a sum over a second table.
"""

from __future__ import annotations

import torch
from attrs import frozen
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F


@frozen(kw_only=True)
class Window:
    """Where a convolution looks.

    Args:
        kernel: height and width of the kernel, k.
        stride: stride of the convolution.
        padding: number of rows and columns of zeros that are added on each side of the maps.
    """

    kernel: int
    stride: int
    padding: int

    def outputs(self, side: int) -> int:
        """Return the height or width of the outputs, for maps of the height or width ``side``."""
        return (side + 2 * self.padding - self.kernel) // self.stride + 1

    def pixels(self, height: int, width: int) -> Tensor:
        """Return the indices of the pixels under the kernel, for each output pixel, in the padded maps.

        Returns:
            shape ``(H', W', k, k)`` for maps of ``height`` × ``width`` pixels. A padded map has
            (height + 2 · padding) × (width + 2 · padding) pixels, which are numbered row by row.
        """
        rows, columns = (
            self.stride * torch.arange(self.outputs(side))[:, None] + torch.arange(self.kernel)
            for side in (height, width)
        )
        across = width + 2 * self.padding
        return rearrange(rows, "y i -> y 1 i 1") * across + rearrange(columns, "x j -> 1 x 1 j")


class ImagePatches:
    """Gathers patches of images, which need no gradient.

    Args:
        window: where the convolution looks.
        image: shape of an image, ``(C, H, W)``.
    """

    #: how the kernels ``(G, O, C, k, k)`` are rearranged for patches in this order
    order = "g o c i j -> g (c i j) o"

    def __init__(self, window: Window, image: tuple[int, int, int]) -> None:
        channels, height, width = image
        pad = 2 * window.padding
        pixels = rearrange(window.pixels(height, width), "y x i j -> (y x) 1 (i j)")
        starts = rearrange(torch.arange(channels) * (height + pad) * (width + pad), "c -> 1 c 1")
        self._indices = (starts + pixels).flatten()
        self._window = window
        #: height and width of the outputs
        self.outputs = (window.outputs(height), window.outputs(width))

    def __call__(self, images: Tensor) -> Tensor:
        """Return the patches ``(G, B · H' · W', C · k · k)`` of images ``(G, B, C, H, W)``."""
        padded = F.pad(images, (self._window.padding,) * 4)
        gathered = padded.flatten(0, 1).flatten(1).index_select(1, self._indices)
        y, x = self.outputs
        return rearrange(gathered, "(g b) (yx k) -> g (b yx) k", g=len(images), yx=y * x)


class MapPatches:
    """Gathers patches of maps, whose channels lie last in memory.

    Args:
        window: where the convolution looks.
        height: height of the maps, H.
        width: width of the maps, W.
        images: the largest number of images, G · B.
    """

    #: how the kernels ``(G, O, C, k, k)`` are rearranged for patches in this order
    order = "g o c i j -> g (i j c) o"

    def __init__(self, window: Window, height: int, width: int, images: int) -> None:
        pad = 2 * window.padding
        pixels = window.pixels(height, width).flatten()
        size = (height + pad) * (width + pad)
        #: height and width of the outputs
        self.outputs = (window.outputs(height), window.outputs(width))
        self._window = window
        self._size, self._taken = size, len(pixels)
        number = torch.arange(images)[:, None]
        self._gather = (number * size + pixels).flatten()
        # The gradient of a pixel is the sum over all places of patches that hold a copy of the pixel.
        counts = torch.bincount(pixels, minlength=size)
        self._places = (number * len(pixels) + pixels.argsort(stable=True)).flatten()
        self._starts = (number * len(pixels) + (counts.cumsum(0) - counts)).flatten()

    def __call__(self, maps: Tensor) -> Tensor:
        """Return the patches ``(G, B · H' · W', k · k · C)`` of maps ``(G, B, H, W, C)``."""
        group, images = maps.shape[:2]
        pad = self._window.padding
        padded = F.pad(maps, (0, 0, pad, pad, pad, pad)) if pad else maps
        count = group * images
        tables = (
            self._gather[: count * self._taken],
            self._places[: count * self._taken],
            self._starts[: count * self._size],
        )
        rows = rearrange(padded, "g b h w c -> (g b h w) c")
        gathered: Tensor = _Gather.apply(rows, *tables)  # type: ignore[no-untyped-call]  # PyTorch's
        y, x = self.outputs
        return rearrange(gathered, "(g b y x k) c -> g (b y x) (k c)", g=group, b=images, y=y, x=x)


class _Gather(torch.autograd.Function):
    """Takes rows of a matrix ``(N, C)``, each possibly several times."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, *given: Tensor) -> Tensor:
        rows, gather, places, starts = given
        ctx.save_for_backward(places, starts)
        return rows.index_select(0, gather)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        places, starts = ctx.saved_tensors  # type: ignore[attr-defined]  # the stubs do not know it
        (gradient,) = gradients
        return F.embedding_bag(places, gradient, starts, mode="sum"), None, None, None
