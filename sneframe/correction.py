"""Define a correction: a function that maps predicted values to better values, and keeps their order."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from attrs import field, frozen


def _numbers(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


@frozen(kw_only=True)
class Correction:
    """A non-decreasing, piecewise linear function of predicted values, in the unit of the property.

    Between two knots the function is a straight line. Outside of the knots it goes on with one slope: 0 keeps
    the value of the nearest knot, and 1 keeps the distance to it.

    Args:
        x: the predicted values at K knots, strictly increasing.
        y: the corrected values at the K knots, not decreasing.
        slope: the slope outside of the knots, not negative.

    Raises:
        ValueError: the knots or the slope are not as described here.
    """

    x: tuple[float, ...] = field(converter=_numbers)
    y: tuple[float, ...] = field(converter=_numbers)
    slope: float = field(converter=float)

    def __attrs_post_init__(self) -> None:
        numbers = (*self.x, *self.y, self.slope)
        if len(self.x) != len(self.y) or not self.x or not all(map(math.isfinite, numbers)):
            raise ValueError(
                f"a correction needs as many finite x as y, at least one, but got {self.x} and {self.y}"
            )
        if np.any(np.diff(self.x) <= 0) or np.any(np.diff(self.y) < 0) or self.slope < 0:
            raise ValueError(
                f"a correction must not change the order of values, but got x = {self.x}, y = {self.y} and "
                f"slope = {self.slope}"
            )

    @classmethod
    def shift(cls, by: float) -> Correction:
        """Return the correction that adds a number to every value."""
        return cls(x=(0.0,), y=(by,), slope=1.0)

    @classmethod
    def affine(cls, slope: float, intercept: float) -> Correction:
        """Return the correction ``slope · value + intercept``.

        Raises:
            ValueError: the slope is negative.
        """
        return cls(x=(0.0,), y=(intercept,), slope=slope)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return the corrected values, float64, of predicted values of any shape."""
        values = np.asarray(values, np.float64)
        outside = values - values.clip(self.x[0], self.x[-1])
        return np.asarray(np.interp(values, self.x, self.y) + self.slope * outside)
