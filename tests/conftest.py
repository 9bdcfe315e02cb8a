import signal
import sys
import textwrap

import pytest
import torch
from hypothesis import settings

pytest_plugins = ["sneframe.testing.fixtures", "made_up_run"]


def pytest_configure():
    # A shell that runs tests in the background has Ctrl-C ignored, and whatever a test starts inherits that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # No test asserts a time: on a busy machine an example may take long.
    settings.register_profile("no deadline", settings(), deadline=None)
    settings.load_profile("no deadline")


#: The files that take longest. They come first, so that no worker has one of them left when the others have
#: ended.
LONG = (
    "tests/bench/test_schedule.py",
    "tests/predict/test_commands.py",
    "tests/bench/test_classifier_zoos.py",
    "tests/bench/test_compare.py",
    "tests/train/test_two_processes.py",
    "tests/test_third_party.py",
    "tests/bench/test_worker.py",
    "tests/testing/test_laws.py",
    "tests/report/test_map.py",
    "tests/train/test_interrupted.py",
    "tests/train/test_run.py",
    "tests/architecture/test_programs.py",
    "tests/testing/test_check.py",
)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.nodeid.partition("::")[0] not in LONG)
    if not torch.cuda.is_available():
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="torch finds no CUDA device on this machine"))


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a module as a distribution with an entry point, for one test."""
    made = []

    def make(source, *, plugin="odd", distribution="sneframe-odd", module="sneframe_odd_module"):
        (tmp_path / f"{module}.py").write_text(textwrap.dedent(source).replace("{plugin}", plugin))
        info = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[sneframe]\n{plugin} = {module}\n")
        made.append(module)

    monkeypatch.syspath_prepend(tmp_path)
    yield make
    for module in made:
        sys.modules.pop(module, None)
