"""A hundred small networks of many families, each with its true architecture."""

import warnings

import torch
import torch.nn.functional as F
from networks import NETWORKS
from torch import nn

from sneframe.architecture import Architecture

ACTIVATIONS = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "gelu": F.gelu,
    "sine": lambda x: torch.sin(3 * x),
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "leaky": F.leaky_relu,
}


class MLP(nn.Module):
    def __init__(self, activation, widths, *, norm=False):
        super().__init__()
        sizes = [3, *widths]
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, widths, strict=False))
        self.norms = nn.ModuleList(nn.BatchNorm1d(w) if norm else nn.Identity() for w in widths)
        self.head, self.activation = nn.Linear(widths[-1], 2), ACTIVATIONS[activation]

    def forward(self, x):
        for linear, norm in zip(self.linears, self.norms, strict=True):
            x = self.activation(norm(linear(x)))
        return self.head(x)


class CNN(nn.Module):
    def __init__(self, activation, widths, norm, *, flat):
        super().__init__()
        sizes = [2, *widths]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3) for a, b in zip(sizes, widths, strict=False))
        self.norms = nn.ModuleList(norm(w) for w in widths)
        side = 8 - 2 * len(widths)
        self.head = nn.Linear(widths[-1] * (side * side if flat else 1), 3)
        self.activation, self.flat = ACTIVATIONS[activation], flat

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = self.activation(norm(conv(x)))
        return self.head(x.flatten(1) if self.flat else x.mean((2, 3)))


class Residual(nn.Module):
    def __init__(self, activation, width, inner, depth):
        super().__init__()
        self.stem, self.head = nn.Linear(3, width), nn.Linear(width, 2)
        self.ups = nn.ModuleList(nn.Linear(width, inner) for _ in range(depth))
        self.downs = nn.ModuleList(nn.Linear(inner, width) for _ in range(depth))
        self.activation = ACTIVATIONS[activation]

    def forward(self, x):
        x = self.stem(x)
        for up, down in zip(self.ups, self.downs, strict=True):
            x = x + down(self.activation(up(x)))
        return self.head(x)


class Depthwise(nn.Module):
    def __init__(self, activation, width):
        super().__init__()
        self.stem, self.depth = nn.Conv2d(2, width, 3), nn.Conv2d(width, width, 3, groups=width)
        self.point, self.head = nn.Conv2d(width, width, 1), nn.Linear(width, 3)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x):
        x = self.activation(self.stem(x))
        x = self.activation(self.depth(x))
        return self.head(self.activation(self.point(x)).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.stem, self.head, self.heads = nn.Linear(3, width), nn.Linear(width, 2), heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        x = self.stem(x)
        q, k, v = (m(x).unflatten(-1, (self.heads, -1)).transpose(-3, -2) for m in (self.q, self.k, self.v))
        return self.head(x + self.o(((q @ k.mT).softmax(-1) @ v).transpose(-3, -2).flatten(-2)))


class Recurrent(nn.Module):
    def __init__(self, cell, width):
        super().__init__()
        self.rnn, self.head = cell(3, width, batch_first=True), nn.Linear(width, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


class Concatenating(nn.Module):
    def __init__(self, activation, width):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(3, width), nn.Linear(width, width), nn.Linear(2 * width, width)
        self.head, self.activation = nn.Linear(3 * width, 2), ACTIVATIONS[activation]

    def forward(self, x):
        x = self.activation(self.a(x))
        x = torch.cat([x, self.activation(self.b(x))], -1)
        return self.head(torch.cat([x, self.activation(self.c(x))], -1))


def made():
    """Yield for each network its name, a function that makes it, and an input."""
    rows, image = torch.randn(4, 3), torch.randn(2, 2, 8, 8)
    sequence = torch.randn(2, 4, 3)
    for name, (make, example) in NETWORKS.items():
        if name not in ("resnet18", "bottleneck"):  # too large for a thousand runs
            yield name, make, example
    for activation in ACTIVATIONS:
        for widths in ((2,), (4, 4), (3, 2, 3), (8, 5)):
            yield f"mlp {activation} {widths}", lambda a=activation, w=widths: MLP(a, w), rows
        yield f"mlp {activation} norm", lambda a=activation: MLP(a, (4, 4), norm=True), rows
        yield f"residual {activation}", lambda a=activation: Residual(a, 4, 4, 2), rows
        yield f"concatenating {activation}", lambda a=activation: Concatenating(a, 4), rows
        yield f"depthwise {activation}", lambda a=activation: Depthwise(a, 4), image
        for flat in (False, True):
            for norm in (nn.BatchNorm2d, nn.Identity):
                word = f"cnn {activation} {norm.__name__} {flat}"
                yield word, lambda a=activation, n=norm, f=flat: CNN(a, (4, 4), n, flat=f), image
    for heads, width in ((2, 4), (2, 8), (3, 6), (4, 8)):
        yield f"attention {heads} {width}", lambda w=width, h=heads: Attention(w, h), sequence
    for cell in (nn.GRU, nn.LSTM, nn.RNN):
        for width in (2, 5):
            yield f"{cell.__name__} {width}", lambda c=cell, w=width: Recurrent(c, w), sequence


def described(make, example):
    """Return a network and its architecture."""
    torch.manual_seed(0)
    module = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return module, Architecture.from_module(module, example)
