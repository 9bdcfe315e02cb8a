"""The demo zoo: built once, cached, and looked at before it is used again."""

import pytest
from sneframe_zoos import sine

from sneframe import plugins
from sneframe.errors import Interrupted, ZooError
from sneframe.progress import Reporter
from sneframe.train.data import demo_zoo
from sneframe.zoo import open_zoo

SMALL = sine.Sine(networks=6, widths=(3,), steps=1)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and a demo zoo that is made in no time."""
    monkeypatch.setattr("sneframe.train.data.default_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(sine, "DEMO_ZOO", SMALL)
    return tmp_path / "cache"


def test_it_is_built_once(cache, monkeypatch):
    path = demo_zoo(Reporter())
    monkeypatch.setattr(sine, "train", None)
    assert demo_zoo(Reporter()) == path
    assert len(open_zoo(path)) == 6
    assert list(cache.iterdir()) == [path]


def test_nothing_is_said_of_one_that_is_there(cache, caplog):
    demo_zoo(Reporter())
    demo_zoo(Reporter())
    assert caplog.records == []


def test_one_of_another_version_is_left_alone(cache, monkeypatch):
    first = demo_zoo(Reporter())
    offered = plugins.installed()

    def newer():
        from attrs import evolve

        return {**offered, "zoos": evolve(offered["zoos"], version="99.0")}

    monkeypatch.setattr(plugins, "installed", newer)
    second = demo_zoo(Reporter())
    assert sorted(cache.iterdir()) == sorted([first, second])
    assert second.name == "demo-99.0.zarr"


def test_one_of_another_configuration_is_not_used(cache, monkeypatch):
    demo_zoo(Reporter())
    monkeypatch.setattr(sine, "DEMO_ZOO", sine.Sine(networks=7, widths=(3,), steps=1))
    with pytest.raises(ZooError, match=r"holds a zoo with networks=6 \(not 7\); remove that"):
        demo_zoo(Reporter())


def test_an_interrupted_build_says_that_the_same_command_goes_on(cache, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sine, "train", interrupted)
        with pytest.raises(Interrupted, match="the same command goes on"):
            demo_zoo(Reporter())
    assert len(open_zoo(demo_zoo(Reporter()))) == 6
