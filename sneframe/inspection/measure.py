"""Measure one parameter: its norms, its spectrum, its rows, and the initialiser that it looks like."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import numpy as np
import torch
from attrs import evolve, field, frozen
from torch import Tensor

from sneframe.inspection.initialiser import initialiser_of
from sneframe.inspection.power_law import PowerLaw, fit_power_law
from sneframe.inspection.spectrum import EXACT, Spectrum, as_matrix, spectrum_of

BLOCK = 1 << 20  #: weights that are converted to double precision at a time
#: A weight counts as near zero if it is smaller than this fraction of the root mean square of its parameter.
NEAR_ZERO = 0.01


@frozen(kw_only=True)
class MatrixRows:
    """The rows of a matrix, or of a kernel: the weights of one output each.

    Args:
        norms: the smallest norm, the median and the largest.
        zero: number of rows of zeros.
        constant: number of rows whose weights are all the same, but not zero.
        copies: number of rows that repeat an earlier row, without rows of zeros.
    """

    norms: tuple[float, float, float]
    zero: int
    constant: int
    copies: int


@frozen(kw_only=True, eq=False)
class Measured:
    """What was measured of a parameter.

    Args:
        name: name in the state dict.
        shape: shape.
        kind: kind of the layer that owns the parameter.
        role: purpose of the parameter in its layer, such as ``weight`` or ``bias``.
        dtype: type of the numbers, such as ``float32``.
        digest: hash of type, shape and values. Two parameters with the same values have the same digest.
        lacking: number of values that are NaN or infinite. If it is not 0, nothing below is measured.
        mean: mean of the weights.
        rms: root mean square of the weights.
        largest: largest magnitude.
        kurtosis: fourth central moment over the squared variance, 3 for a normal distribution. None if all
            weights are equal.
        zero: fraction of the weights that are exactly 0.
        near_zero: fraction of the weights below a hundredth of ``rms``, zeros included.
        spectrum: singular values of ``(out, in · kernel)``; None for a vector, and if a side is 1.
        power_law: tail of the squared singular values; None if there are too few, or not all are known.
        rows: the rows of a matrix; None for a vector.
        initialiser: the initialiser that the weights cannot be told from, or None.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    role: str
    dtype: str
    digest: str
    lacking: int = 0
    mean: float | None = None
    rms: float | None = None
    largest: float | None = None
    kurtosis: float | None = None
    zero: float | None = None
    near_zero: float | None = None
    spectrum: Spectrum | None = field(default=None, repr=False)
    power_law: PowerLaw | None = None
    rows: MatrixRows | None = None
    initialiser: str | None = None

    @property
    def size(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def frobenius(self) -> float | None:
        """The Frobenius norm."""
        return None if self.rms is None else self.rms * math.sqrt(self.size)


def measure(
    name: str, values: Tensor, *, kind: str = "", role: str = "weight", exact: int = EXACT
) -> Measured:
    """Measure a parameter.

    Args:
        name: its name.
        values: its values, of a floating-point type.
        kind: kind of its layer.
        role: its purpose in the layer.
        exact: length of the smaller side up to which all singular values are computed.
    """
    values = values.detach()
    lacking = sum(int((~block.isfinite()).sum()) for block in _blocks(values))
    matrix = as_matrix(values) if values.ndim > 1 else None
    rows, digest = _rows(values if matrix is None else matrix)
    dtype, shape = str(values.dtype).removeprefix("torch."), tuple(values.shape)
    head = Measured(
        name=name,
        shape=shape,
        kind=kind,
        role=role,
        dtype=dtype,
        digest=hashlib.blake2b(f"{dtype} {shape}".encode() + digest).hexdigest()[:16],
        lacking=lacking,
    )
    if lacking:
        return head
    total = square = largest = zeros = 0.0
    for block in _blocks(values):
        total += float(block.sum())
        square += float(block.square().sum())
        zeros += int((block == 0).sum())
        largest = max(largest, float(block.abs().max()))
    count = values.numel()
    mean, rms = total / count, math.sqrt(square / count)
    second = fourth = near = 0.0
    for block in _blocks(values):
        squares = (block - mean).square()
        second += float(squares.sum())
        fourth += float(squares.square().sum())
        near += int((block.abs() <= NEAR_ZERO * rms).sum())
    wide = matrix is not None and min(matrix.shape) > 1
    spectrum = spectrum_of(matrix, exact=exact) if matrix is not None and wide else None
    kurtosis = fourth * count / second**2 if second > 1e-24 * max(square, 1e-300) else None
    return evolve(
        head,
        mean=mean,
        rms=rms,
        largest=largest,
        kurtosis=kurtosis,
        zero=zeros / count,
        near_zero=near / count,
        spectrum=spectrum,
        power_law=None if spectrum is None or not spectrum.complete else fit_power_law(spectrum.values),
        rows=rows if matrix is not None else None,
        initialiser=initialiser_of(values, kurtosis=kurtosis, spectrum=spectrum),
    )


def _blocks(values: Tensor) -> Iterator[Tensor]:
    """Yield the values in double precision, one block after the other."""
    for block in values.reshape(-1).split(BLOCK):
        yield block.double()


def _rows(matrix: Tensor) -> tuple[MatrixRows, bytes]:
    """Return what the rows of a matrix are like, and a hash of all its bytes."""
    flat = matrix.reshape(len(matrix), -1) if matrix.ndim else matrix.reshape(1, 1)
    norms: list[np.ndarray] = []
    zero = constant = copies = 0
    seen: set[bytes] = set()
    whole = hashlib.blake2b()
    for some in flat.split(max(1, BLOCK // max(1, flat.shape[1]))):
        norms.append(some.double().norm(dim=1).numpy())
        same = (some == some[:, :1]).all(1)
        none = (some == 0).all(1)
        zero += int(none.sum())
        constant += int((same & ~none).sum()) if flat.shape[1] > 1 else 0
        numbers = some.contiguous().view(torch.uint8).reshape(len(some), -1).numpy()
        whole.update(numbers.tobytes())
        for row, empty in zip(numbers, none.tolist(), strict=True):
            if empty or flat.shape[1] == 1:
                continue
            digest = hashlib.blake2b(row.tobytes(), digest_size=8).digest()
            copies += digest in seen
            seen.add(digest)
    every = np.concatenate(norms)
    ends = (
        (float(np.nanmin(every)), float(np.nanmedian(every)), float(np.nanmax(every)))
        if len(every)
        else (0.0,) * 3
    )
    return MatrixRows(norms=ends, zero=zero, constant=constant, copies=copies), whole.digest()
