"""A zoo says of every architecture where its symmetry comes from, and keeps the weakest origin."""

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
def test_what_was_appended_comes_back(tmp_path, weights, symmetry):
    """The origin of a symmetry is stored with its architecture."""
    zoo = write(tmp_path / "a.zarr", weights, symmetry)
    assert zoo.architectures[0].symmetry == symmetry
    assert zoo.symmetry == {symmetry: 2}
    zoo.verify()


@pytest.mark.parametrize("order", [("verified", "guessed"), ("guessed", "verified")])
def test_the_weakest_of_equal_architectures_is_kept(tmp_path, weights, order):
    """Networks that are appended later weaken what is known, and never strengthen it."""
    zoo = write(tmp_path / "a.zarr", weights, *order)
    assert zoo.symmetry == {"guessed": 4}


def test_a_merge_keeps_the_weakest(tmp_path, weights):
    """Of two zoos of one architecture the merged one says no more than the less certain."""
    write(tmp_path / "a.zarr", weights, "verified")
    write(tmp_path / "b.zarr", weights, "stated", seed=5)
    merge([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "c.zarr")
    assert open_zoo(tmp_path / "c.zarr").symmetry == {"stated": 4}


def test_a_refused_append_weakens_nothing(tmp_path, weights):
    """Networks that are not added say nothing of those that are."""
    verified = evolve(mlp(1, 3, 1), symmetry="verified")
    with create(tmp_path / "a.zarr", name="a") as zoo:
        zoo.append(verified, weights(verified, 2), {})
        with pytest.raises(ZooError, match="is missing"):
            zoo.append(evolve(verified, symmetry="guessed"), {}, {})
    assert open_zoo(tmp_path / "a.zarr").symmetry == {"verified": 2}


def test_the_digest_does_not_depend_on_it(tmp_path, weights):
    """Zoos of the same networks are equal, whatever is known of their symmetry."""
    zoos = [write(tmp_path / f"{s}.zarr", weights, s) for s in ("guessed", "verified")]
    assert zoos[0].digest == zoos[1].digest


def test_a_description_without_it_counts_as_guessed():
    """Of an older file nobody knows where its groups come from."""
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
def test_an_origin_that_there_is_not_is_refused(symmetry, said):
    """The origin is one of five words, and no groups come from nowhere."""
    with pytest.raises(ArchitectureError, match=said):
        Architecture.from_json({**mlp(1, 3, 1).to_json(), "symmetry": symmetry})


def test_a_damaged_origin_is_named(tmp_path, weights):
    """A zoo with an unknown origin is damaged, and the file is named."""
    zoo = write(tmp_path / "a.zarr", weights, "verified")
    file = next((zoo.path / "architectures").glob("*/zarr.json"))
    file.write_text(file.read_text().replace('"verified"', '"proven"'))
    with pytest.raises(ZooError, match=r"zarr\.json: missing or damaged architecture"):
        open_zoo(zoo.path).architectures  # noqa: B018  # reads it


def test_info_shows_how_many_of_each(tmp_path, weights):
    """The command counts networks by origin, in its table and in its JSON."""
    with create(tmp_path / "a.zarr", name="a") as zoo:
        for symmetry, widths in (("verified", (1, 3, 1)), ("guessed", (1, 4, 1)), ("verified", (1, 5, 1))):
            found = evolve(mlp(*widths), symmetry=symmetry)
            zoo.append(found, weights(found, 2), {})
    told = CliRunner().invoke(sneframe_command, ["zoo", "info", str(tmp_path / "a.zarr")])
    assert "guessed: 2, verified: 4" in told.output
    facts = json.loads(
        CliRunner().invoke(sneframe_command, ["zoo", "info", str(tmp_path / "a.zarr"), "--json"]).output
    )
    assert facts["symmetry"] == {"guessed": 2, "verified": 4}
    assert [each["symmetry"] for each in facts["architectures"]] == ["verified", "guessed", "verified"]


def test_a_line_for_each_origin():
    """What is not known or guessed says how more is found; what is derived needs no advice."""
    assert list(sentences({"none": 1, "guessed": 2, "derived": 9}, code="--module")) == [
        "no symmetry is known for 1 of 12 networks, so every neuron is taken as fixed; --module finds it from the code and "
        "verifies it",
        "symmetry guessed from names and shapes for 2 of 12 networks; --module finds it from the code and verifies it",
        "symmetry derived from the code, not verified, for 9 of 12 networks",
    ]
    assert list(sentences({"stated": 1})) == ["symmetry stated, not verified, for 1 of 1 network"]
