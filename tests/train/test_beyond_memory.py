"""Runs on a zoo whose weights take more than the memory that they may take."""

import io
import signal
import sys
import threading
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from attrs import evolve
from rich.console import Console
from safetensors.torch import load_file

import sneframe
from sneframe.batch import join
from sneframe.cli import main
from sneframe.config.schema import ZooConfig
from sneframe.errors import Interrupted, MachineError
from sneframe.progress import Reporter
from sneframe.testing import mlp, toy_zoo
from sneframe.train import loop
from sneframe.train.data import load_data
from sneframe.train.read_ahead import ReadAhead
from sneframe.zoo import cache, open_zoo

#: A third of the weights of the zoo, in buffers of about six networks: batches lie in two of them.
LITTLE = ("zoo.memory=2KB", "train.shuffle=blocks", "train.block=2", "train.buffer=600B")
FILES = ("best.safetensors", "last.safetensors", "embeddings.safetensors")


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """Return a zoo of 20 networks of 33 weights and 20 of 46, 6.3 kB. Decoded files are in a folder here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return toy_zoo(tmp_path / "toy.zarr", hidden=((4, 4), (5, 5)), networks=20)


def config_for(zoo, *words):
    return sneframe.recipe(
        "stats/mlp", f"zoo.path={zoo}", "zoo.property=scale", "train.batch_size=4", "train.epochs=2", *words
    )


def same(one, two):
    assert {**one.metrics, "seconds": None} == {**two.metrics, "seconds": None}
    for name in FILES:
        first, second = load_file(one.folder / name), load_file(two.folder / name)
        assert first.keys() == second.keys()
        assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())
    for name in ("predictions.csv", "calibration.json", "training.json"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()


@pytest.fixture
def decoded(tmp_path):
    return lambda: list((tmp_path / "cache").rglob("*.npy"))


# -- numbers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [LITTLE[1:], ("train.shuffle=all",), (*LITTLE[1:], "zoo.balance=architecture")]
)
def test_mapped_weights_give_the_numbers_of_memory(zoo, tmp_path, decoded, words):
    """With the same sampler, weights in files and in memory give the same numbers bit for bit."""
    inside = sneframe.run(config_for(zoo, *words, "zoo.memory=1GB"), tmp_path / "inside", report=False)
    assert not decoded()
    mapped = sneframe.run(config_for(zoo, *words, "zoo.memory=2KB"), tmp_path / "mapped", report=False)
    assert decoded()
    same(inside, mapped)


def test_blocks_give_other_numbers_than_all(zoo, tmp_path):
    """The sampler decides the numbers, so it must be recorded."""
    every, blocks = (
        sneframe.run(config_for(zoo, *words), tmp_path / words[0], report=False)
        for words in (("train.shuffle=all",), LITTLE)
    )
    assert every.metrics["val"] != blocks.metrics["val"]


@pytest.mark.parametrize("step", [2, 9])
def test_a_mapped_run_is_resumed_bit_for_bit(zoo, tmp_path, monkeypatch, step):
    """A run that is stopped within an epoch goes on with the numbers of one that is not, even in memory."""
    whole = sneframe.run(config_for(zoo, *LITTLE), tmp_path / "whole", report=False)
    real = loop.train_step

    def interrupted(loop, positions, number):
        real(loop, positions, number)
        if number == step:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(loop, "train_step", interrupted)
    config = config_for(zoo, *LITTLE)
    with pytest.raises(Interrupted):
        sneframe.run(config, tmp_path / "run", report=False)
    monkeypatch.setattr(loop, "train_step", real)
    config = evolve(config, zoo=evolve(config.zoo, memory="1GB"))
    same(whole, sneframe.run(config, tmp_path / "run", resume=True, report=False))


# -- the choice of the sampler -------------------------------------------------------------------------------


@pytest.mark.parametrize(("memory", "shuffle"), [("2KB", "blocks"), ("1GB", "all")])
def test_the_run_records_and_says_how_it_shuffles(zoo, tmp_path, memory, shuffle):
    """By default a mapped zoo is shuffled in blocks; config.toml and the output say so."""
    said = io.StringIO()
    reporter = Reporter(Console(file=said, width=300))
    config = config_for(zoo, f"zoo.memory={memory}", "train.epochs=1")
    run = sneframe.run(config, tmp_path / "run", reporter=reporter, report=False)
    train = tomllib.loads((run.folder / "config.toml").read_text())["train"]
    assert train["shuffle"] == shuffle
    assert (train["block"] == "none") == (train["buffer"] == "none") == (shuffle == "all")
    assert ("shuffled in blocks" in said.getvalue()) == (shuffle == "blocks")
    assert ("read from there" in said.getvalue()) == (shuffle == "blocks")


def test_a_resumed_run_keeps_the_sampler_it_chose(zoo, tmp_path):
    """On a machine with more memory, the default stays what it was when the run began."""
    little, much = (config_for(zoo, f"zoo.memory={memory}") for memory in ("2KB", "1GB"))
    first = sneframe.run(little, tmp_path / "run", report=False)
    again = sneframe.run(much, tmp_path / "run", resume=True, report=False)
    assert {**again.metrics, "seconds": None} == {**first.metrics, "seconds": None}
    train = tomllib.loads((first.folder / "config.toml").read_text())["train"]
    assert train["shuffle"] == "blocks"


def test_the_command_takes_and_resumes_with_memory(zoo, tmp_path, capsys, decoded):
    """--memory sets zoo.memory, and a run may be resumed with another one."""
    words = ["--plugin", "stats/mlp", "--zoo", str(zoo), "--property", "scale", "--set", "train.epochs=1"]
    for more in (["--out", str(tmp_path / "run"), *words], ["--resume", str(tmp_path / "run")]):
        with pytest.raises(SystemExit) as left:
            main(["run", "--no-report", "--memory", "2KB", *more])
        assert left.value.code == 0
        assert "shuffled in blocks" in capsys.readouterr().out
    assert decoded()


@pytest.mark.parametrize("size", ["much", "0GB"])
def test_a_wrong_memory_is_one_line(zoo, capsys, size):
    """The error of --memory names the key, what it got and an example."""
    with pytest.raises(SystemExit) as left:
        main(["run", "--plugin", "stats/mlp", "--zoo", str(zoo), "--memory", size])
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert len(said.splitlines()) == 1
    assert "zoo: 'memory' must be" in said
    assert size in said


# -- reading ahead -------------------------------------------------------------------------------------------


def shuffled(zoo, *, memory):
    """Return a mapped batch in which architectures alternate, what reads it ahead, and the same in memory."""
    order = np.random.default_rng(0).permutation(40)
    selected = open_zoo(zoo).select(order)
    mapped = selected.load(memory=0)
    return mapped, ReadAhead(mapped, selected.decoded_files(), memory), selected.load(memory=1 << 30)


def equal(one, two):
    return (
        one.architectures == two.architectures
        and one.ids.tolist() == two.ids.tolist()
        and one.order.tolist() == two.order.tolist()
        and all(a.weights.equal(b.weights) for a, b in zip(one.networks, two.networks, strict=True))
    )


@pytest.mark.parametrize("memory", [1, 600, 3000, 1 << 20])
@pytest.mark.parametrize("lists", [1, 3, 10])
def test_read_ahead_selects_what_a_batch_selects(zoo, memory, lists):
    """Whatever fits into a portion, announced batches are those that would be read one by one."""
    _, ahead, inside = shuffled(zoo, memory=memory)
    batches = np.array_split(np.random.default_rng(1).permutation(40), 10)
    announced = [batches[start : start + 10 // lists] for start in range(0, 10, 10 // lists)]
    for _ in range(2):
        with ahead.announced(announced):
            assert all(
                equal(ahead.select(positions), inside.select(positions))
                for some in announced
                for positions in some
            )


def test_networks_that_were_not_announced_are_read(zoo):
    """Selecting other networks, the same again, or outside of the block gives the right networks."""
    _, ahead, inside = shuffled(zoo, memory=2000)
    batches = np.array_split(np.arange(40), 10)
    with ahead.announced([batches]):
        for positions in (batches[0], batches[7], batches[1], batches[1], np.arange(30), batches[2][:0]):
            assert equal(ahead.select(positions), inside.select(positions))
    assert equal(ahead.select(batches[3]), inside.select(batches[3]))


def test_announced_networks_are_read_in_another_thread(zoo, monkeypatch):
    """Nothing is selected from the mapped batch itself if all batches were announced."""
    mapped, ahead, _ = shuffled(zoo, memory=3000)
    monkeypatch.setattr(type(mapped), "select", selects := Selects(type(mapped).select, mapped))
    batches = np.array_split(np.arange(40), 10)
    with ahead.announced([batches]):
        for positions in batches:
            ahead.select(positions)
    assert selects.of_mapped == 0
    assert "read-ahead" not in " ".join(thread.name for thread in threading.enumerate())


class Selects:
    """Counts the calls of ``Batch.select`` on one batch."""

    def __init__(self, real, mapped):
        self.real, self.mapped, self.of_mapped = real, mapped, 0

    def __get__(self, batch, _):
        def select(positions):
            self.of_mapped += batch is self.mapped
            return self.real(batch, positions)

        return select


def test_an_error_of_the_reading_thread_is_raised(zoo, decoded):
    """An error while reading ahead reaches whoever selects the networks."""
    _, ahead, _ = shuffled(zoo, memory=3000)

    for file in decoded():
        file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(MachineError, match="ends too early"), ahead.announced([[np.arange(4)]]):
        ahead.select(np.arange(4))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory is anonymous")
def test_reading_ahead_stays_within_its_memory(tmp_path):
    """Reading 64 MB with a memory of 16 MB takes at most 16 MB of anonymous memory."""
    architecture, count = mlp(1, 120, 128, 1), 1000
    width = architecture.num_weights
    blocks = ((start, np.full((100, width), start, np.float32)) for start in range(0, count, 100))
    weights = cache.mapped(tmp_path, np.arange(count), width, blocks)
    batch = join({architecture: weights}, {architecture: np.arange(count)})
    batches = np.array_split(np.random.default_rng(0).permutation(count), 100)
    file = cache.DecodedFile(cache.file_of(tmp_path, np.arange(count)), width)
    ahead, before, most = ReadAhead(batch, [file], 16 * 10**6), anonymous(), 0
    with ahead.announced([batches]):
        for positions in batches:
            found = ahead.select(positions)
            assert found.networks[0].weights[:, 0].tolist() == (positions // 100 * 100).tolist()
            most = max(most, anonymous() - before)
    assert weights.nbytes > 60 * 10**6
    assert most <= 16 * 10**6


def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon"))


def test_a_zoo_in_memory_reads_nothing_ahead(zoo):
    """Without a limit that matters, networks are selected from memory."""
    assert load_data(ZooConfig(path=str(zoo)), Reporter()).ahead is None
    assert load_data(ZooConfig(path=str(zoo), memory="6KB"), Reporter()).ahead is not None
