"""``normalise/none``, ``normalise/fan-in`` and ``normalise/parameter`` rescale by constants per parameter.

They never use a constant per weight, unlike the code of DWSNets and NFN. Constants per weight differ between
hidden neurons, so they break the permutation symmetry of every method. A constant per parameter commutes with
every permutation.

A training that diverges can leave weights such as 1e21, which are finite. One such network among the training
networks would decide every constant, and all other networks would have weights near 0. So a network whose
parameter is unusually large (:func:`~sneframe.nn.diverged.usual`) decides no constant of this parameter, and
a warning says so. Rescaled weights are cut at ±10⁴, because the squares and products of larger ones overflow
in float32. So the maps below hold for rescaled weights of up to 10⁴.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import final

import numpy as np
import torch
from attrs import frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.architecture.layout import layout
from sneframe.batch import Batch, Networks
from sneframe.errors import PartError
from sneframe.nn.diverged import usual
from sneframe.parts.normalise import Normalise
from sneframe.parts.part import ANY_ACTION, Spec

TINY = 1e-8  #: scales below it are replaced by 1, because the weights do not vary over the training networks
MOST = 1e4  #: rescaled weights are cut at ± this


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

    def undo(self, batch: Batch) -> Batch:
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
        squares = {key: _Gathered(np.float64) for key in self.keys}
        counts = {key: _Gathered(np.int64) for key in self.keys}
        rows = {key: _Gathered(np.int64) for key in self.keys}
        networks_before, left_out = 0, set[int]()
        for networks in chain.from_iterable(batch.networks for batch in batches):
            for key, (square, count) in _sums(networks).items():
                squares[key].add(square)
                counts[key].add(np.full(len(square), count))
                rows[key].add(networks_before + np.arange(len(square)))
            networks_before += len(networks)
        scales = []
        for key in self.keys:
            total, weights = squares[key].array(), counts[key].array()
            kept = usual(np.sqrt(total / np.maximum(1, weights)))
            left_out.update(rows[key].array()[~kept].tolist())
            scales.append(math.sqrt(total[kept].sum() / max(1, weights[kept].sum())))
        self.scale.copy_(torch.tensor([scale if scale > TINY else 1.0 for scale in scales]))
        _warn(self.name, len(left_out))

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with rescaled weights."""
        return batch.replace(cut(networks.weights * self._factors(networks)) for networks in batch.networks)

    def undo(self, batch: Batch) -> Batch:
        """Return the networks whose rescaled weights a batch holds."""
        return batch.replace(networks.weights / self._factors(networks) for networks in batch.networks)

    def rescale(self, architecture: Architecture, parameter: int, weights: Tensor) -> Tensor:
        """Return the weights of one parameter, rescaled."""
        scale = self.scale[self._find(_keys(architecture)[parameter])]
        return cut(weights * (math.sqrt(architecture.parameters[parameter].fan_in) / scale))

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
        sizes = [0] * len(self.mean)
        means, squares = ([_Gathered(np.float64) for _ in sizes] for _ in range(2))
        rows = [_Gathered(np.int64) for _ in sizes]
        networks_before, left_out = 0, set[int]()
        for networks in chain.from_iterable(batch.networks for batch in batches):
            start = self._start(networks.architecture)
            for number, view in enumerate(networks.parameters().values(), start=start):
                values = view.double().flatten(1)
                center = values.mean(1, keepdim=True)
                sizes[number] = values.shape[1]
                means[number].add(center[:, 0].cpu().numpy())
                squares[number].add((values - center).square().sum(1).cpu().numpy())
                rows[number].add(networks_before + np.arange(len(values)))
            networks_before += len(networks)
        constants = []
        for number, size in enumerate(sizes):
            own, square = means[number].array(), squares[number].array()
            kept = usual(np.sqrt(own * own + square / max(1, size)))
            left_out.update(rows[number].array()[~kept].tolist())
            if not kept.any():  # no training network has this parameter, or none a finite one
                constants.append((0.0, 1.0))
                continue
            # Squares about the mean of each network, plus those of these means about the mean of all: a
            # difference of two large sums of squares would lose digits.
            own, square = own[kept], square[kept]
            mean = float(own.mean())
            std = math.sqrt(square.mean() / size + np.square(own - mean).mean())
            constants.append((mean, std if std > TINY else 1.0))
        found = torch.tensor(constants).reshape(-1, 2)
        self.mean.copy_(found[:, 0])
        self.std.copy_(found[:, 1])
        _warn(self.name, len(left_out))

    def forward(self, batch: Batch) -> Batch:
        """Return the batch with standardised weights."""
        return batch.replace(self._standardise(networks) for networks in batch.networks)

    def undo(self, batch: Batch) -> Batch:
        """Return the networks whose standardised weights a batch holds."""
        constants = [(networks.weights, *self._constants(networks)) for networks in batch.networks]
        return batch.replace(weights * std + mean for weights, mean, std in constants)

    def _standardise(self, networks: Networks) -> Tensor:
        mean, std = self._constants(networks)
        return cut((networks.weights - mean) / std)

    def _constants(self, networks: Networks) -> tuple[Tensor, Tensor]:
        """Return the mean and the standard deviation of each weight, ``(P,)``."""
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
        return mean, std

    def _start(self, architecture: Architecture) -> int:
        if (key := layout(architecture).id) not in self.starts:
            raise PartError(
                f"normalise {self.name!r} was fitted on {len(self.starts)} architectures, not on "
                f"{architecture.summary}; choose 'normalise/fan-in' to encode unseen architectures"
            )
        return self.starts[key]


