"""Learn inputs at which networks are evaluated, called probes, for the input shapes of a training zoo.

Small inputs, such as the coordinates of an INR, are free: their numbers are trained one by one. All other
inputs come from one deep linear generator, as in ProbeGen (Kahana et al., ICLR 2025): each probe has a
latent code z, and linear layers without activations between them turn z into the input. Such a generator
gives similar probes, which overfit less than free pixels.

* An image is a sum of the lowest cosines along each axis (a discrete cosine transform backwards), and the
  generator gives the coefficients. So the same probe exists at every height and width. A grey image is the
  mean of the three channels of a colour image, so that one generator serves both.
* A text is made of soft tokens: at each position, the generator gives a weight for each row of the embedding.
  The weights are positive and their sum is 1. A network is evaluated with the mixture of these rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from einops import rearrange
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.errors import ArchitectureError
from sneframe.nn.input_shape import InputShape, shapes_of_inputs

COSINES = 64  #: number of cosines for each channel of an image, over all axes: 8 × 8 in two dimensions
SHARPNESS = 4.0  #: standard deviation of the logits of soft tokens at the start, so that few rows dominate


@final
class ProbeInputs(nn.Module):
    """K learned inputs for every architecture whose input shape is known.

    A size that a description does not tell is taken from ``size``; else from the recorded inputs of the other
    architectures, if they all agree. What was taken from there is said in :attr:`assumed`.

    Args:
        architectures: architectures of the training zoo.
        probes: K, the number of probes.
        size: height and width of images, or length of texts, for architectures that do not tell it.
        latent: width of the latent code of a probe.
        width: width of the hidden layer of the generator.
        free: largest count of numbers of a vector whose numbers are free.

    Attributes:
        assumed: one line for each input whose size was assumed.

    Raises:
        ArchitectureError: ``size`` does not fit an input whose size it should tell.
    """

    def __init__(
        self,
        architectures: Sequence[Architecture],
        *,
        probes: int,
        size: Sequence[int] = (),
        latent: int = 32,
        width: int = 64,
        free: int = 64,
    ) -> None:
        super().__init__()
        self.probes, self.size, self.limit = probes, tuple(size), free
        self.latent, self.width = latent, width
        self.assumed: list[str] = []
        self._resolved: dict[str, tuple[InputShape, ...] | str] = {}
        self._known: dict[str, str] = {}
        self._recorded = _recorded_in(architectures)
        self.codes, self.free = nn.ParameterDict(), nn.ParameterDict()
        self.last = nn.ModuleDict()
        self.generator = nn.Sequential(_linear(latent, width), _linear(width, width))
        for architecture in architectures:
            if self.lacks(architecture) is None:
                for number, shape in enumerate(self.shapes(architecture)):
                    self._build(number, shape)
        if not self.codes:
            self.generator = nn.Sequential()  # all inputs are free, so the generator has nothing to train

    def shapes(self, architecture: Architecture) -> tuple[InputShape, ...]:
        """Return the shape of each input of an architecture, with the sizes that are assumed.

        Raises:
            ArchitectureError: the shape of an input is not known.
        """
        if architecture.id not in self._resolved:
            try:
                self._resolved[architecture.id] = tuple(map(self._complete, shapes_of_inputs(architecture)))
            except ArchitectureError as error:
                self._resolved[architecture.id] = str(error)
        found = self._resolved[architecture.id]
        if isinstance(found, str):
            raise ArchitectureError(found)
        return found

    def lacks(self, architecture: Architecture) -> str | None:
        """Return why an architecture of the training zoo has no probes, in one line, or None if it has."""
        try:
            self.shapes(architecture)
        except ArchitectureError as error:
            return str(error)
        return None

    def forward(self, architecture: Architecture) -> tuple[Tensor, ...]:
        """Return the probes of an architecture: for each input of the network, a tensor ``(K, *shape)``.

        Soft tokens are ``(K, length, rows)``.

        Raises:
            ArchitectureError: the shape of an input is not known, or no probe has this shape.
        """
        return tuple(
            self._input(number, shape, architecture) for number, shape in enumerate(self.shapes(architecture))
        )

    # -- shapes ----------------------------------------------------------------------------------------------

    def _complete(self, shape: InputShape) -> InputShape:
        if shape.is_known:
            return shape
        if self.size:
            return self._say(shape.filled(self.size), "as the option says")
        fitting = {each for each in self._recorded if shape.fits(each)} or {
            each for each in self._recorded if _across_channels(shape).fits(each)
        }
        sizes = {each.shape[1:] if each.kind == "image" else each.shape for each in fitting}
        if len(sizes) != 1:
            some = (
                f"and the other networks have {len(sizes)} different sizes" if sizes else "and no other does"
            )
            raise ArchitectureError(
                f"{shape.reader} does not tell the size of its input ({shape.shown}), {some}; "
                f"give the size as an option, or describe the network with an example input"
            )
        return self._say(shape.filled(sizes.pop()), "as in the other networks")

    def _say(self, shape: InputShape, why: str) -> InputShape:
        line = f"the input of {shape.reader} is taken to be {shape.shown}, {why}"
        if line not in self.assumed:
            self.assumed.append(line)
        return shape

    # -- building --------------------------------------------------------------------------------------------

    def _build(self, number: int, shape: InputShape) -> None:
        """Add the weights that make the probes of one shape, unless there are any."""
        key = _key(number, shape)
        self._known[key] = _family(shape)
        if self._is_free(shape):
            if key not in self.free:
                self.free[key] = nn.Parameter(torch.rand(self.probes, *shape.shape) * 2 - 1)
            return
        if (code := _code(number, shape)) not in self.codes:
            positions = shape.shape if shape.kind == "tokens" else ()
            self.codes[code] = nn.Parameter(torch.randn(self.probes, *positions, self.latent))
        if key not in self.last:
            self.last[key] = _linear(self.width, _numbers(shape))

    def _is_free(self, shape: InputShape) -> bool:
        return shape.kind == "vector" and math.prod(shape.shape) <= self.limit

    # -- evaluating ------------------------------------------------------------------------------------------

    def _input(self, number: int, shape: InputShape, architecture: Architecture) -> Tensor:
        key = _key(number, shape)
        if key not in self.free and key not in self.last:
            known = ", ".join(dict.fromkeys(self._known.values())) or "no input"
            raise ArchitectureError(
                f"no probe has the shape of input {number + 1} of {architecture.summary}, {shape.shown}; "
                f"the probes were learned for: {known}"
            )
        if key in self.free:
            return self.free[key]
        values = self.last[key](self.generator(self.codes[_code(number, shape)]))
        if shape.kind == "tokens":
            return (SHARPNESS * values).softmax(dim=-1)
        if shape.kind == "vector":
            return values.unflatten(1, shape.shape)
        return _image(values, shape)


def _recorded_in(architectures: Sequence[Architecture]) -> list[InputShape]:
    """Return the input shapes that the architectures tell completely, each once."""
    found: dict[InputShape, None] = {}
    for architecture in architectures:
        try:
            found |= dict.fromkeys(shape for shape in shapes_of_inputs(architecture) if shape.is_known)
        except ArchitectureError:
            continue  # it says so when its probes are needed
    return list(found)


def _across_channels(shape: InputShape) -> InputShape:
    """Return the shape of an image with any number of channels, or of a text with the same tokens."""
    unknown = (-1,) * len(shape.shape)
    return InputShape(kind=shape.kind, shape=unknown, rows=shape.rows)


def _code(number: int, shape: InputShape) -> str:
    """Return the key of the latent codes: texts of each length have their own, other inputs share one."""
    return f"{number}_length_{shape.shape[0]}" if shape.kind == "tokens" else f"{number}"


def _key(number: int, shape: InputShape) -> str:
    """Return the key of the weights of the generator's last layer, or of the free numbers.

    Images have one key for all sizes, and grey and colour images have the same key.
    """
    if shape.kind == "image":
        channels = 3 if shape.shape[0] == 1 else shape.shape[0]
        return f"{number}_image_{channels}_channels_{len(shape.shape) - 1}d"
    rows = f"_of_{shape.rows}" if shape.kind == "tokens" else ""
    return f"{number}_{shape.kind}_{'x'.join(map(str, shape.shape))}{rows}"


def _family(shape: InputShape) -> str:
    """Return the shapes that have the same weights, in words."""
    if shape.kind == "image":
        channels = "1 or 3" if shape.shape[0] in {1, 3} else str(shape.shape[0])
        return f"{len(shape.shape) - 1}-dimensional images with {channels} channels"
    return shape.shown


def _numbers(shape: InputShape) -> int:
    """Return how many numbers the generator gives for one probe (for soft tokens, for one position)."""
    if shape.kind == "tokens":
        return shape.rows
    if shape.kind == "vector":
        return math.prod(shape.shape)
    channels, *size = shape.shape
    return (3 if channels == 1 else channels) * _along(len(size)) ** len(size)


def _along(dimensions: int) -> int:
    """Return the number of cosines along each axis of an image."""
    return round(COSINES ** (1 / dimensions))


def _image(coefficients: Tensor, shape: InputShape) -> Tensor:
    """Return images ``(K, channels, *size)`` from the coefficients ``(K, numbers)`` of their cosines."""
    channels, *size = shape.shape
    count = _along(len(size))
    image = coefficients.unflatten(1, (-1, *[count] * len(size)))
    for axis, length in enumerate(size, start=2):
        image = torch.movedim(torch.movedim(image, axis, -1) @ _cosines(count, length, image), -1, axis)
    return image.mean(dim=1, keepdim=True) * math.sqrt(3) if channels == 1 else image


def _cosines(count: int, length: int, like: Tensor) -> Tensor:
    """Return the lowest cosines at the positions of an axis, ``(count, length)``.

    Cosine u is divided by 1 + u, so that coefficients of one size give smooth images. The scale makes the
    mean square over all positions 1, if the coefficients have a variance of 1. Cosines that an axis is too
    short for are 0.
    """
    u = rearrange(torch.arange(count, device=like.device, dtype=like.dtype), "u -> u 1")
    place = (torch.arange(length, device=like.device, dtype=like.dtype) + 0.5) / length
    cosines = torch.where(u < length, (math.pi * u * place).cos() / (1 + u), 0)
    return cosines / cosines.square().mean(dim=1).sum().sqrt()


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer that keeps the variance of its input at the start."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(inputs))
    nn.init.zeros_(layer.bias)
    return layer
