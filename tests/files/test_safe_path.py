"""Names of files in a folder, as tables and indices give them."""

import unicodedata

import pytest

from sneframe.errors import FileError
from sneframe.files.safe_path import inside


def test_a_link_to_itself_is_one_line(tmp_path):
    """A link that leads to itself gives one line, not an endless loop."""
    (tmp_path / "loop.pt").symlink_to("loop.pt")
    with pytest.raises(FileError, match=r"loop\.pt: "):
        inside(tmp_path, "loop.pt")


def cache(tmp_path, repository="models--me--net"):
    """A snapshot of a Hugging Face cache, whose file is a link to its blob."""
    base = tmp_path / repository
    (base / "blobs").mkdir(parents=True)
    (base / "blobs" / "aa").write_bytes(b"weights")
    snapshot = base / "snapshots" / "hash"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/aa")
    return snapshot


def test_a_link_to_the_blobs_of_a_repository_stays_inside(tmp_path):
    """What snapshot_download returns is a folder of links to ``blobs`` of the same repository."""
    assert inside(cache(tmp_path), "model.safetensors").read_bytes() == b"weights"


def test_a_link_to_the_blobs_of_another_repository_leads_out(tmp_path):
    """Only the repository's own blobs are its files."""
    snapshot = cache(tmp_path)
    cache(tmp_path, "models--you--net")
    (snapshot / "other.safetensors").symlink_to("../../../models--you--net/blobs/aa")
    with pytest.raises(FileError, match="leads out of"):
        inside(snapshot, "other.safetensors")


def test_a_folder_named_snapshots_has_no_blobs(tmp_path):
    """A link out of a folder of another layout leads out, whatever its name is."""
    snapshot = cache(tmp_path, "backup")
    with pytest.raises(FileError, match="leads out of"):
        inside(snapshot, "model.safetensors")


@pytest.mark.parametrize("name", ["sub\\a.pt", "sub/a.pt"], ids=["Windows", "as it is"])
def test_backslashes_of_a_table_are_read(tmp_path, name):
    """A table that was written on Windows names the same files."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.pt").touch()
    assert inside(tmp_path, name) == tmp_path / "sub" / "a.pt"


@pytest.mark.parametrize(("there", "asked"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_accents_are_found_however_they_are_composed(tmp_path, there, asked):
    """macOS writes an accent as a character of its own, and tables often do not."""
    (tmp_path / unicodedata.normalize(there, "é.pt")).touch()
    found = inside(tmp_path, unicodedata.normalize(asked, "é.pt"))
    assert found.name == unicodedata.normalize(there, "é.pt")


def test_backslashes_do_not_lead_out(tmp_path):
    """What Windows would read as a way up is none."""
    (tmp_path / "outside.pt").touch()
    (tmp_path / "in").mkdir()
    with pytest.raises(FileError, match="leads out of"):
        inside(tmp_path / "in", "..\\outside.pt")