def cut(weights: Tensor) -> Tensor:
    """Return rescaled weights, cut at ±10⁴."""
    return weights.clamp(-MOST, MOST)


def _sums(networks: Networks) -> Mapping[tuple[str, str], tuple[np.ndarray, int]]:
    """Return the sum of squares ``(B,)`` of w √fan_in of each network, and the number of its weights.

    Both are given for each type and position, for each type over all positions, and for all weights.
    """
    found: dict[tuple[str, str], tuple[np.ndarray, int]] = {}
    architecture = networks.architecture
    views = networks.parameters().values()
    for key, parameter, view in zip(_keys(architecture), architecture.parameters, views, strict=True):
        values = view.double().flatten(1)
        square = (values.square().sum(1) * parameter.fan_in).cpu().numpy()
        for each in (key, (key[0], "*"), ("*", "*")):
            before, count = found.get(each, (np.zeros_like(square), 0))
            found[each] = before + square, count + values.shape[1]
    return found


class _Gathered:
    """Gathers numbers ``(n,)`` of the networks of all blocks.

    They lie in one stretch of memory. A small array for each block would be allocated between the copies of
    whole blocks, and would keep the memory of a freed copy from being used again: the fit would take as much
    memory as the zoo.

    Args:
        kind: the type of the numbers.
    """

    def __init__(self, kind: type[np.float64] | type[np.int64]) -> None:
        self._kind = kind
        self._values = bytearray()

    def add(self, values: np.ndarray) -> None:
        self._values += values.astype(self._kind).tobytes()

    def array(self) -> np.ndarray:
        return np.frombuffer(bytes(self._values), self._kind)


def _warn(part: str, networks: int) -> None:
    if networks:
        warnings.warn(
            f"normalise {part!r}: {networks} of the training networks have unusually large weights, or some "
            f"that are not finite, so they do not decide how weights are rescaled; did their training "
            f"diverge?",
            stacklevel=2,
        )


def _keys(architecture: Architecture) -> list[tuple[str, str]]:
    """Return the type and the position (first, hidden or last) of each parameter."""
    last = architecture.depth - 1
    keys = []
    for kind, layer in zip(architecture.types, architecture.layer_of_parameter, strict=True):
        level = architecture.levels[layer]
        keys.append((kind, "first" if level == 0 else "last" if level == last else "hidden"))
    return keys
