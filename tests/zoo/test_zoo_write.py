"""Writing a zoo: weights, health, properties, groups and splits that are accepted or refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sneframe.architecture import Architecture, Layer, Parameter
from sneframe.errors import MachineError, ZooError
from sneframe.zoo import create, open_zoo
from sneframe.zoo.column import Column

Weights = Callable[..., dict[str, np.ndarray]]


def refused(tmp_path: Path, architecture: Any, weights: Any, properties: Any = None, **more: Any) -> str:
    """Return the error of a refused append; check that the zoo can still be completed without it."""
    good = Architecture(layers=[Layer(kind="linear", parameters=[Parameter(name="good", shape=(1,))])])
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(good, {"good": np.ones((2, 1))}, {"loss": [1.0, 2.0]}, group=["a", "b"])
        with pytest.raises(ZooError) as caught:
            writer.append(architecture, weights, properties or {}, **({"group": "c"} | more))
        assert len(writer) == 2
    zoo = open_zoo(tmp_path / "z.zarr", unhealthy=True)
    zoo.verify()
    assert len(zoo) == 2
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{tmp_path / 'z.zarr'}: ")
    return message.removeprefix(f"{tmp_path / 'z.zarr'}: ")


def test_a_missing_parameter_is_named(tmp_path: Path, architecture: Architecture, weights: Weights) -> None:
    """The error names a parameter that is not given."""
    given = weights(architecture, 2)
    del given["0.bias"]
    assert refused(tmp_path, architecture, given).startswith("parameter '0.bias' is missing")


def test_an_unknown_parameter_is_named(tmp_path: Path, architecture: Architecture, weights: Weights) -> None:
    """The error suggests a similar parameter and lists all."""
    given = weights(architecture, 2)
    given["0.biass"] = given["0.bias"]
    message = refused(tmp_path, architecture, given)
    assert message == "unknown parameter '0.biass', did you mean '0.bias'? (known: 0.bias, 0.weight)"


def test_a_wrong_shape_says_which_is_needed(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """The error gives the needed and the given shape."""
    given = weights(architecture, 2) | {"0.bias": np.zeros((2, 4), np.float32)}
    message = refused(tmp_path, architecture, given)
    assert message == "parameter '0.bias': must have shape (2, 3), but got (2, 4)"


def test_one_network_without_its_axis_is_refused(tmp_path: Path, architecture: Architecture) -> None:
    """Weights without the axis of networks are refused."""
    given = {"0.weight": np.zeros((3, 2)), "0.bias": np.zeros(3)}
    assert (
        refused(tmp_path, architecture, given)
        == "parameter '0.weight': must have shape (3, 3, 2), but got (3, 2)"
    )


def test_different_numbers_of_networks_are_refused(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """All parameters of an append must have the same number of networks."""
    given = weights(architecture, 2) | {"0.bias": np.zeros((3, 3), np.float32)}
    message = refused(tmp_path, architecture, given)
    assert message == "parameter '0.bias': must have shape (2, 3), but got (3, 3)"


def test_a_scalar_for_a_parameter_is_refused(tmp_path: Path, architecture: Architecture) -> None:
    """A scalar instead of an array is refused."""
    given = {"0.weight": np.float32(1), "0.bias": np.float32(1)}
    message = refused(tmp_path, architecture, given)
    assert message == "parameter '0.weight': must have shape (n, 3, 2), but got ()"


def test_an_append_of_no_networks_is_refused(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """An append needs at least one network."""
    assert "needs at least one network" in refused(tmp_path, architecture, weights(architecture, 0))


@pytest.mark.parametrize("dtype", ["complex64", "S3", "O", "datetime64[s]", "longdouble"])
def test_a_type_that_cannot_be_stored_is_refused(
    tmp_path: Path, architecture: Architecture, dtype: str
) -> None:
    """Complex numbers, texts, objects and dates are refused as weights."""
    given = {"0.weight": np.zeros((2, 3, 2), dtype), "0.bias": np.zeros((2, 3))}
    assert "a zoo cannot store" in refused(tmp_path, architecture, given)


def test_another_type_than_earlier_is_refused(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """Ints cannot be appended to a parameter that is stored as floats."""
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, weights(architecture, 2), {})
        with pytest.raises(ZooError, match=r"'0\.bias': earlier networks have float32, but these"):
            writer.append(architecture, weights(architecture, 2) | {"0.bias": np.zeros((2, 3), int)}, {})


def test_big_endian_weights_are_stored(tmp_path: Path, architecture: Architecture, weights: Weights) -> None:
    """Big-endian arrays are stored with the right values."""
    given = weights(architecture, 2)
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, {name: values.astype(">f4") for name, values in given.items()}, {})
    ((_, _, tensors),) = open_zoo(tmp_path / "z.zarr").stored()
    assert np.array_equal(tensors["0.weight"].numpy(), given["0.weight"])


def test_something_else_than_an_architecture_is_refused(tmp_path: Path) -> None:
    """The first argument of append must be an Architecture."""
    assert refused(tmp_path, "mlp", {}) == "architecture must be an Architecture, but got str"


def test_attributes_that_are_not_json_are_refused(
    tmp_path: Path,
) -> None:
    """An architecture with a NaN attribute is refused before anything is written."""
    parameters = [Parameter(name="w", shape=(1,))]
    odd = Architecture(layers=[Layer(kind="linear", parameters=parameters, attributes={"x": float("nan")})])
    assert "must consist of JSON values" in refused(tmp_path, odd, {"w": np.zeros((1, 1))})


def test_chunks_that_were_written_are_widened(tmp_path: Path, make: Callable[..., Architecture]) -> None:
    """A float64 network after many float16 networks widens the stored chunks without loss."""
    wide, size = make({"w": (1 << 16,)}), 1 << 16
    rows = np.arange(300, dtype=np.float16)
    with create(tmp_path / "z.zarr", name="z") as writer:
        for row in rows:
            writer.append(wide, {"w": np.full((1, size), row)}, {})
        writer.append(wide, {"w": np.full((1, size), 0.1)}, {})
    loaded = open_zoo(tmp_path / "z.zarr")
    loaded.verify()
    weights = loaded.select([0, 150, 299, 300]).load().networks[0].weights
    assert weights[:, 0].tolist() == [0.0, 150.0, 299.0, np.float32(0.1)]


# -- health --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_a_network_with_nan_or_inf_is_unhealthy(
    tmp_path: Path, make: Callable[..., Architecture], value: float, dtype: str
) -> None:
    """A weight that is not finite makes its network unhealthy, in every float type."""
    import torch

    given = torch.zeros(3, 2).to(getattr(torch, dtype))
    given[1, 1] = value
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(make({"w": (2,), "n": ()}), {"w": given, "n": np.zeros(3, int)}, {})
    assert open_zoo(tmp_path / "z.zarr", unhealthy=True).healthy.tolist() == [True, False, True]


def test_a_nonfinite_network_cannot_be_called_healthy(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """The health of a network with infinite weights cannot be set to true."""
    given = weights(architecture, 3)
    given["0.bias"][2, 0] = np.inf
    message = refused(tmp_path, architecture, given, healthy=[True, False, True])
    assert message == "network 2 of this append cannot be healthy, because some weights are not finite"


def test_a_finite_network_can_be_called_unhealthy(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """A finite network can be marked as unhealthy."""
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, weights(architecture, 2), {}, healthy=[False, True])
    assert open_zoo(tmp_path / "z.zarr").ids.tolist() == [1]


@pytest.mark.parametrize("healthy", [[True], [1, 0], True, ["yes", "no"], [[True, True]]])
def test_health_of_a_wrong_form_is_refused(
    tmp_path: Path, architecture: Architecture, weights: Weights, healthy: Any
) -> None:
    """healthy must be a bool for each network."""
    assert refused(tmp_path, architecture, weights(architecture, 2), healthy=healthy).startswith(
        "healthy must be bool of shape (2,), but got "
    )


# -- properties ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], "1 values for 2 networks"),
        (3.0, "must have one value per network, but got shape ()"),
        ([[1.0], [2.0]], "must have one value per network, but got shape (2, 1)"),
        ([1, "a"], "all values must have the same kind, but got int, string"),
        ([True, 1], "all values must have the same kind, but got bool, int"),
        ([1 + 2j, 2j], "a value must be a float, int, bool or string, but got complex"),
        (np.zeros(2, complex), "a value must be a float, int, bool or string, but got complex128"),
        ([2**63, 0], "a value does not fit into 64 bits"),
        (np.array([2**63, 0], np.uint64), "a value does not fit into 64 bits"),
        (["\ud800", ""], "'\\ud800' cannot be encoded as UTF-8"),
        ([{}, {}], "a value must be a float, int, bool or string, but got dict"),
    ],
)
def test_a_property_of_a_wrong_form_is_refused(
    tmp_path: Path, architecture: Architecture, weights: Weights, values: Any, message: str
) -> None:
    """Wrong lengths, shapes, kinds and values of a property are refused with the reason."""
    assert (
        refused(tmp_path, architecture, weights(architecture, 2), {"x": values}) == f"property 'x': {message}"
    )


@pytest.mark.parametrize(
    "name", ["architecture", "row", "group", "healthy", "architecture_summary", "file", "x.valid"]
)
def test_a_reserved_property_name_is_refused(
    tmp_path: Path, architecture: Architecture, weights: Weights, name: str
) -> None:
    """Names of columns that every zoo has are refused for properties."""
    message = refused(tmp_path, architecture, weights(architecture, 1), {name: [1.0]})
    assert message.startswith(f"property {name!r}: this name is reserved")


@pytest.mark.parametrize("name", ["", "\ud800", 3])
def test_a_property_name_that_is_no_text_is_refused(
    tmp_path: Path, architecture: Architecture, weights: Weights, name: Any
) -> None:
    """A property name must be a non-empty text that UTF-8 can encode."""
    assert "a name must be" in refused(tmp_path, architecture, weights(architecture, 1), {name: [1.0]})


def test_a_property_cannot_change_its_kind(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """A property that was numbers cannot become text in a later append."""
    message = refused(tmp_path, architecture, weights(architecture, 1), {"loss": ["low"]})
    assert message == "property 'loss': all values must have the same kind, but got float, string"


@pytest.mark.parametrize(
    ("values", "stored", "said"),
    [
        (
            [[1], ["auto"], [0.5], [True], [None]],
            ["1", "auto", "0.5", "true", None],
            "1 bool such as True, 1 float",
        ),
        (
            [[2**53 + 1], [0.5]],
            [str(2**53 + 1), "0.5"],
            "1 float such as 0.5, 1 int such as 9007199254740993",
        ),
    ],
)
def test_mixed_kinds_can_become_text(
    tmp_path: Path, architecture: Architecture, weights: Weights, values: Any, stored: Any, said: str
) -> None:
    """With mixed_as_text, a property of several kinds is stored as text, with a warning."""

    def write() -> None:
        with create(tmp_path / "z.zarr", name="z", mixed_as_text=True) as zoo:
            for each in values:
                zoo.append(architecture, weights(architecture, 1), {"x": each})

    with pytest.warns(UserWarning, match=f"property 'x' is stored as text: {said}"):
        write()
    assert open_zoo(tmp_path / "z.zarr").typed_column("x").objects() == stored


def test_ints_and_floats_stay_numbers(tmp_path: Path, architecture: Architecture, weights: Weights) -> None:
    """With mixed_as_text, ints among floats still become floats, and one kind stays as it is."""
    with create(tmp_path / "z.zarr", name="z", mixed_as_text=True) as zoo:
        for x, y in ((1, None), (0.5, True)):
            zoo.append(architecture, weights(architecture, 1), {"x": [x], "y": [y]})
    found = open_zoo(tmp_path / "z.zarr")
    assert found.typed_column("x").objects() == [1.0, 0.5]
    assert found.typed_column("y").objects() == [None, True]


def test_ints_beside_floats_become_floats(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """Ints in one append and floats in another give floats."""
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, weights(architecture, 2), {"lr": [1, 2]})
        writer.append(architecture, weights(architecture, 1), {"lr": [0.5]})
    assert open_zoo(tmp_path / "z.zarr").column("lr").tolist() == [1.0, 2.0, 0.5]


def test_an_int_that_no_float_holds_is_not_rounded(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """An int beyond 2**53 cannot be appended to a column with floats."""
    with (  # noqa: PT012  # the whole block must fail
        pytest.raises(ZooError, match=re.escape("ints beyond 2**53")),
        create(tmp_path / "z.zarr", name="z") as writer,
    ):
        writer.append(architecture, weights(architecture, 1), {"id": [2**53 + 1]})
        writer.append(architecture, weights(architecture, 1), {"id": [0.5]})
    assert list(tmp_path.iterdir()) == []


def test_large_ints_and_floats_cannot_share_a_list() -> None:
    """In one list, ints up to 2**53 are accepted next to floats, larger ones are not."""
    assert Column.of("id", [0.5, 2**53]).values.tolist() == [0.5, 2.0**53]
    with pytest.raises(ZooError, match=re.escape("id: ints beyond 2**53")):
        Column.of("id", [0.5, 2**53 + 1])


def test_missing_values_fit_any_kind(tmp_path: Path, architecture: Architecture, weights: Weights) -> None:
    """An append with only missing values takes the kind of the other appends."""
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, weights(architecture, 1), {"act": [None], "never": [None]})
        writer.append(architecture, weights(architecture, 1), {"act": ["relu"]})
        writer.append(architecture, weights(architecture, 1), {"act": np.array([np.nan], object)})
    zoo = open_zoo(tmp_path / "z.zarr")
    assert zoo.column("act").tolist() == [None, "relu", None]
    assert np.isnan(zoo.column("never")).all()


def test_masked_values_are_missing(tmp_path: Path, architecture: Architecture, weights: Weights) -> None:
    """Masked entries of a numpy array are missing values."""
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(
            architecture, weights(architecture, 2), {"step": np.ma.array([7, 8], mask=[True, False])}
        )
    column = open_zoo(tmp_path / "z.zarr").typed_column("step")
    assert (column.kind, column.valid.tolist(), column.values[1]) == ("int", [False, True], 8)


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array(["a", "b"], dtype=np.dtypes.StringDType()), ["a", "b"]),
        (np.array([1, 2], np.uint8), [1, 2]),
        (np.array([0.1, 0.5], np.float32), [float(np.float32(0.1)), 0.5]),
        (np.array([True, False]), [True, False]),
        ((1, 2), [1, 2]),
    ],
)
def test_arrays_of_many_types_make_columns(
    tmp_path: Path, architecture: Architecture, weights: Weights, values: Any, found: list[Any]
) -> None:
    """Arrays of texts, ints, floats and bools become columns with these values."""
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, weights(architecture, 2), {"x": values})
    column = open_zoo(tmp_path / "z.zarr").column("x")
    assert column.tolist() == found
    assert [type(value) for value in column.tolist()] == [type(value) for value in found]


def test_missing_values_are_nan_or_none(small: Path) -> None:
    """Missing numbers and bools are read as NaN, missing texts as None."""
    from sneframe.zoo import open_zoo

    zoo = open_zoo(small)
    assert np.isnan(zoo.column("step")).tolist() == [False] * 6 + [True] * 3
    assert zoo.column("step").dtype == np.float64
    assert zoo.column("act").tolist()[5:7] == ["tanh", None]
    assert zoo.column("big")[6:].tolist() == [1.0, 0.0, 1.0]
    assert zoo.column("accuracy")[6] == 0.5
    assert np.isnan(zoo.column("accuracy")[7])


# -- groups --------------------------------------------------------------------------------------------------


def test_without_groups_every_network_is_its_own(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """Without groups, each network is a group of its own."""
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, weights(architecture, 2), {})
        writer.append(architecture, weights(architecture, 2), {})
    assert open_zoo(tmp_path / "z.zarr").group.tolist() == [0, 1, 2, 3]


def test_groups_are_kept_as_given(tmp_path: Path, architecture: Architecture, weights: Weights) -> None:
    """Groups can be an array, or one value for all networks of an append."""
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, weights(architecture, 2), {}, group=np.array([5, -7], np.int32))
        writer.append(architecture, weights(architecture, 2), {}, group=5)
    group = open_zoo(tmp_path / "z.zarr").group
    assert (group.tolist(), group.dtype) == ([5, -7, 5, 5], np.int64)


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (None, "must be given in every append or in none"),
        ([1, 2], "earlier groups are strings, but these are ints"),
        (["a"], "1 values for 2 networks"),
        ([0.5, 1.5], "must be ints or strings, but got floats"),
        ([True, False], "must be ints or strings, but got bools"),
        (["a", None], "every network needs a group, but network 1 of this append has none"),
    ],
)
def test_groups_that_do_not_fit_are_refused(
    tmp_path: Path, architecture: Architecture, weights: Weights, group: Any, message: str
) -> None:
    """Groups of wrong length or kind, or missing groups, are refused with the reason."""
    assert refused(tmp_path, architecture, weights(architecture, 2), group=group) == f"group: {message}"


# -- splits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ([0, 1], "must have one value per network, shape (3,), but got (2,)"),
        ([0, 1, 3], "values must be 0 (train), 1 (val), 2 (test) or -1 (unused)"),
        ([0.0, 1.0, 2.0], "values must be 0"),
        ([0, 1, 2], "group 'a' lies in train and in val"),
    ],
)
def test_a_split_that_does_not_fit_is_refused(
    tmp_path: Path, architecture: Architecture, weights: Weights, assignment: Any, message: str
) -> None:
    """Wrong values or lengths and divided groups are refused with the reason."""
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, weights(architecture, 3), {}, group=["a", "a", "b"])
        with pytest.raises(ZooError, match=re.escape(f"split 'default': {message}")):
            writer.split("default", assignment)
    assert open_zoo(tmp_path / "z.zarr").split_names == ()


def test_a_group_may_be_partly_unused(tmp_path: Path, architecture: Architecture, weights: Weights) -> None:
    """A group may have unused networks and lie in one part with the others."""
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, weights(architecture, 3), {}, group=["a", "a", "b"])
        writer.split("last steps", [-1, 0, 2])
    zoo = open_zoo(tmp_path / "z.zarr")
    assert zoo.split("last steps").tolist() == [-1, 0, 2]
    assert zoo.split("last steps").dtype == np.int8


def test_networks_added_after_a_split_make_it_too_short(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """A split must cover networks that are added after it."""
    with (  # noqa: PT012  # the whole block must fail
        pytest.raises(ZooError, match="split 's' has 2 values for 3 networks"),
        create(tmp_path / "z.zarr", name="z") as writer,
    ):
        writer.append(architecture, weights(architecture, 2), {})
        writer.split("s", [0, 1])
        writer.append(architecture, weights(architecture, 1), {})
    assert list(tmp_path.iterdir()) == []


def test_a_split_is_stored_once(tmp_path: Path, architecture: Architecture, weights: Weights) -> None:
    """A second split of the same name is refused."""
    with create(tmp_path / "z.zarr", name="z") as writer:
        writer.append(architecture, weights(architecture, 1), {})
        writer.split("s", [0])
        with pytest.raises(ZooError, match="split 's' is stored already"):
            writer.split("s", [1])


# -- the zoo itself ------------------------------------------------------------------------------------------


def test_an_empty_zoo_is_refused(tmp_path: Path) -> None:
    """A zoo without networks raises and leaves nothing."""
    with pytest.raises(ZooError, match="needs at least one network"), create(tmp_path / "z.zarr", name="z"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_appending_outside_the_with_block_is_refused(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """append works only inside the with block."""
    writer = create(tmp_path / "z.zarr", name="z")
    with pytest.raises(ZooError, match="inside `with create"):
        writer.append(architecture, weights(architecture, 1), {})
    assert list(tmp_path.iterdir()) == []


def test_an_existing_path_is_refused(small: Path) -> None:
    """An existing path raises at once, and its zoo is unchanged."""
    before = open_zoo(small).digest
    with pytest.raises(ZooError, match=r"exists already; .* \(--overwrite\)"):
        create(small, name="z")
    assert open_zoo(small).digest == before


def test_overwriting_replaces_the_zoo(small: Path, architecture: Architecture, weights: Weights) -> None:
    """The old zoo can be read until the new one is complete."""
    with create(small, name="new", overwrite=True) as writer:
        writer.append(architecture, weights(architecture, 1), {})
        assert open_zoo(small).name == "small"
    zoo = open_zoo(small)
    zoo.verify()
    assert (zoo.name, len(zoo)) == ("new", 1)
    assert [file.name for file in small.parent.iterdir()] == [small.name]


def test_a_failed_overwrite_leaves_the_old_zoo(
    small: Path, architecture: Architecture, weights: Weights
) -> None:
    """An exception while overwriting keeps the old zoo."""
    with pytest.raises(RuntimeError), create(small, name="new", overwrite=True) as writer:  # noqa: PT012
        writer.append(architecture, weights(architecture, 1), {})
        raise RuntimeError
    open_zoo(small).verify()
    assert open_zoo(small).name == "small"
    assert [file.name for file in small.parent.iterdir()] == [small.name]


def test_only_a_zoo_is_overwritten(tmp_path: Path) -> None:
    """Files and folders that are not zoos are never overwritten."""
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("")
    (tmp_path / "file").write_text("")
    for name in ("thesis", "file"):
        with pytest.raises(ZooError, match="exists and is not a zoo; only a zoo can be overwritten"):
            create(tmp_path / name, name="z", overwrite=True)
    assert (tmp_path / "thesis" / "chapter.tex").exists()


def test_a_half_built_zoo_can_be_overwritten(
    small: Path, architecture: Architecture, weights: Weights
) -> None:
    """A zoo without a manifest can be overwritten."""
    (small / "zarr.json").unlink()
    with create(small, name="again", overwrite=True) as writer:
        writer.append(architecture, weights(architecture, 1), {})
    assert open_zoo(small).name == "again"


def test_folders_above_the_zoo_are_made(tmp_path: Path, architecture: Architecture, weights: Weights) -> None:
    """Missing parent folders are made."""
    with create(tmp_path / "a" / "b" / "z.zarr", name="z") as writer:
        writer.append(architecture, weights(architecture, 1), {})
    assert len(open_zoo(tmp_path / "a" / "b" / "z.zarr")) == 1


def test_an_impossible_folder_raises_machine_error(tmp_path: Path) -> None:
    """A path below a file raises MachineError with exit code 1."""
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError) as caught, create(tmp_path / "file" / "z.zarr", name="z"):
        pass
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("key", ["name", "description", "licence", "source"])
def test_a_text_must_be_a_string(tmp_path: Path, key: str) -> None:
    """Name, description, licence and source must be strings."""
    with pytest.raises(ZooError, match=f"{key} must be a string, but got 3"):
        create(tmp_path / "z.zarr", **({"name": "z"} | {key: 3}))  # type: ignore[arg-type]


@pytest.mark.parametrize("builder", [{"lr": float("nan")}, {"path": Path()}, {"x": {1, 2}}])
def test_a_builder_that_is_no_json_is_refused(tmp_path: Path, builder: dict[str, Any]) -> None:
    """Builder attributes must be JSON values."""
    with pytest.raises(ZooError, match="builder must consist of JSON values"):
        create(tmp_path / "z.zarr", name="z", builder=builder)


def test_numpy_scalars_in_a_builder_become_numbers(
    tmp_path: Path, architecture: Architecture, weights: Weights
) -> None:
    """numpy scalars and tuples in builder attributes become JSON numbers and lists."""
    builder = {"seed": np.int64(3), "lr": np.float32(0.5), "sizes": (1, 2)}
    with create(tmp_path / "z.zarr", name="z", builder=builder) as writer:
        writer.append(architecture, weights(architecture, 1), {})
    assert open_zoo(tmp_path / "z.zarr").attributes["builder"] == {"seed": 3, "lr": 0.5, "sizes": [1, 2]}
