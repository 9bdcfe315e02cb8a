"""Sine zoos: their content, and builds that are killed, repeated or misconfigured."""

import logging
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import torch
from attrs import evolve
from sneframe_zoos import blocks
from sneframe_zoos.inr import SineINR
from sneframe_zoos.sine import DEMO, Sine, build

from sneframe.engine import ProcessEngine, SerialEngine
from sneframe.errors import MachineError, ZooError
from sneframe.zoo import open_zoo

SERIAL = SerialEngine()
SMALL = Sine(networks=12, widths=(8, 8), steps=40, tolerance=0.3, points=32)


def quiet(done, total):
    pass


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("zoos") / "small.zarr"
    build(SMALL, path, quiet, SERIAL)
    return path


def test_a_network_has_the_stated_error(small):
    """A network loads into SineINR and has the stored fit error."""
    zoo = open_zoo(small)
    (networks,) = zoo.load().networks
    x = torch.from_numpy(np.linspace(-np.pi, np.pi, 32).astype(np.float32))
    for number, (frequency, fit_mse) in enumerate(
        zip(zoo.column("frequency"), zoo.column("fit_mse"), strict=True)
    ):
        module = SineINR((8, 8))
        module.load_state_dict({name: values[number] for name, values in networks.parameters().items()})
        target = torch.from_numpy(np.sin(frequency * x.double().numpy()))
        error = (module(x[:, None])[:, 0] - target).square().mean().item()
        assert error == pytest.approx(fit_mse, rel=1e-4)


def test_networks_are_frozen_at_the_tolerance(small):
    """Some networks reach the tolerance, and none goes far below it."""
    errors = open_zoo(small).column("fit_mse")
    assert (errors <= 0.3).any()
    assert (errors > 0.25).all()  # one step never goes far below the tolerance


def test_properties_begin_with_the_one_to_predict(small):
    """The first property is the frequency."""
    assert open_zoo(small).properties == ("frequency", "fit_mse")


def test_frequencies_lie_in_the_stated_range(small):
    """Frequencies are distinct and lie in [0.5, 10]."""
    frequency = open_zoo(small).column("frequency")
    assert len(np.unique(frequency)) == 12
    assert frequency.min() >= 0.5
    assert frequency.max() <= 10


def test_every_network_is_a_group_of_its_own(small):
    """Each network has its own run group."""
    assert list(open_zoo(small).group) == list(range(12))


def test_nothing_but_the_zoo_is_left(small):
    """A finished build leaves no lock and no blocks."""
    assert list(small.parent.iterdir()) == [small]


def test_progress_ends_with_all_networks(tmp_path):
    """Progress starts at 0 and ends with all networks."""
    seen = []
    build(
        Sine(networks=3, widths=(4,), steps=1), tmp_path / "a.zarr", lambda *pair: seen.append(pair), SERIAL
    )
    assert seen == [(0, 3), (3, 3)]


def test_a_network_is_drawn_the_same_in_a_larger_zoo(tmp_path, small):
    """A network depends on the seed and its number, not on the size of the zoo."""
    build(
        Sine(networks=5, widths=(8, 8), steps=40, tolerance=0.3, points=32),
        tmp_path / "five.zarr",
        quiet,
        SERIAL,
    )
    np.testing.assert_array_equal(
        open_zoo(tmp_path / "five.zarr").column("frequency"), open_zoo(small).column("frequency")[:5]
    )


def test_another_seed_makes_other_networks(tmp_path, small):
    """Two seeds share no frequency."""
    build(Sine(networks=12, widths=(8, 8), steps=1, seed=1), tmp_path / "other.zarr", quiet, SERIAL)
    other = open_zoo(tmp_path / "other.zarr").column("frequency")
    assert not np.isin(other, open_zoo(small).column("frequency")).any()


