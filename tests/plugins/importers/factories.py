"""Module factories for imports. Like a user's factories, they are imported from the current folder."""

import os
import signal
from pathlib import Path

import torch
from torch import nn


def mlp(width=8, activation=nn.ReLU):
    return nn.Sequential(nn.Linear(4, width), activation(), nn.Linear(width, 3))


def cnn():
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)),
    )


class Residual(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.inp, self.hidden, self.out = nn.Linear(4, width), nn.Linear(width, width), nn.Linear(width, 3)

    def forward(self, x):
        x = self.inp(x)
        return self.out(x + torch.relu(self.hidden(x)))


def of_row(row):
    made = {"mlp": mlp, "cnn": cnn, "residual": Residual}[row["kind"]]()
    return made, torch.randn(2, 1, 8, 8) if row["kind"] == "cnn" else torch.randn(2, 4)


def always_mlp():
    return mlp()


def by_activation(row):
    return mlp(activation={"relu": nn.ReLU, "tanh": nn.Tanh}[row["activation"]])


class Functional(nn.Module):
    """A network whose activation is a private attribute, a named function or a lambda."""

    def __init__(self, function):
        super().__init__()
        self._function = function
        self.inp, self.out = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self._function(self.inp(x)))


def lambdas(row):
    relu, tanh = (lambda x: torch.relu(x)), (lambda x: torch.tanh(x))  # noqa: PLW0108  # two without a name
    return Functional({"relu": relu, "tanh": tanh}[row["activation"]])


def named(row):
    return Functional({"relu": torch.relu, "tanh": torch.tanh}[row["activation"]])


def broken(row):
    raise KeyError("kind")


def nothing(row):
    return None


number = 3


def lazy():
    return nn.LazyLinear(2)


def local(row):
    """Return a module whose class is defined in this function and takes its activation from it."""
    act = {"relu": torch.relu, "tanh": torch.tanh, "cumsum": lambda h: h.cumsum(-1)}[row["activation"]]

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inp, self.out = nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.out(act(self.inp(x)))

    return Net(), torch.randn(5, 4)


class Masked(nn.Module):
    """A network with a bool buffer, initially all true, that selects neurons."""

    def __init__(self):
        super().__init__()
        self.inp, self.out = nn.Linear(4, 8), nn.Linear(8, 3)
        self.register_buffer("mask", torch.ones(8, dtype=torch.bool))

    def forward(self, x):
        return self.out(torch.where(self.mask, self.inp(x), 0.0))


def masked():
    return Masked(), torch.randn(5, 4)


def pair():
    """Return a module without an example input, for which none can be guessed."""
    return nn.Bilinear(2, 3, 4)


class Tied(nn.Module):
    """A network whose output layer shares its weight with the embedding."""

    def __init__(self):
        super().__init__()
        self.words, self.read = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.read.weight = self.words.weight

    def forward(self, x):
        return self.read(self.words(x).mean(1))


def tied():
    return Tied(), torch.tensor([[0, 1], [3, 2]])


def dies_once(path):
    """Build the network of a file. The first process that builds that of file 5 is killed."""
    marked = path.with_name("die-once")
    mark = Path(marked.read_text())
    if path.name == "5.pt" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return mlp()


def first_four(path):
    if int(path.name[0]) > 3:
        raise RuntimeError("there is no network behind 3")
    return mlp()
