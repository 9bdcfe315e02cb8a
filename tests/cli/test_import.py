"""What ``sneframe zoo import files`` prints: what was read, by which reader, what was left out, and why."""

import pytest
import torch
from safetensors.torch import save_file

from sneframe.cli import main

STATE = {"0.weight": torch.ones(3, 2), "0.bias": torch.ones(3), "2.weight": torch.ones(1, 3)}


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return left.value.code, " ".join(out.split()), err


@pytest.fixture
def messy(tmp_path, monkeypatch):
    """A folder with files of two formats, a checkpoint with two state dicts, and three damaged files."""
    monkeypatch.setenv("COLUMNS", "200")
    folder = tmp_path / "messy"
    folder.mkdir()
    torch.save({"model": STATE, "ema": STATE}, folder / "a.pth.tar")
    save_file(STATE, folder / "b.safetensors")
    for name in "cd":
        (folder / f"{name}.pt").write_bytes(b"")
    (folder / "e.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (folder / "config.json").write_text("{}")
    return folder


def test_the_summary_counts_readers_notes_and_reasons(capsys, messy, tmp_path):
    """The summary ends with the commonest reason, because more than a tenth was left out."""
    code, out, _ = call(capsys, "zoo", "import", "files", messy, "--out", tmp_path / "z.zarr")
    assert code == 0
    assert "2 networks of 1 architecture" in out
    assert "read by sneframe/torch 1" in out
    assert "read by sneframe/safetensors 1" in out
    assert "note 1 a.pth.tar: 'model' was read, and 'ema' left out; --key selects another" in out
    assert "left out 2 c.pt: the file is empty" in out
    assert "left out 1 e.safetensors: this is a Git LFS pointer, not the file itself; run git lfs pull" in out
    assert "passed over, as texts, settings or pictures: 1 file (.json 1)" in out
    assert "left out: 3 files, most often (2 times) because: the file is empty; the reasons are in" in out


def test_a_dry_run_prints_the_summary_and_writes_nothing(capsys, messy, tmp_path):
    """A dry run needs no place for a zoo."""
    before = sorted(tmp_path.rglob("*"))
    code, out, _ = call(capsys, "zoo", "import", "files", messy, "--dry-run")
    assert code == 0
    assert "dry run, 2 networks of 1 architecture" in out
    assert "left out 2 c.pt: the file is empty" in out
    assert "symmetry" in out
    assert sorted(tmp_path.rglob("*")) == before


def test_an_import_without_a_place_for_the_zoo_is_refused(capsys, messy):
    """Without --dry-run, --out is needed."""
    code, _, err = call(capsys, "zoo", "import", "files", messy)
    assert code == 2
    assert "Missing option '--out', the folder of the zoo to make (or --dry-run)" in err


def test_names_are_changed_on_request(capsys, messy, tmp_path):
    """A prefix is stripped and a rule applied, so that two files are one architecture."""
    save_file({f"net.layer{name}": value for name, value in STATE.items()}, messy / "f.safetensors")
    words = ("--strip-prefix", "net.", "--rename", "s/^layer//", "--dry-run")
    code, out, _ = call(capsys, "zoo", "import", "files", messy, *words)
    assert code == 0
    assert "3 networks of 1 architecture" in out


def test_the_weights_get_the_type_that_was_asked_for(capsys, messy, tmp_path):
    """The option --dtype decides the type in the zoo."""
    from sneframe.zoo import open_zoo

    save_file({"0.weight": torch.full((3, 2), 1 / 3)}, messy / "b.safetensors")
    words = ("--out", tmp_path / "z.zarr", "--dtype", "float16")
    assert call(capsys, "zoo", "import", "files", messy, *words)[0] == 0
    zoo = open_zoo(tmp_path / "z.zarr").select([1])
    (weight,) = zoo.load().networks[0].parameters().values()
    assert weight.unique().item() == torch.tensor(1 / 3).half().float().item()


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--strip-prefix", "nope."), "--strip-prefix and --rename changed the name of no tensor"),
        (("--rename", "s/nope/x/"), "--strip-prefix and --rename changed the name of no tensor"),
        (("--module", "nope*=torch.nn:Identity"), "--module nope*=…: no file has a path like this pattern"),
    ],
)
def test_an_option_that_serves_no_file_is_said(capsys, messy, words, said):
    """A renaming or a pattern that fits nothing is likely a slip."""
    _, _, err = call(capsys, "zoo", "import", "files", messy, "--dry-run", *words)
    assert said in err


def test_a_dry_run_fails_where_the_import_would_fail(capsys, messy, tmp_path):
    """A folder without networks, and a place that exists, are refused by a dry run, too."""
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / "a.pt").write_bytes(b"")
    code, _, err = call(capsys, "zoo", "import", "files", tmp_path / "junk", "--dry-run")
    assert code == 2
    assert "no network could be imported: a.pt: the file is empty" in err
    code, _, err = call(capsys, "zoo", "import", "files", messy, "--dry-run", "--out", messy)
    assert code == 2
    assert "exists already" in err


def test_an_unknown_reader_is_refused(capsys, messy):
    """A reader that does not exist is named with the known ones."""
    code, _, err = call(capsys, "zoo", "import", "files", messy, "--dry-run", "--reader", "sneframe/torchh")
    assert code == 2
    assert "unknown file reader 'sneframe/torchh', did you mean 'sneframe/torch'?" in err


def test_a_chosen_reader_reads_every_file_that_it_can(capsys, messy):
    """With --reader, files of other formats are left out."""
    code, out, _ = call(
        capsys, "zoo", "import", "files", messy, "--dry-run", "--reader", "sneframe/safetensors"
    )
    assert code == 0
    assert "dry run, 1 network of 1 architecture" in out


def test_the_readers_are_listed(capsys, monkeypatch):
    """Each reader is listed with what it reads and the endings that it claims."""
    monkeypatch.setenv("COLUMNS", "200")
    code, out, _ = call(capsys, "readers")
    assert code == 0
    assert "sneframe/safetensors safetensors files .safetensors" in out
