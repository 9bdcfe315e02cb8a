"""The demo zoo is built once and cached, and checked before it is used again."""

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
    """Set an empty cache, and a demo zoo that is built quickly."""
    monkeypatch.setattr("sneframe.train.data.default_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(sine, "DEMO_ZOO", SMALL)
    return tmp_path / "cache"


def test_the_demo_zoo_is_built_once(cache, monkeypatch):
    """A second call returns the cached demo zoo."""
    path = demo_zoo(Reporter())
    monkeypatch.setattr(sine, "train", None)
    assert demo_zoo(Reporter()) == path
    assert len(open_zoo(path)) == 6
    assert list(cache.iterdir()) == [path]


def test_a_cached_demo_zoo_is_taken_silently(cache, caplog):
    """Nothing is printed if the demo zoo is already built."""
    demo_zoo(Reporter())
    demo_zoo(Reporter())
    assert caplog.records == []


def test_a_demo_zoo_of_another_version_stays(cache, monkeypatch):
    """The demo zoo of another version stays, and a new one is built."""
    first = demo_zoo(Reporter())
    offered = plugins.installed()

    def newer():
        from attrs import evolve

        return {**offered, "zoos": evolve(offered["zoos"], version="99.0")}

    monkeypatch.setattr(plugins, "installed", newer)
    second = demo_zoo(Reporter())
    assert sorted(cache.iterdir()) == sorted([first, second])
    assert second.name == "demo-99.0.zarr"


def test_a_demo_zoo_with_other_options_is_refused(cache, monkeypatch):
    """A zoo with other options at the path of the demo zoo is an error."""
    demo_zoo(Reporter())
    monkeypatch.setattr(sine, "DEMO_ZOO", sine.Sine(networks=7, widths=(3,), steps=1))
    with pytest.raises(ZooError, match=r"holds a zoo with networks=6 \(not 7\); remove that"):
        demo_zoo(Reporter())


def test_an_interrupted_demo_build_can_be_continued(cache, monkeypatch):
    """After Ctrl-C the error says to run the same command again."""

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(sine, "train", interrupted)
        with pytest.raises(Interrupted, match="run the same command again to continue"):
            demo_zoo(Reporter())
    assert len(open_zoo(demo_zoo(Reporter()))) == 6
