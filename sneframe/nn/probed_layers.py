"""Evaluate the layers of described networks at learned inputs, called probes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from attrs import frozen
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.architecture.evaluate import layer_values
from sneframe.batch import Networks
from sneframe.errors import ArchitectureError
from sneframe.nn.bounded import evaluated
from sneframe.nn.probe_inputs import ProbeInputs
from sneframe.nn.sine_factors import SineFactors


@frozen(kw_only=True, eq=False)
class LayerValues:
    """What networks compute at K probes.

    Args:
        inputs: the probes, for each input of the network ``(K, …)``.
        layers: for each layer its value ``(B, K, …)``, or ``(1, K, …)`` if it is the same in all networks;
            None for a layer on which no output depends.
    """

    inputs: tuple[Tensor, ...]
    layers: list[Tensor | None]


@final
class ProbedLayers(nn.Module):
    """Evaluates the described layers of networks at K learned inputs, with the weights as stored.

    The weights are cut at ±10⁶. A network is evaluated from its description alone: no data are needed, and
    no code that came with the network runs.

    Args:
        architectures: architectures of the training zoo.
        probes: K, the number of probes.
        size: height and width of images, or length of texts, for architectures that do not tell it.

    Attributes:
        said: one line for each thing that is assumed or learned because descriptions lack it.
    """

    def __init__(
        self, architectures: Sequence[Architecture], *, probes: int, size: Sequence[int] = ()
    ) -> None:
        super().__init__()
        self.inputs = ProbeInputs(architectures, probes=probes, size=size)
        self.factors = SineFactors(architectures)
        self.said = [*self.inputs.assumed, *([self.factors.learned] if self.factors.learned else [])]
        self._found: dict[str, tuple[frozenset[int], str | None]] = {}

    def obstacle(self, architecture: Architecture) -> str | None:
        """Return why networks of an architecture cannot be evaluated, in one line, or None if they can."""
        return self._look(architecture)[1]

    def reached(self, architecture: Architecture) -> frozenset[int]:
        """Return the indices of the layers on which an output depends; none if there is an obstacle."""
        return self._look(architecture)[0]

    def forward(self, networks: Networks) -> LayerValues:
        """Return the values of all layers at the probes.

        Raises:
            ArchitectureError: the networks cannot be evaluated.
        """
        architecture = networks.architecture
        # A sine of a large factor needs more digits than bfloat16 has, so autocast is off.
        with torch.autocast(networks.weights.device.type, enabled=False):
            inputs = self.inputs(architecture)
            weights = evaluated(networks.stored).to(inputs[0].dtype)
            layers = layer_values(architecture, weights, inputs, factors=self.factors(architecture))
        return LayerValues(inputs=inputs, layers=layers)

    def _look(self, architecture: Architecture) -> tuple[frozenset[int], str | None]:
        """Return the layers that are reached and the obstacle, found once by evaluating two probes."""
        if architecture.id not in self._found:
            why = self.factors.obstacle(architecture) or self.inputs.lacks(architecture)
            reached: frozenset[int] = frozenset()
            if why is None:
                try:
                    reached = self._tried(architecture)
                except ArchitectureError as error:  # no probe has this shape, or the layers do not fit it
                    why = str(error)
            self._found[architecture.id] = reached, why
        return self._found[architecture.id]

    def _tried(self, architecture: Architecture) -> frozenset[int]:
        with torch.no_grad():
            inputs = tuple(each[:2] for each in self.inputs(architecture))
            weights = inputs[0].new_zeros(1, architecture.num_weights)
            values = layer_values(architecture, weights, inputs, factors=self.factors(architecture))
        return frozenset(number for number, value in enumerate(values) if value is not None)
