"""Files that workers of an engine read: the same zoo, the same errors, and nothing is left behind."""

import warnings
from pathlib import Path

import factories
import pytest
import torch
from backwards import Backwards
from click.testing import CliRunner
from sneframe_importers import blocks

from sneframe.cli import sneframe_command
from sneframe.engine import ProcessEngine
from sneframe.errors import ConfigError, MachineError
from sneframe.plugins import load
from sneframe.zoo import import_zoo, open_zoo
from sneframe.zoo.importer import preview


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent)


@pytest.fixture
def source(tmp_path):
    """A folder of seven networks, and an empty file in the middle."""
    folder = tmp_path / "nets"
    folder.mkdir()
    torch.manual_seed(0)
    for number in range(7):
        torch.save(factories.mlp().state_dict(), folder / f"{number}.pt")
    (folder / "3b.pt").write_bytes(b"")
    return folder


def files(source, out, *, engine=None, **options):
    importer = load(["importers"]).importer("importers/files")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        done = import_zoo(importer, importer.config(**options), source, out, lambda *_: None, engine=engine)
    return open_zoo(out), done


def test_processes_make_the_zoo_of_one_process(source, tmp_path):
    """Two processes read the files. One of them is killed once, and its files are read again."""
    mark = tmp_path / "mark"
    zoo, done = files(source, tmp_path / "one.zarr", module="factories:always_mlp")
    (source / "die-once").write_text(str(mark))
    other, again = files(
        source, tmp_path / "two.zarr", module="factories:dies_once", engine=ProcessEngine(workers=2)
    )
    assert mark.exists()
    assert again.skipped == done.skipped
    assert other.column("source").tolist() == zoo.column("source").tolist()
    assert torch.equal(other.load().networks[0].weights, zoo.load().networks[0].weights)
    assert sorted(path.name for path in tmp_path.iterdir() if "tmp" in path.name) == []


@pytest.mark.parametrize("engine", [None, Backwards()])
def test_the_first_file_that_fails_is_the_error(source, tmp_path, engine):
    """Files 4, 5 and 6 fail. The error is about file 4, although the last file is read first."""
    with pytest.raises(ConfigError, match=r"^4\.pt: .*no network behind 3"):
        files(source, tmp_path / "z.zarr", module="factories:first_four", engine=engine)
    assert not (tmp_path / "z.zarr").exists()


def test_large_weights_go_through_several_files(source, tmp_path, monkeypatch):
    """If the weights of a block exceed a bound, they are written to more than one file, and read back."""
    zoo, _ = files(source, tmp_path / "one.zarr")
    monkeypatch.setattr(blocks, "BYTES", 1)
    monkeypatch.setattr(blocks, "ROUNDS", 1)
    other, _ = files(source, tmp_path / "two.zarr", engine=Backwards())
    assert other.digest == zoo.digest


def test_a_warning_of_workers_is_given_once(source, tmp_path):
    """Each block meets the reserved name. It is warned of once, as in one process."""
    for number in range(7):
        torch.save({"state_dict": factories.mlp().state_dict(), "source": "x"}, source / f"{number}.pt")
    importer = load(["importers"]).importer("importers/files")
    config = importer.config(properties_from=("checkpoint",))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        import_zoo(importer, config, source, tmp_path / "z.zarr", lambda *_: None, engine=Backwards())
    assert len([each for each in caught if "is named 'source_'" in str(each.message)]) == 1


def test_a_dry_run_needs_no_weights(source):
    """A dry run on an engine counts the networks and the reasons, and its workers write no weights."""
    importer = load(["importers"]).importer("importers/files")
    done = preview(importer, importer.config(), source, lambda *_: None, engine=Backwards())
    assert (done.networks, [each.source for each in done.skipped]) == (7, ["3b.pt"])


def test_an_error_of_the_writer_ends_the_workers(source, tmp_path, monkeypatch):
    """If the zoo cannot be written, the engine is closed at once, not when memory is collected."""
    engine = Backwards()

    def full(*_, **__):
        raise MachineError("the disk is full")

    monkeypatch.setattr("sneframe.zoo.write.ZooWriter.append", full)
    with pytest.raises(MachineError, match="the disk is full") as error:
        files(source, tmp_path / "z.zarr", engine=engine)
    assert engine.ended, error
    assert [path.name for path in tmp_path.iterdir()] == ["nets"]


class Elsewhere(Backwards):
    """An engine whose workers do not find the folder of the caller."""

    def map_unordered(self, function, items):
        Path(function.keywords["how"]).unlink()
        return super().map_unordered(function, items)


def test_a_machine_without_the_folder_is_one_line(source, tmp_path):
    """A worker on a machine that does not share the folder says so."""
    with pytest.raises(MachineError, match=r"a worker cannot read .*; all machines need the same folders"):
        files(source, tmp_path / "z.zarr", engine=Elsewhere())


@pytest.mark.parametrize("name", ["small-cnn-zoo", "model-zoos-pt"])
def test_an_importer_of_one_file_refuses_workers(tmp_path, name):
    """An engine that would not be used is refused in one line, before anything is read."""
    words = ["zoo", "import", name, str(tmp_path), "--out", str(tmp_path / "z.zarr"), "--engine", "process"]
    with pytest.raises(ConfigError, match="takes only the engine 'serial', but got 'process'"):
        CliRunner().invoke(sneframe_command, words, catch_exceptions=False)


def test_workers_are_options_of_the_command(source, tmp_path):
    """The command reads files in two processes."""
    out = tmp_path / "z.zarr"
    words = [
        "zoo",
        "import",
        "files",
        str(source),
        "--out",
        str(out),
        "--engine",
        "process",
        "--workers",
        "2",
    ]
    done = CliRunner().invoke(sneframe_command, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "7 networks of 1 architecture" in done.output
