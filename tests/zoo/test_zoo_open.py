"""Opening a zoo: what is refused, and what can be read without the weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sneframe.zoo
from sneframe.errors import ZooError
from sneframe.zoo import open_zoo

Edit = Callable[[Path, Callable[[dict[str, Any]], None]], None]


def refusal(path: Path) -> str:
    with pytest.raises(ZooError) as caught:
        open_zoo(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_a_missing_path_lists_zoos_next_to_it(small: Path) -> None:
    """The error for a missing zoo lists the zoos in the same folder."""
    assert "there is no such zoo (zoos in that folder: small.zarr)" in refusal(small.with_name("smal.zarr"))


def test_a_path_in_a_missing_folder_lists_none(tmp_path: Path) -> None:
    """If the folder is missing, too, the error lists no zoo."""
    assert "zoos in that folder: none" in refusal(tmp_path / "nowhere" / "z.zarr")


def test_a_file_is_no_zoo(tmp_path: Path) -> None:
    """A file is refused as a zoo."""
    (tmp_path / "weights.pt").write_bytes(b"")
    assert "not a zoo, but a file" in refusal(tmp_path / "weights.pt")


def test_a_folder_of_zoos_says_which_are_in_it(small: Path) -> None:
    """Opening a folder of zoos suggests the zoos in it."""
    assert "not a zoo (did you mean a zoo in this folder: small.zarr?)" in refusal(small.parent)


def test_an_empty_folder_is_no_zoo(tmp_path: Path) -> None:
    """The error for an empty folder explains what a zoo is."""
    assert "not a zoo (a zoo is a folder with a zarr.json)" in refusal(tmp_path)


def test_another_zarr_store_is_no_zoo(tmp_path: Path) -> None:
    """A zarr store without the format attribute is refused."""
    import zarr

    zarr.create_group(tmp_path / "other.zarr", zarr_format=3)
    assert "not a zoo: its attribute 'format'" in refusal(tmp_path / "other.zarr")


def test_a_zoo_without_its_manifest_is_half_built(small: Path) -> None:
    """Without zarr.json a zoo is reported as half-built."""
    (small / "zarr.json").unlink()
    assert "half-built: the zoo has no manifest; run its builder again" in refusal(small)


def test_a_newer_format_version_is_refused_first(small: Path, edit_manifest: Edit) -> None:
    """A newer format version is reported before the rest is read."""

    def newer(attributes: dict[str, Any]) -> None:
        attributes.clear()
        attributes.update(format="sneframe.zoo", version=2, arrays="in another form")

    edit_manifest(small, newer)
    message = refusal(small)
    assert "written by a newer sneframe" in message
    assert "(the zoo has format version 2, but this sneframe reads version 1)" in message


@pytest.mark.parametrize("version", [0, "1", None, 1.5])
def test_an_impossible_version_is_damage(small: Path, edit_manifest: Edit, version: object) -> None:
    """A version that never existed is reported as damage."""
    edit_manifest(small, lambda attributes: attributes.update(version=version))
    assert "damaged manifest: version" in refusal(small)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"attributes": 3}', '{"attributes": null}', "\xff"])
def test_a_manifest_that_is_no_json_object_is_damage(small: Path, text: str) -> None:
    """A manifest that is not a JSON object is reported as damage."""
    (small / "zarr.json").write_bytes(text.encode("latin-1"))
    assert "damaged metadata" in _any_refusal(small)


def _any_refusal(path: Path) -> str:
    with pytest.raises(ZooError) as caught:
        open_zoo(path)
    return str(caught.value)


KEYS = [
    *("name", "description", "licence", "source", "builder", "networks", "healthy"),
    *("architectures", "properties", "splits", "digest", "arrays"),
]


@pytest.mark.parametrize("key", KEYS)
def test_a_manifest_without_a_key_names_it(small: Path, edit_manifest: Edit, key: str) -> None:
    """The error names a key that is missing in the manifest."""
    edit_manifest(small, lambda attributes: attributes.pop(key) and None)
    assert f"damaged manifest: '{key}' is missing" in refusal(small)


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key in KEYS for value in (3.5, [1, 2], *([{"a": 1}] * (key != "builder")))],
)
def test_a_manifest_with_a_wrong_type_is_damage(
    small: Path, edit_manifest: Edit, key: str, value: object
) -> None:
    """A value of the wrong type is reported as damage."""
    edit_manifest(small, lambda attributes: attributes.update({key: value}))
    assert "damaged manifest: " in refusal(small)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.update(networks=9),
        lambda a: a.update(healthy=11),
        lambda a: a["architectures"][0].update(networks=5),
        lambda a: a["properties"][0].update(kind="string"),
        lambda a: a["properties"][0].update(kind="complex"),
        lambda a: a["arrays"].pop("networks/row"),
        lambda a: a["arrays"]["networks/row"]["sizes"].append(3),
        lambda a: a["arrays"]["networks/row"].update(shape=[4]),
        lambda a: a["arrays"]["networks/row"].update(chunks=[0]),
        lambda a: a["arrays"]["networks/row"].update(dtype="object"),
        lambda a: a["arrays"]["networks/row"].update(sha256="0" * 64),
        lambda a: a["splits"].append("another"),
        lambda a: a.update(digest="0" * 64),
    ],
)
def test_a_manifest_that_contradicts_itself_is_damage(
    small: Path, edit_manifest: Edit, change: Callable[[dict[str, Any]], object]
) -> None:
    """Entries that contradict each other are reported as damage."""
    edit_manifest(small, lambda attributes: change(attributes) and None)
    assert "damaged manifest: " in refusal(small)


def test_unknown_keys_are_ignored(small: Path, edit_manifest: Edit) -> None:
    """Additional keys in the manifest are ignored."""

    def extend(attributes: dict[str, Any]) -> None:
        attributes["later"] = 1
        attributes["properties"][0]["later"] = 1
        attributes["arrays"]["networks/row"]["later"] = 1

    edit_manifest(small, extend)
    open_zoo(small).verify()


def test_opening_and_columns_work_without_the_weights(small: Path) -> None:
    """Columns and architectures can be read although all weights are deleted."""
    for file in (small / "architectures").rglob("c/**/*"):
        if file.is_file():
            file.unlink()
    zoo = open_zoo(small)
    assert len(zoo) == 9
    assert zoo.column("step")[:3].tolist() == [0, 1, 2]
    assert len(zoo.architectures) == 2


def test_unhealthy_networks_are_excluded_by_default(small: Path) -> None:
    """Unhealthy networks are included only with unhealthy=True."""
    assert open_zoo(small).ids.tolist() == list(range(9))
    everything = open_zoo(small, unhealthy=True)
    assert everything.ids.tolist() == list(range(10))
    assert everything.healthy.tolist() == [True] * 9 + [False]
    assert np.isnan(everything.load().select([9]).networks[0].weights.numpy()).any()


def test_attributes_come_back(small: Path) -> None:
    """Name, licence, builder, properties and split names are those that were written."""
    zoo = open_zoo(small)
    assert zoo.name == "small"
    assert zoo.attributes["licence"] == "CC0-1.0"
    assert zoo.attributes["builder"] == {"name": "test", "version": "1", "seed": 3}
    assert zoo.properties == ("step", "accuracy", "act", "big")
    assert zoo.split_names == ("default",)


def test_a_copied_zoo_is_the_same_zoo(small: Path, tmp_path: Path) -> None:
    """A copy in another folder has the same digest and verifies."""
    copy = tmp_path / "elsewhere" / "copy.zarr"
    shutil.copytree(small, copy)
    assert open_zoo(copy).digest == open_zoo(small).digest
    open_zoo(copy).verify()


def test_an_architecture_whose_content_changed_is_named(small: Path, architecture: Any) -> None:
    """A description that does not match its id raises an error with its file."""
    file = small / "architectures" / architecture.id / "zarr.json"
    content = json.loads(file.read_text())
    content["attributes"]["architecture"]["layers"][0]["kind"] = "conv2d"
    file.write_text(json.dumps(content))
    with pytest.raises(ZooError, match="damaged architecture: its content has the id") as caught:
        _ = open_zoo(small).architectures
    assert str(file) in str(caught.value)


def test_the_package_exports_the_documented_names() -> None:
    """sneframe.zoo.__all__ lists the documented names."""
    assert set(sneframe.zoo.__all__) == {
        "create", "ZooWriter", "open_zoo", "Zoo", "by_group", "merge", "export",
        "ZooBuilder", "ZooImporter", "import_zoo",
    }  # fmt: skip
