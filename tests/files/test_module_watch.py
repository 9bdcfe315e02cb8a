"""A module factory that takes long or opens a network connection is named."""

import socket
import threading
import time
import urllib.error
import urllib.request
import warnings

import pytest

from sneframe.errors import ConfigError
from sneframe.files import module_watch
from sneframe.files.module_factory import Factory
from sneframe.files.module_watch import ConnectionRefused, Watch

NET = "    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))\n"


@pytest.fixture
def port():
    """Return a port of this machine on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def connect(port):
    with socket.socket() as own:
        own.connect_ex(("127.0.0.1", port))


@pytest.fixture
def architecture(tmp_path, monkeypatch):
    """Return a function that describes networks with a module factory whose code it is given."""
    from torch import nn

    def run(name, code, times=1):
        (tmp_path / f"{name}.py").write_text(f"from torch import nn\n{code}")
        state = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).state_dict()
        factory = Factory(f"{name}:make")
        return [factory.architecture(state, {}) for _ in range(times)]

    monkeypatch.chdir(tmp_path)
    return run


def test_a_function_that_takes_long_is_named_once(architecture, monkeypatch):
    """A function that takes long is named with the time, once for all networks."""
    monkeypatch.setattr(module_watch, "LONG", 0.02)
    with pytest.warns(UserWarning, match=r"sleeps:make: took \d+ s for one network") as seen:
        architecture("sleeps", f"import time\ndef make():\n    time.sleep(0.03)\n{NET}", times=3)
    assert len(seen) == 1


def test_a_function_that_downloads_is_named_once(architecture, port):
    """A function that opens a connection is named with the host, once for all networks."""
    code = (
        "import socket\n"
        f"def make():\n    with socket.socket() as own:\n        own.connect_ex(('127.0.0.1', {port}))\n{NET}"
    )
    with pytest.warns(UserWarning, match=r"loads:make: opens a network connection to 127\.0\.0\.1;") as seen:
        architecture("loads", code, times=3)
    assert len(seen) == 1


def test_a_failed_download_is_named_as_well(architecture, port):
    """A function whose download fails gives the warning and an error of one line."""
    code = (
        f"import urllib.request\ndef make():\n    urllib.request.urlopen('http://127.0.0.1:{port}/x')\n{NET}"
    )
    with (
        pytest.warns(UserWarning, match=r"asks:make: opens a network connection to 127\.0\.0\.1"),
        pytest.raises(ConfigError, match="asks:make: URLError"),
    ):
        architecture("asks", code)


def test_a_download_at_import_is_named(architecture, port):
    """A connection that is opened while the user's module is imported counts."""
    code = (
        f"import socket\nwith socket.socket() as own:\n    own.connect_ex(('127.0.0.1', {port}))\n"
        f"def make():\n{NET}"
    )
    with pytest.warns(UserWarning, match=r"at_import:make: opens a network connection to 127"):
        architecture("at_import", code)


def test_a_local_function_gives_no_warning(architecture, tmp_path):
    """Files, file URLs, Unix sockets and names of this machine are not connections."""
    code = (
        "import socket, urllib.request, contextlib\n"
        "def make():\n"
        f"    urllib.request.urlopen('file://{tmp_path}/local.py').close()\n"
        "    with socket.socket(socket.AF_UNIX) as own, contextlib.suppress(OSError):\n"
        "        own.connect('/no/such/socket')\n"
        f"    socket.gethostname()\n{NET}"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        architecture("local", code)


def test_only_a_running_factory_is_watched(port):
    """Connections before, after and in other threads are not the factory's."""
    watch = Watch("m:f", refuse=True)
    connect(port)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with watch.running():
            other = threading.Thread(target=connect, args=(port,))
            other.start()
            other.join()
        connect(port)


def test_a_refused_connection_is_not_opened(port):
    """A connection that is refused raises before it is opened, also if only a name is looked up."""
    for ask in (lambda: connect(port), lambda: socket.getaddrinfo("localhost", port)):
        with (
            pytest.warns(UserWarning, match="timm:x: tried to open a network connection to .* was refused"),
            pytest.raises(ConnectionRefused, match="because nothing may be downloaded here"),
            Watch("timm:x", refuse=True).running(),
        ):
            ask()


def test_a_request_names_its_host():
    """The host of a request is known before its address is looked up."""
    with (
        pytest.warns(UserWarning, match=r"to weights\.example, which was refused"),
        pytest.raises((ConnectionRefused, urllib.error.URLError)),
        Watch("m:f", refuse=True).running(),
    ):
        urllib.request.urlopen("http://weights.example/a.pt")


def test_watching_costs_little():
    """Ten thousand watched calls take less than a second."""
    watch, start = Watch("m:f"), time.perf_counter()
    for _ in range(10_000):
        with watch.running():
            pass
    assert time.perf_counter() - start < 1
