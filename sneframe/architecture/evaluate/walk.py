"""Evaluate the layers of an architecture one after the other, for all networks at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor

from sneframe.architecture.description import Architecture
from sneframe.architecture.evaluate.activations import WAVES, activated
from sneframe.architecture.evaluate.kinds import KINDS
from sneframe.architecture.evaluate.plan import Plan, label, lacking, plan, roles_of, sources
from sneframe.architecture.evaluate.reshaping import KEEPS_INTEGERS
from sneframe.architecture.evaluate.step import Step
from sneframe.architecture.layer import Layer
from sneframe.errors import ArchitectureError, counted

Inputs = Tensor | tuple[Tensor, ...]


def obstacle(architecture: Architecture, *, factors: bool = False) -> str | None:
    """Return what keeps the networks of an architecture from being evaluated, in one line, or None.

    If the architecture has ``input_shapes``, the shapes of all values are checked too, without computing
    them.

    Args:
        architecture: the architecture.
        factors: whether the factors that the description lacks inside sines will be passed to
            :func:`evaluate`, so that their absence is no obstacle.

    Returns:
        The layer, what is missing, and what would give it; None if nothing is missing.
    """
    return _obstacle(architecture, architecture.symmetry, factors)


@lru_cache(maxsize=4096)
def _obstacle(architecture: Architecture, symmetry: str, factors: bool) -> str | None:  # noqa: FBT001  # a key
    # Equal architectures may differ in the origin of their symmetry, so the origin is part of the cache key.
    reason = lacking(architecture, symmetry, factors=factors)
    if reason is not None or not architecture.input_shapes:
        return reason
    return _misfit(architecture)


def _misfit(architecture: Architecture) -> str | None:
    """Compute the shapes of all values for the recorded inputs, and return what does not fit, or None."""
    weights = torch.empty(1, architecture.num_weights, device="meta")
    inputs = tuple(
        torch.empty(2, *shape, device="meta", dtype=_input_type(architecture, -number))
        for number, shape in enumerate(architecture.input_shapes, start=1)
    )
    factors = torch.empty(len(architecture.layers), device="meta")
    try:
        _values(plan(architecture), weights, inputs, factors, every=False)
    except ArchitectureError as error:
        return str(error)
    except NotImplementedError:  # an operation of torch that computes no shapes without values
        return None
    return None


def _input_type(architecture: Architecture, number: int) -> torch.dtype:
    """Return the type of an input of the network: integers if an embedding reads it, perhaps rearranged."""
    layers = architecture.layers
    integers: set[int] = set()
    for index in reversed(range(len(layers))):
        if layers[index].kind == "embedding" or (index in integers and layers[index].kind in KEEPS_INTEGERS):
            integers.update(sources(layers[index]))
    return torch.int64 if number in integers else torch.get_default_dtype()


def evaluate(
    architecture: Architecture, weights: Tensor, inputs: Inputs, *, factors: Tensor | None = None
) -> Tensor:
    """Return the outputs of B networks of one architecture at K inputs.

    The result is what the modules of the networks would return in evaluation mode. It depends on the
    description alone, and is differentiable in the weights, the inputs and the factors. Nothing is computed
    network by network.

    Args:
        architecture: the architecture of all networks.
        weights: ``(B, P)``, the weights as they are stored, not normalised.
        inputs: ``(K, …)``, the inputs of the networks, the same for all; a tuple if a network has several.
            The computation has the type of the first floating-point input. Inputs of an embedding are
            integers, or floating-point mixtures ``(K, …, words)`` of the rows of its table.
        factors: ``(L,)`` or ``(B, L)``, a factor for each of the L layers. It is used for the sines and
            cosines whose factor the description lacks.

    Returns:
        ``(B, K, …)``. If the description has several outputs, the first of them.

    Raises:
        ArchitectureError: the description lacks something (see :func:`obstacle`), or the weights or inputs
            have shapes that do not fit. The message names the layer.
    """
    found = _checked(architecture, factors)
    values = _values(found, weights, _tuple(inputs), factors, every=False)
    result = values[found.outputs[0]]
    assert result is not None
    return result.expand(len(weights), *[-1] * (result.ndim - 1))


def layer_values(
    architecture: Architecture, weights: Tensor, inputs: Inputs, *, factors: Tensor | None = None
) -> list[Tensor | None]:
    """Return the value of every layer of B networks of one architecture at K inputs.

    Arguments and errors are those of :func:`evaluate`.

    Returns:
        For each layer its value ``(B, K, …)``, or ``(1, K, …)`` if it is the same in all networks; None for a
        layer on which no output depends.
    """
    return _values(_checked(architecture, factors), weights, _tuple(inputs), factors, every=True)


def neuron_axis(layer: Layer) -> int | None:
    """Return the axis of a layer's value along which the neurons lie that its parameters write.

    Returns:
        The axis in the value of one network, whose axis 0 is that of the examples: −1 for a linear layer, 1
        for a convolution. None if the layer has no parameters, or if its kind does not say.
    """
    if not layer.parameters:
        return None
    if layer.kind.startswith("conv") or layer.kind in ("batch_norm", "instance_norm", "group_norm"):
        return 1
    if layer.kind == "prelu":
        return 1 if layer.parameters[0].size > 1 else None
    if layer.kind in ("layer_norm", "rms_norm"):
        return -len(layer.parameters[0].shape)
    if layer.kind in ("linear", "embedding", "multihead_attention", "lstm", "gru", "rnn"):
        return -1
    return None


def _checked(architecture: Architecture, factors: Tensor | None) -> Plan:
    """Return the plan of an architecture that can be evaluated; raise the obstacle of any other."""
    reason = obstacle(architecture, factors=factors is not None)
    if reason is not None:
        raise ArchitectureError(f"{architecture.summary}: {reason}")
    return plan(architecture)


def _tuple(inputs: Inputs) -> tuple[Tensor, ...]:
    return (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)


def _values(
    found: Plan, weights: Tensor, inputs: tuple[Tensor, ...], factors: Tensor | None, *, every: bool
) -> list[Tensor | None]:
    """Evaluate the needed layers in order; see :func:`layer_values`.

    Args:
        found: what to evaluate.
        weights: ``(B, P)``.
        inputs: ``(K, …)`` each.
        factors: see :func:`evaluate`.
        every: whether to keep the values of all layers, and not only those of the outputs.
    """
    architecture = found.architecture
    _check_arguments(found, weights, inputs, factors)
    dtype = next((value.dtype for value in inputs if value.is_floating_point()), weights.dtype)
    given = [(value.to(dtype) if value.is_floating_point() else value)[None] for value in inputs]
    like, examples = weights.to(dtype), len(inputs[0]) if inputs else 1
    parameters = _by_name(architecture, like)
    values: list[Tensor | None] = [None] * len(architecture.layers)
    for index in found.needed:
        layer = architecture.layers[index]
        reads = sources(layer)
        read = tuple(given[-source - 1] if source < 0 else values[source] for source in reads)
        step = Step(
            layer=layer,
            inputs=read,  # type: ignore[arg-type]  # a layer that is read is needed, so its value is there
            parameters=_parameters(layer, parameters, examples, like),
            examples=examples,
            like=like,
        )
        unknown = factors is not None and layer.activation in WAVES and "factor" not in layer.attributes
        factor = factors[..., index] if unknown and factors is not None else None
        values[index] = _computed(step, label(architecture, index), factor)
        if not every:
            for source in reads:
                if source >= 0 and found.last_read[source] == index and source not in found.outputs:
                    values[source] = None
    return values


def _computed(step: Step, name: str, factor: Tensor | None) -> Tensor:
    """Return the value of a layer.

    Raises:
        ArchitectureError: the layer cannot read the values. The message names the layer.
    """
    try:
        return activated(KINDS[step.layer.kind].compute(step), step.layer, factor)
    except ArchitectureError as error:
        raise ArchitectureError(f"{name} cannot read its input: {error}") from error
    except (torch.OutOfMemoryError, torch.AcceleratorError, NotImplementedError):
        raise
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if "memory" in str(error):  # torch has no class for it on a CPU
            raise
        shapes = " and ".join(str(tuple(value.shape[1:])) for value in step.inputs) or "nothing"
        words = " ".join(str(error).split())[:200]
        raise ArchitectureError(f"{name} cannot read {shapes}: {words}") from error


def _by_name(architecture: Architecture, weights: Tensor) -> dict[str, Tensor]:
    """Return every parameter by name, ``(B, *shape)``. One without axes is ``(B,)``."""
    views = architecture.views(weights)
    return {p.name: views[p.name] if p.shape else views[p.name][:, 0] for p in architecture.parameters}


def _parameters(
    layer: Layer, parameters: Mapping[str, Tensor], examples: int, like: Tensor
) -> dict[str, Tensor]:
    """Return the parameters of a layer by role, including those that other layers own."""
    found: dict[str, Tensor] = {}
    for role, name, steps in roles_of(layer):
        value = parameters[name]
        for kind, attributes in steps:
            step = Step(
                layer=Layer(kind=kind, attributes=attributes),
                inputs=(value,),
                parameters={},
                examples=examples,
                like=like,
            )
            value = KINDS[kind].compute(step)
        found[role] = value
    return found


def _check_arguments(
    found: Plan, weights: Tensor, inputs: tuple[Tensor, ...], factors: Tensor | None
) -> None:
    """Refuse weights, inputs or factors of a shape that does not fit the architecture."""
    architecture = found.architecture
    if weights.ndim != 2 or weights.shape[1] != architecture.num_weights:
        raise ArchitectureError(
            f"weights must be (B, {architecture.num_weights}) for {architecture.summary}, "
            f"but got {tuple(weights.shape)}"
        )
    if len(inputs) < found.reads:
        raise ArchitectureError(f"the network reads {counted(found.reads, 'input')}, but got {len(inputs)}")
    if any(value.ndim < 1 for value in inputs) or len({len(value) for value in inputs}) > 1:
        raise ArchitectureError(
            f"each input must have K examples along its first axis, "
            f"but got {[tuple(value.shape) for value in inputs]}"
        )
    if factors is not None and (factors.ndim not in (1, 2) or factors.shape[-1] != len(architecture.layers)):
        raise ArchitectureError(
            f"factors must have one number for each of {len(architecture.layers)} layers, "
            f"but got {tuple(factors.shape)}"
        )
