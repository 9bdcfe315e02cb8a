"""Architectures are values: equal content gives an equal id, and inconsistent content is refused."""

import json

import pytest

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