def test_a_killed_build_continues_to_the_same_zoo(tmp_path):
    """After a kill, the build continues with the missing blocks and gives the same zoo."""
    script = """
        import sys, time
        from pathlib import Path
        from sneframe.engine import SerialEngine
        from sneframe_zoos import sine

        fit, calls = sine.fit, []

        def fit_once(*args, **options):
            if calls:
                print("in the second block", flush=True)
                time.sleep(300)
            calls.append(1)
            return fit(*args, **options)

        sine.fit = fit_once
        config = sine.Sine(networks=501, widths=(4,), steps=3)
        sine.build(config, Path(sys.argv[1]), lambda done, total: None, SerialEngine())
    """
    path = tmp_path / "killed.zarr"
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "in the second block\n"
        process.kill()
    assert not path.exists()
    resumed, config = [], Sine(networks=501, widths=(4,), steps=3)
    build(config, path, lambda done, _: resumed.append(done), SERIAL)
    build(config, tmp_path / "whole.zarr", quiet, SERIAL)
    assert resumed == [250, 500, 501]  # the first call counts the finished block
    assert open_zoo(path).digest == open_zoo(tmp_path / "whole.zarr").digest
    assert sorted(tmp_path.iterdir()) == [path, tmp_path / "whole.zarr"]


def test_finished_blocks_are_not_trained_again(tmp_path, monkeypatch):
    """A build that is resumed trains only the missing blocks."""
    from sneframe_zoos import sine

    config = Sine(networks=251, widths=(4,), steps=1)
    trained, train = [], sine.train

    def interrupted(config, block):
        if block == 1 and len(trained) == 1:
            trained.append("interrupted")
            raise KeyboardInterrupt
        trained.append(block)
        return train(config, block)

    monkeypatch.setattr(sine, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(config, tmp_path / "a.zarr", quiet, SERIAL)
    build(config, tmp_path / "a.zarr", quiet, SERIAL)
    assert trained == [0, "interrupted", 1]


def test_processes_make_the_same_zoo(tmp_path):
    """Two processes and one process make equal zoos."""
    config = Sine(networks=501, widths=(4,), steps=3)
    build(config, tmp_path / "serial.zarr", quiet, SERIAL)
    build(config, tmp_path / "process.zarr", quiet, ProcessEngine(workers=2))
    assert open_zoo(tmp_path / "serial.zarr").digest == open_zoo(tmp_path / "process.zarr").digest


def test_the_second_builder_waits_and_finds_the_zoo(tmp_path, monkeypatch, caplog):
    """Two builders of one zoo take turns; the second finds the finished zoo."""
    from sneframe_zoos import sine

    config, path = Sine(networks=501, widths=(4,), steps=1), tmp_path / "a.zarr"
    started, trained, train, failed = threading.Event(), [], sine.train, []

    def noted(config, block):
        trained.append(block)
        if len(trained) == 1:
            started.set()
            waiting.wait(60)
        return train(config, block)

    waiting = threading.Event()
    monkeypatch.setattr(blocks.logger, "warning", lambda *_: waiting.set())
    monkeypatch.setattr(sine, "train", noted)

    def one():
        try:
            build(config, path, quiet, SERIAL)
        except BaseException as error:
            failed.append(error)
            raise

    first, second = threading.Thread(target=one), threading.Thread(target=one)
    first.start()
    assert started.wait(60)
    second.start()
    first.join()
    second.join()
    assert failed == []
    assert trained == [0, 1, 2]
    assert list(tmp_path.iterdir()) == [path]


def test_an_impossible_path_raises_machine_error(tmp_path):
    """A path below a file raises MachineError."""
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match=r"file/a\.zarr\.part\.lock: "):
        build(SMALL, tmp_path / "file" / "a.zarr", quiet, SERIAL)


def test_an_unfinished_build_of_another_config_is_an_error(tmp_path):
    """An unfinished build with other options is refused."""
    from sneframe_zoos.blocks import Blocks

    Blocks(tmp_path / "a.zarr", {"builder": "zoos/sine", "networks": 7})
    with pytest.raises(ZooError, match=r"a\.zarr\.part holds an unfinished build with networks=7 \(not 12\)"):
        build(SMALL, tmp_path / "a.zarr", quiet, SERIAL)


