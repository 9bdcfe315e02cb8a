"""Selections of a zoo, by expression, by mask and by position."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sneframe.architecture import Architecture
from sneframe.errors import ZooError
from sneframe.zoo import Zoo, create, open_zoo
from sneframe.zoo.column import Column
from sneframe.zoo.select import matches


@pytest.fixture
def zoo(small: Path) -> Zoo:
    return open_zoo(small, unhealthy=True)


# The columns of the zoo:
# step: 0 1 2 3 4 5 and four missing · accuracy: 0 .2 .4 .6 .8 1 .5 missing .25 .75
# act: relu tanh relu tanh relu tanh and four missing · big: six missing, then True False True True
# group: a a b b c d e e e e · the last network is unhealthy
@pytest.mark.parametrize(
    ("expression", "ids"),
    [
        ("step == 3", [3]),
        ("step != 3", [0, 1, 2, 4, 5]),
        ("not step == 3", [0, 1, 2, 4, 5, 6, 7, 8, 9]),
        ("step == step", [0, 1, 2, 3, 4, 5]),
        ("1 < step <= 4", [2, 3, 4]),
        ("5 > step > 2 > 1", [3, 4]),
        ("accuracy > 0.5 and healthy", [3, 4, 5]),
        ("accuracy > 0.5 and not healthy", [9]),
        ("accuracy < 0.3 or act == 'tanh'", [0, 1, 3, 5, 8]),
        ("act in ('tanh', 'gelu')", [1, 3, 5]),
        ("act not in ['tanh']", [0, 2, 4]),
        ("step in {1, 2.0, -3}", [1, 2]),
        ("group in ('a', 'd')", [0, 1, 5]),
        ("'el' in act", [0, 2, 4]),
        ("'el' not in act", [1, 3, 5]),
        ("'a/b' in architecture_summary", []),
        ("'2×2×2' in architecture_summary", [6, 7, 8, 9]),
        ("act < 'sigmoid'", [0, 2, 4]),
        ("step % 2 == 1", [1, 3, 5]),
        ("(step + 1) * 2 - 1 >= 9", [4, 5]),
        ("step ** 2 == 16", [4]),
        ("step // 2 == 1", [2, 3]),
        ("1 / step > 0.3", [0, 1, 2, 3]),
        ("0 / step == 0", [1, 2, 3, 4, 5]),
        ("-step < -3", [4, 5]),
        ("+step > 4", [5]),
        ("big", [6, 8, 9]),
        ("not big", [0, 1, 2, 3, 4, 5, 7]),
        ("big == False", [7]),
        ("(accuracy > 0.5) == healthy", [3, 4, 5]),
        ("row == 0", [0, 6]),
        ("True", list(range(10))),
        ("False or False", []),
        (" (healthy)\n", list(range(9))),
        ("step == 1.0", [1]),
    ],
)
def test_an_expression_selects(zoo: Zoo, expression: str, ids: list[int]) -> None:
    """Each kind of expression selects the expected networks."""
    assert zoo.where(expression).ids.tolist() == ids


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("stp == 3", "unknown column 'stp', did you mean 'step'? (known: accuracy, act, architecture"),
        ("config.act == 3", "unknown column 'config.act'"),
        ("step == '3'", "cannot compare 'step' (int) with \"'3'\" (string)"),
        ("act == 3", "cannot compare 'act' (string) with '3' (int)"),
        ("step", "a condition is needed, but 'step' is of kind int"),
        ("step and healthy", "a condition is needed, but 'step' is of kind int"),
        ("act + 1 == 2", "a number is needed, but 'act' is of kind string"),
        ("step == None", "'None' is not supported"),
        ("step is 3", "'step is 3' is not supported"),
        ("step in 3", "`in` needs a tuple or list of values, or two texts"),
        ("3 in step", "`in` needs a tuple or list of values, or two texts"),
        ("len(act) > 3", "'len(act)' is not supported"),
        ("__import__('os').system('true')", "is not supported"),
        ("act.__class__ == 1", "unknown column 'act.__class__'"),
        ("().__class__ == 1", "is not supported"),
        ("[x for x in step]", "is not supported"),
        ("lambda: step", "is not supported"),
        ("step[0] == 1", "'step[0]' is not supported"),
        ("f'{step}' == 'x'", "is not supported"),
        ("b'x' == act", "is not supported"),
        ("step == 1 if healthy else 2", "is not supported"),
        ("step << 1 == 2", "'step << 1' is not supported"),
        ("(step := 3) == 3", "is not supported"),
        ("step = 3", "cannot read 'step = 3'"),
        ("step ==", "cannot read"),
        ("", "cannot read ''"),
        ("step == 3; healthy", "cannot read"),
        ("step == \0", "cannot read"),
        ("1" * 400 + " == step", "does not fit into 64 bits"),
        ("(" * 250 + "step" + ")" * 250 + " == 3", "cannot read"),
        ("step" + " + 1" * 20_000 + " == 3", "nested too deeply"),
        ("not " * 50_000 + "healthy", "cannot read"),
    ],
)
def test_unsupported_expressions_are_named(zoo: Zoo, expression: str, message: str) -> None:
    """Unsupported expressions raise one line that names the problem; nothing is evaluated."""
    with pytest.raises(ZooError, match=re.escape(message)) as caught:
        zoo.where(expression)
    assert "\n" not in str(caught.value)


def test_dotted_column_names_are_columns(
    tmp_path: Path, architecture: Architecture, weights: Callable[..., dict[str, np.ndarray]]
) -> None:
    """A dotted name is read as a column name, not as an attribute."""
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, weights(architecture, 2), {"config.l2.reg": [0.0, 0.5]})
    assert open_zoo(tmp_path / "z.zarr").where("config.l2.reg > 0.1").ids.tolist() == [1]


COLUMNS = {"a": [1, -2, 3, 0, 7], "b": [0.5, 2.0, -1.0, 0.0, 3.0], "c": ["x", "y", "xy", "", "x"]}
NUMBERS = st.recursive(
    st.sampled_from(["a", "b", "1", "2.5", "-3"]),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(
        lambda p: f"({p[0]} {p[1]} {p[2]})"
    ),
    max_leaves=4,
)
CONDITIONS = st.recursive(
    st.tuples(NUMBERS, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), NUMBERS).map(" ".join)
    | st.sampled_from(["c == 'x'", "'x' in c", "c not in ('y', '')", "a in (1, 3)", "-2 <= a < b"]),
    lambda inner: (
        inner.map(lambda c: f"not ({c})")
        | st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})")
    ),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(CONDITIONS)
def test_expressions_agree_with_python(expression: str) -> None:
    """Without missing values, random expressions give the same result as Python's eval."""
    rows = [dict(zip(COLUMNS, values, strict=True)) for values in zip(*COLUMNS.values(), strict=True)]
    expected = [eval(expression, {}, row) for row in rows]
    found = matches(expression, lambda name: Column.of(name, COLUMNS[name]), 5)
    assert found.tolist() == expected


