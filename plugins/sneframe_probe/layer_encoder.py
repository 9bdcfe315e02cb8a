"""``probe/outputs`` evaluates every network at learned inputs."""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import final

import torch
from attrs import frozen
from attrs.validators import deep_iterable, ge

from sneframe.architecture import Architecture
from sneframe.architecture.evaluate import evaluate
from sneframe.batch import Networks
from sneframe.config.schema import option
from sneframe.config.validators import as_tuple
from sneframe.errors import ArchitectureError, ArchitecturesRefused, PartError
from sneframe.nn.bounded import bounded, evaluated
from sneframe.nn.probe_inputs import ProbeInputs
from sneframe.nn.sine_factors import SineFactors
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import ANY_ACTION, Spec
from sneframe_probe.probe_values import ProbeValues

LARGEST = 4096  #: largest number of outputs for one probe
#: Factors of sines are learned this many times as fast as other numbers. Only outputs are read, so the
#: gradient of a factor is strong, and also a factor of a third of the start is found.
FACTOR_RATE = 10.0
FINITE = 1e15  #: outputs are cut at ± this, so that their squares are finite in float32


@final
class NetworkOutputs(LayerEncoder):
    """Evaluates every network at K learned inputs (probes), and returns its outputs.

    The weights are those of the network as stored, before any normalisation. The description of the network
    says what each layer computes. So no data are needed, and no code that came with the network runs. The
    inputs are trained with the rest (:class:`~sneframe.nn.probe_inputs.ProbeInputs`).

    If the description of a sine lacks the factor inside of it, then this factor is learned
    (:class:`~sneframe.nn.sine_factors.SineFactors`).

    Raises:
        ArchitecturesRefused: a network of the zoo cannot be evaluated, or the shape of its input is unknown.
    """

    name = "probe/outputs"
    keeps = ANY_ACTION
    takes = (Networks,)

    @frozen(kw_only=True)
    class Config:
        """Options."""

        probes: int = option(64, "K, the number of learned inputs", check=ge(1))
        size: tuple[int, ...] = option(
            (),
            "height and width of images, or length of texts, where a description does not tell it; "
            "empty: that of the other networks",
            converter=as_tuple,
            check=deep_iterable(ge(1)),
        )
        latent: int = option(
            32, "width of the latent code from which the generator makes an input", check=ge(1)
        )
        width: int = option(64, "width of the hidden layer of the generator", check=ge(1))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.inputs = ProbeInputs(
            spec.architectures,
            probes=config.probes,
            size=config.size,
            latent=config.latent,
            width=config.width,
        )
        self.factors = SineFactors(spec.architectures, rate=FACTOR_RATE)
        self._refuse(spec.architectures)
        self.out = spec.gives(ProbeValues, config.probes, sizes=tuple(map(self._outputs, spec.architectures)))
        self._notes = [*self.inputs.assumed, *([self.factors.learned] if self.factors.learned else [])]

    def _refuse(self, architectures: tuple[Architecture, ...]) -> None:
        reasons = {a: why for a in architectures if (why := self._obstacle(a)) is not None}
        if reasons:
            architecture, why = next(iter(reasons.items()))
            raise ArchitecturesRefused(
                f"{self.slot} {self.name!r} evaluates networks, but cannot evaluate {len(reasons)} of "
                f"{len(architectures)} architectures, such as {architecture.summary}: {why}"
            )

    def _obstacle(self, architecture: Architecture) -> str | None:
        """Return why an architecture cannot be evaluated, in one line, or None if it can."""
        why = self.factors.obstacle(architecture)
        return self.inputs.lacks(architecture) if why is None else why

    def _outputs(self, architecture: Architecture) -> int:
        """Return O, the number of outputs of an architecture, by evaluating it without memory for weights.

        Raises:
            ArchitecturesRefused: the layers do not fit each other or the input, or O is too large.
        """
        weights = torch.empty((1, architecture.num_weights), device="meta")
        try:
            inputs = tuple(each[:1].to("meta") for each in self.inputs(architecture))
            factors = self.factors(architecture)
            with torch.no_grad():
                found = evaluate(
                    architecture, weights, inputs, factors=None if factors is None else factors.to("meta")
                )
        except ArchitectureError as error:
            raise ArchitecturesRefused(
                f"{self.slot} {self.name!r} cannot evaluate {architecture.summary}: {error}"
            ) from error
        if (count := found[0, 0].numel()) > LARGEST:
            raise ArchitecturesRefused(
                f"{self.slot} {self.name!r} reads at most {LARGEST} outputs for each probe, but "
                f"{architecture.summary} has {count}"
            )
        return count

    def forward(self, tokens: tuple[Networks, ...]) -> tuple[ProbeValues, ...]:
        """Return the outputs ``(B, K, O)`` for each architecture. Outputs with several axes are flattened.

        Raises:
            PartError: a network cannot be evaluated, or no probe has the shape of its input.
        """
        for note in self._notes:
            warnings.warn(f"{self.slot} {self.name!r}: {note}", stacklevel=2)
        self._notes.clear()
        return tuple(self._evaluate(networks) for networks in tokens)

    def _evaluate(self, networks: Networks) -> ProbeValues:
        architecture = networks.architecture
        if (why := self._obstacle(architecture)) is not None:
            raise PartError(f"{self.slot} {self.name!r} cannot evaluate {architecture.summary}: {why}")
        with _whole_precision(networks.weights.device.type):
            try:
                inputs = self.inputs(architecture)
                weights = evaluated(networks.stored).to(inputs[0].dtype)
                values = evaluate(architecture, weights, inputs, factors=self.factors(architecture))
            except ArchitectureError as error:
                raise PartError(f"{self.slot} {self.name!r}: {error}") from error
        values = bounded(values.flatten(2) if values.ndim > 2 else values, FINITE)
        return ProbeValues(architecture=architecture, values=values)


def _whole_precision(device: str) -> AbstractContextManager[object]:
    """Turn autocast off, because the sine of a large number needs more digits than bfloat16 has."""
    available = torch.amp.is_autocast_available(device)
    return torch.autocast(device, enabled=False) if available else nullcontext()
