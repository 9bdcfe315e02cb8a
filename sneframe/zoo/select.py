"""Evaluate the expressions of ``zoo.where``. The value of an expression is one bool for each network.

The text is parsed as a Python expression, but Python's ``eval`` is not used. Only the few kinds of syntax
node that make sense for columns are evaluated. A comparison with a missing value is false, whatever the
operator.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any, final

import numpy as np
from attrs import frozen

from sneframe.errors import ZooError
from sneframe.zoo.column import Column

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_SYNTAX = (
    "use and, or, not, comparisons, in (…), + - * / // % **, column names, numbers, strings, True, False"
)


def matches(expression: str, column: Callable[[str], Column], length: int) -> np.ndarray:
    """Return for which networks an expression is true, as bools of shape ``(length,)``.

    Args:
        expression: an expression such as ``step == 86 and test_accuracy > 0.5``.
        column: a function that returns a column by its name.
        length: the length of the columns.

    Raises:
        ZooError: a column is unknown, the expression is not supported, or its operands do not fit each other.
    """
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        with np.errstate(all="ignore"):
            return _Evaluation(expression.strip(), column, length).condition(tree)
    except SyntaxError as error:
        raise ZooError(f"cannot read {expression!r}: {error.msg}; {_SYNTAX}") from error
    except (RecursionError, MemoryError) as error:
        raise ZooError(f"cannot read {expression[:40]!r}…: the expression is nested too deeply") from error
    except ValueError as error:  # the text has a null byte, or a number with too many digits
        raise ZooError(f"cannot read {expression!r}: {error}") from error


@final
@frozen
class _Evaluation:
    expression: str
    column: Callable[[str], Column]
    length: int

    # -- syntax nodes that are conditions --------------------------------------------------------------------

    def condition(self, node: ast.expr) -> np.ndarray:
        """Evaluate a condition to bools of shape ``(length,)``. A missing value counts as false."""
        if isinstance(node, ast.BoolOp):
            conditions = [self.condition(part) for part in node.values]
            combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return np.asarray(combine.reduce(conditions))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.condition(node.operand)
        if isinstance(node, ast.Compare):
            return self._compare(node)
        value = self._value(node)
        if value.kind != "bool":
            raise ZooError(
                f"in {self.expression!r}: a condition is needed, but {self._text(node)!r} is of kind "
                f"{value.kind}"
            )
        return np.asarray(value.values & value.valid)

    def _compare(self, node: ast.Compare) -> np.ndarray:
        holds = np.ones(self.length, bool)
        left = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(op, ast.In | ast.NotIn):
                holds &= self._contained(left, right, negated=isinstance(op, ast.NotIn))
            elif type(op) in _COMPARISONS:
                holds &= self._pair(_COMPARISONS[type(op)], left, right)
            else:
                raise self._unsupported(node)
            left = right
        return holds

    def _pair(self, compare: Callable[[Any, Any], Any], left: ast.expr, right: ast.expr) -> np.ndarray:
        a, b = self._value(left), self._value(right)
        if (a.kind == "string") != (b.kind == "string"):
            raise ZooError(
                f"in {self.expression!r}: cannot compare {self._text(left)!r} ({a.kind}) with "
                f"{self._text(right)!r} ({b.kind})"
            )
        holds = np.asarray(a.valid & b.valid)
        holds[holds] = compare(a.values[holds], b.values[holds])
        return holds

    def _contained(self, left: ast.expr, right: ast.expr, *, negated: bool) -> np.ndarray:
        value = self._value(left)
        if isinstance(right, ast.Tuple | ast.List | ast.Set):
            holds = np.zeros(self.length, bool)
            for element in right.elts:
                holds |= self._pair(operator.eq, left, element)
            valid = value.valid
        else:
            container = self._value(right)
            if value.kind != "string" or container.kind != "string":
                raise ZooError(f"in {self.expression!r}: `in` needs a tuple or list of values, or two texts")
            valid = value.valid & container.valid
            holds = np.array(
                [part in whole for part, whole in zip(value.values, container.values, strict=True)], bool
            )
        return np.asarray(valid & (holds ^ negated))

    # -- syntax nodes that are values ------------------------------------------------------------------------

    def _value(self, node: ast.expr) -> Column:
        if isinstance(node, ast.Constant):
            return self._literal(node)
        if isinstance(node, ast.Name | ast.Attribute):
            return self.column(self._dotted(node))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            number = self._number(node.operand)
            values = -number.values if isinstance(node.op, ast.USub) else number.values
            return Column("float", values, number.valid)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = self._number(node.left), self._number(node.right)
            values = _ARITHMETIC[type(node.op)](left.values, right.values)
            return Column("float", values, left.valid & right.valid & ~np.isnan(values))
        if isinstance(node, ast.BoolOp | ast.Compare) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            return Column("bool", self.condition(node), np.ones(self.length, bool))
        raise self._unsupported(node)

    def _number(self, node: ast.expr) -> Column:
        value = self._value(node)
        if value.kind == "string":
            raise ZooError(
                f"in {self.expression!r}: a number is needed, but {self._text(node)!r} is of kind string"
            )
        return Column("float", value.values.astype(np.float64), value.valid)

    def _literal(self, node: ast.Constant) -> Column:
        if not isinstance(node.value, bool | int | float | str):
            raise self._unsupported(node)
        literal = Column.of(f"in {self.expression!r}", [node.value])
        return literal.take(np.zeros(self.length, np.int64))

    def _dotted(self, node: ast.expr) -> str:
        """Return the name of a column, which may have dots as in ``config.activation``."""
        if isinstance(node, ast.Attribute):
            return f"{self._dotted(node.value)}.{node.attr}"
        if isinstance(node, ast.Name):
            return node.id
        raise self._unsupported(node)

    def _text(self, node: ast.expr) -> str:
        return ast.get_source_segment(self.expression, node) or type(node).__name__

    def _unsupported(self, node: ast.expr) -> ZooError:
        return ZooError(f"in {self.expression!r}: {self._text(node)!r} is not supported; {_SYNTAX}")
