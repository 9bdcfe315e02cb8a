"""A zoo stores the origin of every architecture's symmetry, and keeps the weakest origin."""

import json

import pytest
from attrs import evolve
from click.testing import CliRunner

from sneframe.architecture import ORIGINS, Architecture
from sneframe.architecture.origin import sentences
from sneframe.cli import sneframe_command
from sneframe.errors import ArchitectureError, ZooError
from sneframe.testing.toy import mlp
from sneframe.zoo import create, merge, open_zoo


def write(path, weights, *symmetries, networks=2, seed=0):
    with create(path, name=path.stem) as zoo:
        for number, symmetry in enumerate(symmetries):
            found = evolve(mlp(1, 3, 1), symmetry=symmetry)
            zoo.append(found, weights(found, networks, seed + number), {})
    return open_zoo(path)


@pytest.mark.parametrize("symmetry", ORIGINS[1:])
def test_the_origin_of_a_symmetry_comes_back(tmp_path, weights, symmetry):
    """The origin of a symmetry is stored with its architecture."""
    zoo = write(tmp_path / "a.zarr", weights, symmetry)
    assert zoo.architectures[0].symmetry == symmetry
    assert zoo.symmetry == {symmetry: 2}
    zoo.verify()


@pytest.mark.parametrize("order", [("verified", "guessed"), ("guessed", "verified")])
def test_the_weakest_origin_is_kept(tmp_path, weights, order):
    """Appending equal architectures keeps the weakest origin, in either order."""
    zoo = write(tmp_path / "a.zarr", weights, *order)
    assert zoo.symmetry == {"guessed": 4}


def test_a_merge_keeps_the_weakest_origin(tmp_path, weights):
    """A merged zoo has the weaker origin of its sources."""
    write(tmp_path / "a.zarr", weights, "verified")
    write(tmp_path / "b.zarr", weights, "stated", seed=5)
    merge([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "c.zarr")
    assert open_zoo(tmp_path / "c.zarr").symmetry == {"stated": 4}


def test_a_refused_append_weakens_nothing(tmp_path, weights):
    """An append that is refused does not change the stored origin."""
    verified = evolve(mlp(1, 3, 1), symmetry="verified")
    with create(tmp_path / "a.zarr", name="a") as zoo:
        zoo.append(verified, weights(verified, 2), {})
        with pytest.raises(ZooError, match="is missing"):
            zoo.append(evolve(verified, symmetry="guessed"), {}, {})
    assert open_zoo(tmp_path / "a.zarr").symmetry == {"verified": 2}


def test_the_digest_does_not_depend_on_the_origin(tmp_path, weights):
    """Zoos with equal networks have equal digests, whatever the origin of the symmetry."""
    zoos = [write(tmp_path / f"{s}.zarr", weights, s) for s in ("guessed", "verified")]
    assert zoos[0].digest == zoos[1].digest


def test_a_missing_origin_counts_as_guessed():
    """An old description without an origin is guessed, or none if it has no groups."""
    data = mlp(1, 3, 1).to_json()
    del data["symmetry"]
    assert Architecture.from_json(data).symmetry == "guessed"
    assert Architecture.from_json(data) == mlp(1, 3, 1)
    single = mlp(1, 3).to_json()
    del single["symmetry"]
    assert Architecture.from_json(single).symmetry == "none"


@pytest.mark.parametrize(
    ("symmetry", "said"),
    [
        ("proven", "did you mean|known"),
        (None, "unknown symmetry"),
        ([], "unknown symmetry"),
        ("none", "with groups"),
    ],
)
def test_an_unknown_origin_is_refused(symmetry, said):
    """The origin must be a known word, and "none" is impossible with groups."""
    with pytest.raises(ArchitectureError, match=said):
        Architecture.from_json({**mlp(1, 3, 1).to_json(), "symmetry": symmetry})


def test_a_damaged_origin_is_named(tmp_path, weights):
    """A zoo with an unknown origin is damaged, and the error names the file."""
    zoo = write(tmp_path / "a.zarr", weights, "verified")
    file = next((zoo.path / "architectures").glob("*/zarr.json"))
    file.write_text(file.read_text().replace('"verified"', '"proven"'))
    with pytest.raises(ZooError, match=r"zarr\.json: missing or damaged architecture"):
        open_zoo(zoo.path).architectures  # noqa: B018  # reads it


def test_info_counts_networks_by_origin(tmp_path, weights):
    """`zoo info` counts networks by origin, in its table and in its JSON."""
    with create(tmp_path / "a.zarr", name="a") as zoo:
        for symmetry, widths in (("verified", (1, 3, 1)), ("guessed", (1, 4, 1)), ("verified", (1, 5, 1))):
            found = evolve(mlp(*widths), symmetry=symmetry)
            zoo.append(found, weights(found, 2), {})
    output = CliRunner().invoke(sneframe_command, ["zoo", "info", str(tmp_path / "a.zarr")])
    assert "guessed: 2, verified: 4" in output.output
    facts = json.loads(
        CliRunner().invoke(sneframe_command, ["zoo", "info", str(tmp_path / "a.zarr"), "--json"]).output
    )
    assert facts["symmetry"] == {"guessed": 2, "verified": 4}
    assert [each["symmetry"] for each in facts["architectures"]] == ["verified", "guessed", "verified"]


def test_a_line_for_each_origin():
    """Each origin has a line; a guessed or missing symmetry comes with advice."""
    assert list(sentences({"none": 1, "guessed": 2, "derived": 9}, code="--module")) == [
        "no symmetry is known for 1 of 12 networks, so every neuron is taken as fixed; --module "
        "derives the symmetry from the code and verifies it",
        "symmetry guessed from names and shapes for 2 of 12 networks; --module derives the symmetry from the "
        "code and verifies it",
        "symmetry derived from the computation, not verified, for 9 of 12 networks",
    ]
    assert list(sentences({"stated": 1})) == ["symmetry stated, not verified, for 1 of 1 network"]
