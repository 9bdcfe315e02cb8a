"""Choose the task of a property, and fit it to the training networks."""

from __future__ import annotations

import numpy as np

from sneframe.errors import ZooError
from sneframe.tasks.category import Category, labels
from sneframe.tasks.number import Fraction, LogRegression, Regression
from sneframe.tasks.task import Task
from sneframe.zoo.column import Column, no_category

SPREAD = 0.1  #: a property in [0, 1] is a fraction only if its training values span at least this much


def make_task(name: str, training: Column, *, kind: str = "auto", fitted: bool = False) -> Task:
    """Return the task of a property, fitted to the training networks.

    Args:
        name: name of the property.
        training: the values of the property in the training networks.
        kind: ``regression``, ``fraction``, ``log`` or ``category``. ``auto`` makes texts and bools a
            category. It makes floats in [0, 1] that span at least 0.1 a fraction, and regresses all other
            numbers.
        fitted: whether the head is fitted by squared error. A fraction is then regressed.

    Raises:
        ZooError: the values do not suit ``kind``, or all values are equal. With ``auto``, texts are an
            error, too, if more than half of them are distinct, or if at least a tenth are numbers.
    """
    if kind == "auto":
        kind = _kind_of(training)
        if (reason := no_category(training)) is not None:
            raise ZooError(
                f"property {name!r} is text, {reason}; if the property is a category, set zoo.task = category"
            )
    if kind == "category":
        return Category.fit(name, labels(training), fitted=fitted)
    if training.kind in ("string", "bool"):
        raise ZooError(
            f"property {name!r} holds {training.kind}s, so zoo.task must be 'category', but got {kind!r}"
        )
    values = training.values.astype(np.float64)
    if kind == "regression":
        return Regression.fit(name, values)
    if kind == "log":
        return LogRegression.fit(name, values)
    if values.min() < 0 or values.max() > 1:
        raise ZooError(
            f"property {name!r} has values in [{values.min():g}, {values.max():g}], but a fraction must be "
            f"in [0, 1]; set zoo.task = 'regression'"
        )
    regressed = Regression.fit(name, values, within=(0.0, 1.0))  # raises ZooError if all values are equal
    return regressed if fitted else Fraction(name=name, mean=regressed.mean)


def _kind_of(column: Column) -> str:
    if column.kind in ("string", "bool"):
        return "category"
    if column.kind == "int":
        return "regression"
    low, high = column.values.min(), column.values.max()
    return "fraction" if low >= 0 and high <= 1 and high - low >= SPREAD else "regression"
