"""Find the shape of the inputs of a network from its architecture.

An architecture that was derived with an example input records the shapes. Otherwise the first layers tell
some of them: a linear layer has one column for each value of its input. A convolution has one channel for
each channel of its images, but does not tell their height and width, and an embedding does not tell the
length of a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

from attrs import evolve, field, frozen

from sneframe.architecture import Architecture, Layer
from sneframe.errors import ArchitectureError

Kind = Literal["vector", "image", "tokens"]

#: Number of axes of positions that a convolution slides over.
DIMENSIONS = {f"conv{prefix}{n}d": n for prefix in ("", "_transpose") for n in (1, 2, 3)}
#: Kinds of layers whose output has the shape of their input, or only flattens it.
THROUGH = ("activation", "batch_norm", "flatten", "function", "parameter")
UNKNOWN = -1  #: a size that the description does not tell


def _ints(values: Iterable[int]) -> tuple[int, ...]:
    return tuple(values)


@frozen(kw_only=True)
class InputShape:
    """The shape of one input of a network, without the axis of examples.

    Args:
        kind: ``vector`` for numbers of any shape, ``image`` for channels with axes of positions, ``tokens``
            for the numbers of rows of an embedding.
        shape: ``(n,)`` or any other shape for a vector, ``(channels, *size)`` for an image, ``(length,)`` for
            tokens. A size is −1 if the description does not tell it.
        rows: number of rows of the embedding, for tokens.
        reader: the first layer that reads the input, for messages.
    """

    kind: Kind
    shape: tuple[int, ...] = field(converter=_ints)
    rows: int = 0
    reader: str = field(default="", eq=False)

    @property
    def is_known(self) -> bool:
        """Whether the description tells all sizes."""
        return UNKNOWN not in self.shape

    @property
    def shown(self) -> str:
        """The shape in words, such as ``image 1×28×28``."""
        sizes = "×".join("?" if size == UNKNOWN else str(size) for size in self.shape)
        return f"{self.kind} {sizes or 'of one number'}" + (f" of {self.rows} tokens" if self.rows else "")

    def fits(self, other: InputShape) -> bool:
        """Return whether the two shapes are equal wherever this shape is known."""
        return (self.kind, self.rows, len(self.shape)) == (other.kind, other.rows, len(other.shape)) and all(
            own in (UNKNOWN, size) for own, size in zip(self.shape, other.shape, strict=True)
        )

    def filled(self, size: tuple[int, ...]) -> InputShape:
        """Return the shape with the unknown sizes replaced by ``size``, one number for each or one for all.

        Raises:
            ArchitectureError: the count of numbers does not fit.
        """
        unknown = [place for place, own in enumerate(self.shape) if own == UNKNOWN]
        sizes = size * len(unknown) if len(size) == 1 else size
        if len(sizes) != len(unknown):
            raise ArchitectureError(
                f"the size of an input ({self.shown}) must have 1 or {len(unknown)} numbers, but got "
                f"{list(size)}"
            )
        shape = list(self.shape)
        for place, number in zip(unknown, sizes, strict=True):
            shape[place] = number
        return evolve(self, shape=shape)


def shapes_of_inputs(architecture: Architecture) -> tuple[InputShape, ...]:
    """Return the shape of each input of a network, as far as the description tells it.

    Raises:
        ArchitectureError: neither a record nor the layers tell the shape of an input.
    """
    recorded: tuple[tuple[int, ...], ...] = getattr(architecture, "input_shapes", ())
    first = min((place for layer in architecture.layers for place in _reads(layer)), default=-1)
    count = len(recorded) or max(1, -first)
    return tuple(
        _recorded(architecture, number, recorded[number]) if recorded else _derived(architecture, number)
        for number in range(count)
    )


def _recorded(architecture: Architecture, number: int, shape: tuple[int, ...]) -> InputShape:
    readers = [index for index, layer in enumerate(architecture.layers) if -1 - number in _reads(layer)]
    named = _named(architecture, readers[0]) if readers else ""
    for index in readers:
        layer = architecture.layers[index]
        if layer.kind == "embedding" and layer.parameters:
            return InputShape(kind="tokens", shape=shape, rows=layer.parameters[0].shape[0], reader=named)
    kinds = {architecture.layers[index].kind for index in _followed(architecture, -1 - number)}
    is_image = kinds & DIMENSIONS.keys() or len(shape) > 2
    return InputShape(kind="image" if is_image else "vector", shape=shape, reader=named)


def _derived(architecture: Architecture, number: int) -> InputShape:
    for index in _followed(architecture, -1 - number):
        layer = architecture.layers[index]
        weight = next((p for p in layer.parameters if p.role == "weight"), None)
        if weight is None:
            continue
        named = _named(architecture, index)
        if layer.kind == "linear" and len(weight.shape) == 2:
            return InputShape(kind="vector", shape=weight.shape[1:], reader=named)
        if layer.kind in DIMENSIONS:
            across = layer.kind.startswith("conv_transpose")
            channels = weight.shape[0] if across else weight.shape[1] * layer.attributes.get("groups", 1)
            sizes = (UNKNOWN,) * DIMENSIONS[layer.kind]
            return InputShape(kind="image", shape=(channels, *sizes), reader=named)
        if layer.kind == "embedding":
            return InputShape(kind="tokens", shape=(UNKNOWN,), rows=weight.shape[0], reader=named)
        if layer.kind == "layer_norm":
            return InputShape(kind="vector", shape=weight.shape, reader=named)
    raise ArchitectureError(
        f"the shape of input {number + 1} of {architecture.summary} is not recorded, and its first layers "
        f"do not tell it; describe the network with an example input"
    )


def _reads(layer: Layer) -> tuple[int, ...]:
    """Return what a layer reads: indices of layers, −1 for the first input of the network, and so on."""
    if layer.kind == "constant" or layer.attributes.get("operation") == "value":
        return ()
    return layer.inputs or (-1,)


def _followed(architecture: Architecture, source: int) -> Iterator[int]:
    """Yield the layers that read an input, directly or through layers that keep its values apart."""
    carried = {source}
    for index, layer in enumerate(architecture.layers):
        if carried.intersection(_reads(layer)):
            yield index
            if layer.kind in THROUGH:
                carried.add(index)


def _named(architecture: Architecture, index: int) -> str:
    layer = architecture.layers[index]
    name = f" {layer.parameters[0].name!r}" if layer.parameters else ""
    return f"layer {index} ({layer.kind}{name})"
