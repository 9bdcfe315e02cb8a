"""``normalise/none``, ``normalise/fan-in`` and ``normalise/parameter`` rescale by constants per parameter.

They never use a constant per weight, unlike the code of DWSNets and NFN. Constants per weight differ between
hidden neurons, so they break the permutation symmetry of every method. A constant per parameter commutes with
every permutation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import chain
from typing import final

import torch
from attrs import frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.architecture.layout import layout
from sneframe.batch import Batch, Networks
from sneframe.errors import PartError
from sneframe.parts.normalise import Normalise
from sneframe.parts.part import ANY_ACTION, Spec

TINY = 1e-8  #: scales below it are replaced by 1, because the weights do not vary over the training networks


@final
class NoNormalise(Normalise):
    """Leaves the weights unchanged."""

    name = "normalise/none"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def forward(self, batch: Batch) -> Batch:
        """Return the batch itself."""
        return batch

    def rescale(
        self,
        architecture: Architecture,  # noqa: ARG002  # an argument of the protocol
        parameter: int,  # noqa: ARG002  # the same
        weights: Tensor,
    ) -> Tensor:
        """Return the weights themselves."""
        return weights


@final
class FanIn(Normalise):
    """Maps w to w √fan_in / s, with one scale s for each parameter type and position.

    The positions are the first, a hidden, and the last layer. s is the root mean square of w √fan_in over the
    training networks. Initialisers shrink weights by √fan_in, so the factor √fan_in gives layers of one type
    the same scale in networks of any width. A position means the same in networks of any depth. So unseen
    architectures can be normalised, too. For a type and position that the training networks lack, s is the
    scale of the type over all positions. For an unknown type, s is the scale of all weights.
    """

    name = "normalise/fan-in"
    keeps = ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """No options."""

    scale: Tensor

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        keys = {key for architecture in spec.architectures for key in _keys(architecture)}
        self.keys = sorted(keys | {(kind, "*") for kind, _ in keys} | {("*", "*")})
        self.register_buffer("scale", torch.ones(len(self.keys)))
        self._constants: dict[tuple[str, torch.device], tuple[Tensor, Tensor, Tensor]] = {}

    def learn(self, batches: Iterable[Batch]) -> None:
        """Set each scale to the root mean square of w √fan_in over the training networks."""
        squares = dict.fromkeys(self.keys, 0.0)
        counts = dict.fromkeys(self.keys, 0)
        for networks in chain.from_iterable(batch.networks for batch in batches):
            architecture = networks.architecture
            views = networks.parameters().values()
            for (kind, position), parameter, view in zip(
                _keys(architecture), architecture.parameters, views, strict=True
            ):
                total = float(view.double().square().sum()) * parameter.fan_in
                for key in ((kind, position), (kind, "*"), ("*", "*")):
                    squares[key] += total
                    counts[key] += view.numel()
        scales = [math.sqrt(squares[key] / max(1, counts[key])) for key in self.keys]
        self.scale.copy_(torch.tensor([scale if scale > TINY else 1.0 for scale in scales]))

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with rescaled weights."""
        return batch.replace(networks.weights * self._factors(networks) for networks in batch.networks)

    def rescale(self, architecture: Architecture, parameter: int, weights: Tensor) -> Tensor:
        """Return the weights of one parameter, rescaled."""
        scale = self.scale[self._find(_keys(architecture)[parameter])]
        return weights * (math.sqrt(architecture.parameters[parameter].fan_in) / scale)

    def _factors(self, networks: Networks) -> Tensor:
        architecture, device = networks.architecture, networks.weights.device
        if (architecture.id, device) not in self._constants:
            parameters = architecture.parameters
            self._constants[architecture.id, device] = (
                torch.tensor([self._find(key) for key in _keys(architecture)]).to(device),
                torch.tensor([math.sqrt(parameter.fan_in) for parameter in parameters]).to(device),
                torch.tensor([parameter.size for parameter in parameters]).to(device),
            )
        index, roots, sizes = self._constants[architecture.id, device]
        return (roots / self.scale[index]).repeat_interleave(sizes, output_size=architecture.num_weights)

    def _find(self, key: tuple[str, str]) -> int:
        """Return the index of the scale for a type and position: the most specific scale that was fitted."""
        candidates = (key, (key[0], "*"), ("*", "*"))
        return self.keys.index(next(candidate for candidate in candidates if candidate in self.keys))


@final
class PerParameter(Normalise):
    """Maps w to (w − mean) / std, with one mean and one standard deviation for each parameter of each layout.

    It raises an error for a network whose layout (architecture without activations) no training network has.
    """

    name = "normalise/parameter"
    keeps = frozenset({"permute"})

    @frozen(kw_only=True)
    class Config:
        """No options."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.starts: dict[str, int] = {}
        total = 0
        for own in dict.fromkeys(map(layout, spec.architectures)):
            self.starts[own.id] = total
            total += len(own.parameters)
        self.register_buffer("mean", torch.zeros(total))
        self.register_buffer("std", torch.ones(total))
        self._sizes: dict[tuple[str, torch.device], Tensor] = {}

    def learn(self, batches: Iterable[Batch]) -> None:
        """Set the means and standard deviations to those of the training networks."""
        counts, means, squares = ([0.0] * len(self.mean) for _ in range(3))
        for networks in chain.from_iterable(batch.networks for batch in batches):
            start = self._start(networks.architecture)
            for number, view in enumerate(networks.parameters().values(), start=start):
                # Chan, Golub and LeVeque (1979) sum squares about the mean so far, because a difference of
                # two large sums of squares would lose digits.
                values, count = view.double(), view.numel()
                mean, before = float(values.mean()), counts[number]
                shift, counts[number] = mean - means[number], before + count
                squares[number] += float((values - mean).square().sum())
                squares[number] += shift * shift * before * count / counts[number]
                means[number] += shift * count / counts[number]
        pairs = zip(squares, counts, strict=True)
        stds = [math.sqrt(square / count) if count else 1.0 for square, count in pairs]
        self.mean.copy_(torch.tensor(means))
        self.std.copy_(torch.tensor([std if std > TINY else 1.0 for std in stds]))

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with standardised weights."""
        return batch.replace(self._standardise(networks) for networks in batch.networks)

    def _standardise(self, networks: Networks) -> Tensor:
        architecture, device = networks.architecture, networks.weights.device
        if (architecture.id, device) not in self._sizes:
            self._sizes[architecture.id, device] = torch.tensor([p.size for p in architecture.parameters]).to(
                device
            )
        start, sizes = self._start(architecture), self._sizes[architecture.id, device]
        mean, std = (
            constant[start : start + len(sizes)].repeat_interleave(
                sizes, output_size=architecture.num_weights
            )
            for constant in (self.mean, self.std)
        )
        return (networks.weights - mean) / std

    def _start(self, architecture: Architecture) -> int:
        if (key := layout(architecture).id) not in self.starts:
            raise PartError(
                f"normalise {self.name!r} was fitted on {len(self.starts)} architectures, not on "
                f"{architecture.summary}; choose 'normalise/fan-in' to encode unseen architectures"
            )
        return self.starts[key]


def _keys(architecture: Architecture) -> list[tuple[str, str]]:
    """Return the type and the position (first, hidden or last) of each parameter."""
    last = architecture.depth - 1
    keys = []
    for kind, layer in zip(architecture.types, architecture.layer_of_parameter, strict=True):
        level = architecture.levels[layer]
        keys.append((kind, "first" if level == 0 else "last" if level == last else "hidden"))
    return keys