def test_a_complete_zoo_is_kept(small, caplog):
    """A complete zoo is not written again, and a warning says so."""
    before = (small / "zarr.json").stat().st_mtime_ns
    with caplog.at_level(logging.WARNING):
        build(SMALL, small, quiet, SERIAL)
    assert f"{small} exists and is complete; it is kept" in caplog.text
    assert (small / "zarr.json").stat().st_mtime_ns == before


def test_a_zoo_of_another_config_is_an_error(small):
    """A zoo with other options is refused, and the differences are named."""
    with pytest.raises(
        ZooError, match=r"small\.zarr holds a zoo with networks=12 \(not 11\), seed=0 \(not 3\)"
    ):
        build(
            Sine(networks=11, widths=(8, 8), steps=40, tolerance=0.3, points=32, seed=3), small, quiet, SERIAL
        )


def test_a_file_at_the_path_is_kept(tmp_path):
    """A file at the path raises, and is not changed."""
    path = tmp_path / "a.zarr"
    path.write_text("mine")
    with pytest.raises(ZooError, match="not a zoo"):
        build(SMALL, path, quiet, SERIAL)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": 0}, "'networks' must be >= 1: 0"),
        ({"widths": ()}, "Length of 'widths' must be >= 1: 0"),
        ({"widths": (8, 0)}, "'widths' must be >= 1: 0"),
        ({"seed": -1}, "'seed' must be >= 0: -1"),
        ({"steps": 0}, "'steps' must be >= 1: 0"),
        ({"tolerance": float("nan")}, "'tolerance' must be >= 0: nan"),
        ({"lr": 0.0}, "'lr' must be > 0: 0.0"),
        ({"points": 1}, "'points' must be >= 2: 1"),
    ],
)
def test_an_impossible_config_is_refused(options, message):
    """Impossible options raise ValueError with the name of the option."""
    with pytest.raises(ValueError, match=f"^{message}$"):
        Sine(**options)


def test_all_builders_are_registered():
    """The plugin registers seven builders."""
    import sneframe_zoos

    names = [builder.name for builder in sneframe_zoos.sneframe_zoos()]
    assert names == [
        "zoos/sine",
        "zoos/demo",
        "zoos/images",
        "zoos/cnn",
        "zoos/mlp",
        "zoos/transformer",
        "zoos/lora",
    ]


def test_the_demo_zoo_is_a_sine_zoo(tmp_path, monkeypatch):
    """The demo zoo is a sine zoo of 1000 networks of widths 16, 16."""
    from sneframe_zoos import sine

    calls = []
    monkeypatch.setattr(sine, "build", lambda *args: calls.append(args[:2]))
    DEMO.build(DEMO.config(), tmp_path / "demo.zarr", quiet, SERIAL)
    assert calls == [(Sine(networks=1000, widths=(16, 16)), tmp_path / "demo.zarr")]


def test_an_old_zoo_counts_as_having_new_defaults(small, monkeypatch):
    """A zoo that was made before an option existed counts as made with its default."""
    stored = open_zoo(small).attributes["builder"]
    older = {**stored, "config": {name: value for name, value in stored["config"].items() if name != "siren"}}
    monkeypatch.setattr("sneframe_zoos.once.open_zoo", lambda *_, **__: Older(older))
    before = sorted((path, path.stat().st_mtime_ns) for path in small.rglob("*"))
    build(SMALL, small, quiet, SERIAL)
    assert sorted((path, path.stat().st_mtime_ns) for path in small.rglob("*")) == before
    with pytest.raises(ZooError, match=r"siren=False \(not True\)"):
        build(evolve(SMALL, siren=True), small, quiet, SERIAL)


class Older:
    def __init__(self, builder):
        self.attributes = {"builder": builder}