# -- selections by position ----------------------------------------------------------------------------------


def test_a_mask_selects(zoo: Zoo) -> None:
    """A list of bools selects the networks where it is true."""
    assert zoo.select([True, False] * 5).ids.tolist() == [0, 2, 4, 6, 8]


def test_positions_select_in_their_order(zoo: Zoo) -> None:
    """Positions give the networks in the order of the positions."""
    assert zoo.select([9, 0, 7]).ids.tolist() == [9, 0, 7]


def test_positions_refer_to_the_selection(zoo: Zoo) -> None:
    """Positions count within the selection, not within the whole zoo."""
    assert zoo.where("act == 'tanh'").select([2, 0]).ids.tolist() == [5, 1]


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([10], "there is no network at position 10; the selection has 10"),
        ([-1], "there is no network at position -1"),
        ([0, 1, 0], "a network can be selected only once, but position 0 occurs more than once"),
        ([0.0], "positions must be ints"),
        ([[0]], "positions must be ints"),
        ([True], "a mask must have shape (10,), but got (1,)"),
        (["a"], "positions must be ints"),
    ],
)
def test_impossible_positions_are_refused(zoo: Zoo, positions: Any, message: str) -> None:
    """Positions that do not exist, repeat or are no ints raise ZooError."""
    with pytest.raises(ZooError, match=re.escape(message)):
        zoo.select(positions)


def test_columns_have_the_order_of_the_selection(zoo: Zoo) -> None:
    """Columns, groups, splits and architectures follow the order of the selection."""
    some = zoo.select([8, 2, 6])
    assert some.column("accuracy").tolist() == [0.25, 0.4, 0.5]
    assert some.group.tolist() == ["e", "b", "e"]
    assert some.split("default").tolist() == [-1, 0, -1]
    assert some.column("row").tolist() == [2, 2, 0]
    assert [some.architectures[i] for i in some.architecture_index] == [
        zoo.architectures[1], zoo.architectures[0], zoo.architectures[1]
    ]  # fmt: skip
    assert some.column("architecture").tolist() == [some.architectures[i].id for i in some.architecture_index]


def test_only_architectures_that_occur_are_listed(zoo: Zoo) -> None:
    """A selection lists only architectures of its networks."""
    assert zoo.select([7, 6]).architectures == (zoo.architectures[1],)
    assert zoo.select([7, 6]).architecture_index.tolist() == [0, 0]
    assert zoo.select([]).architectures == ()


def test_a_batch_has_the_order_of_the_selection(zoo: Zoo) -> None:
    """The loaded batch has the ids and the order of the selection."""
    whole, some = zoo.load(), zoo.select([8, 2, 6, 0]).load()
    assert some.ids.tolist() == [8, 2, 6, 0]
    for position, network in enumerate([8, 2, 6, 0]):
        one, same = some.select([position]), whole.select([network])
        assert one.architectures == same.architectures
        assert one.networks[0].weights.equal(same.networks[0].weights)


def test_an_empty_selection_cannot_be_loaded(zoo: Zoo) -> None:
    """Loading an empty selection raises ZooError."""
    with pytest.raises(ZooError, match="no network is selected"):
        zoo.where("False").load()


def test_an_unknown_column_lists_the_choices(zoo: Zoo) -> None:
    """The error for an unknown column suggests a similar name and lists all."""
    with pytest.raises(
        ZooError, match=re.escape("unknown column 'accurcy', did you mean 'accuracy'? (known: ")
    ):
        zoo.column("accurcy")


def test_an_unknown_split_lists_the_choices(zoo: Zoo) -> None:
    """The error for an unknown split suggests a similar name and lists all."""
    with pytest.raises(
        ZooError, match=re.escape("unknown split 'defalt', did you mean 'default'? (known: default)")
    ):
        zoo.split("defalt")


def test_a_zoo_never_changes(zoo: Zoo) -> None:
    """Ids and attributes are read-only, and columns are copies."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        zoo.ids = np.zeros(1)  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        zoo.ids[0] = 3
    with pytest.raises(TypeError):
        zoo.attributes["name"] = "other"  # type: ignore[index]
    zoo.column("accuracy")[:] = 7
    zoo.column("act")[:] = "x"
    zoo.group[:] = "x"
    zoo.split("default")[:] = 2
    assert zoo.column("accuracy")[0] == 0
    assert zoo.column("act")[0] == "relu"
    assert zoo.group[0] == "a"
    assert zoo.split("default")[0] == 0
