"""Architectures are values: equal content gives an equal id, and inconsistent content is refused."""

import json

import pytest
import torch
from attrs import evolve

from sneframe.architecture import Architecture, Layer, NeuronGroup, Parameter
from sneframe.errors import ArchitectureError


def residual() -> Architecture:
    """Return an architecture with a skip connection around two linear layers."""
    return Architecture(
        groups=[
            NeuronGroup(name="stream", size=4),
            NeuronGroup(name="inner", size=6, actions=["permute", "scale"]),
        ],
        layers=[
            Layer(
                kind="linear",
                parameters=[Parameter(name="in.weight", shape=(4, 2), axes=[[["stream"]], [[2]]])],
            ),
            Layer(
                kind="linear",
                inputs=[0],
                activation="relu",
                parameters=[Parameter(name="a.weight", shape=(6, 4), axes=[[["inner"]], [["stream"]]])],
            ),
            Layer(
                kind="linear",
                inputs=[1],
                parameters=[Parameter(name="b.weight", shape=(4, 6), axes=[[["stream"]], [["inner"]]])],
            ),
            Layer(kind="add", inputs=[0, 2]),
            Layer(
                kind="linear",
                inputs=[3],
                attributes={"note": 1.5},
                parameters=[Parameter(name="out.weight", shape=(1, 4), axes=[[[1]], [["stream"]]])],
            ),
        ],
    )


def test_json_round_trip_keeps_the_architecture():
    """An architecture that went through JSON is equal and has the same id."""
    there = json.loads(json.dumps(residual().to_json()))
    assert Architecture.from_json(there) == residual()
    assert Architecture.from_json(there).id == residual().id


def test_id_is_the_hash_of_the_canonical_json():
    """The id is the beginning of the SHA-256 of the canonical JSON."""
    import hashlib

    found = residual()
    assert found.id == hashlib.sha256(found.canonical().encode()).hexdigest()[:16]


def test_another_activation_is_another_architecture():
    """Two architectures that differ in an activation are not equal."""
    changed = residual().to_json()
    changed["layers"][1]["activation"] = "tanh"
    assert Architecture.from_json(changed) != residual()


def test_levels_follow_the_longest_path():
    """The level of a layer counts the layers with parameters before it on the longest path."""
    assert residual().levels == (0, 1, 2, 3, 3)
    assert residual().depth == 4


def test_offsets_and_sizes_follow_the_parameters():
    """Offsets and the number of weights follow from the sizes of the parameters."""
    assert residual().offsets == (0, 8, 32, 56)
    assert residual().num_weights == 60
    assert residual().layer_of_parameter == (0, 1, 2, 4)


def weight(**options):
    return Architecture(
        groups=options.pop("groups", ()),
        layers=[Layer(kind="linear", parameters=[Parameter(name="w", **options)])],
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: weight(shape=(3,), axes=[[["g"]]]), "unknown group 'g'"),
        (
            lambda: weight(shape=(3,), axes=[[["g"]]], groups=[NeuronGroup(name="g", size=2)]),
            "add up to 2, but the size of the axis is 3",
        ),
        (lambda: weight(shape=(3, 2), axes=[[[3]]]), "1 axes are described"),
        (lambda: NeuronGroup(name="g", size=0), "at least 1"),
        (lambda: NeuronGroup(name="g", size=2, actions=["rotate"]), "unknown action 'rotate'"),
        (lambda: Architecture(layers=[]), "at least one parameter"),
        (lambda: Architecture(layers=[Layer(kind="add", inputs=[0])]), "must be earlier layers"),
        (
            lambda: Architecture(
                layers=[Layer(kind="linear", parameters=[Parameter(name="w", shape=(1,))] * 2)]
            ),
            "'w' is described twice",
        ),
        (lambda: weight(shape=(2,), groups=[NeuronGroup(name="g", size=2)] * 2), "'g' is described twice"),
        (lambda: weight(shape=(2,), groups=[NeuronGroup(name="g", size=2, parent="h")]), "parent 'h'"),
        (lambda: Architecture.from_json({"layers": []}), "the key 'groups' is missing"),
    ],
)
def test_inconsistent_architectures_are_refused(make, reason):
    """An inconsistent group, layer or parameter raises an error that says what is wrong."""
    with pytest.raises(ArchitectureError, match=reason):
        make()


def test_inputs_and_outputs_are_part_of_the_architecture():
    """What is recorded of inputs and outputs is kept, and makes another architecture."""
    full = evolve(residual(), input_shapes=[[2], (3, 4)], outputs=[3, 4])
    assert full.input_shapes == ((2,), (3, 4))
    assert Architecture.from_json(json.loads(json.dumps(full.to_json()))) == full
    assert len({full.id, evolve(full, outputs=(4,)).id, evolve(full, input_shapes=()).id, residual().id}) == 4


def test_what_is_not_recorded_has_no_key():
    """An architecture without recorded inputs and outputs has the keys, and so the id, that it always had."""
    assert set(residual().to_json()) == {"symmetry", "groups", "layers"}


def test_a_layer_may_read_the_input_of_the_network_and_a_layer():
    """Inputs of the network are negative, and count for no level."""
    whole = residual().to_json()
    whole["layers"][3]["inputs"] = [-1, 2, 2]
    found = Architecture.from_json(whole)
    assert found.layers[3].inputs == (-1, 2, 2)
    assert found.layers[3].earlier == (2, 2)
    assert found.levels == (0, 1, 2, 3, 3)
    whole["layers"][4]["inputs"] = [-2]
    assert Architecture.from_json(whole).levels == (0, 1, 2, 3, 0)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"outputs": [5]}, "outputs must be indices of the 5 layers, but got \\(5,\\)"),
        ({"outputs": [-1]}, "outputs must be indices of the 5 layers"),
        ({"input_shapes": [(2,)]}, "layer 3 \\(add\\) reads input 2 of the network, but 1 are described"),
    ],
)
def test_inputs_and_outputs_that_do_not_exist_are_refused(options, reason):
    """An output is a layer, and no layer reads an input beyond those that are described."""
    whole = residual().to_json()
    whole["layers"][3]["inputs"] = [0, -2]
    with pytest.raises(ArchitectureError, match=reason):
        evolve(Architecture.from_json(whole), **options)


def test_views_are_the_parameters_of_each_network():
    """Every parameter is a view of the flat weights."""
    weights = torch.arange(120.0).reshape(2, 60)
    found = residual().views(weights)
    assert list(found) == ["in.weight", "a.weight", "b.weight", "out.weight"]
    assert found["a.weight"].shape == (2, 6, 4)
    assert found["a.weight"][1, 0].tolist() == [68, 69, 70, 71]
    assert found["a.weight"].data_ptr() == weights[:, 8:].data_ptr()


def test_a_layer_changes_names_also_where_attributes_name_them():
    """Tied parameters, and parameters of other layers, get their new names."""
    layer = Layer(
        kind="linear",
        parameters=[Parameter(name="bias", shape=(2,), role="bias")],
        attributes={
            "tied": {"other": "bias"},
            "uses": {"weight": "table", "scale": {"parameter": "gain", "steps": [["select", {"axis": 0}]]}},
        },
    )
    found = layer.renamed(lambda name: f"net.{name}")
    assert [parameter.name for parameter in found.parameters] == ["net.bias"]
    assert found.attributes == {
        "tied": {"net.other": "net.bias"},
        "uses": {
            "weight": "net.table",
            "scale": {"parameter": "net.gain", "steps": [["select", {"axis": 0}]]},
        },
    }
