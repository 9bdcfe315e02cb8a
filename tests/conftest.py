import signal

import pytest
import torch

pytest_plugins = ["sneframe.testing.fixtures"]


def pytest_configure():
    # A shell that runs tests in the background has Ctrl-C ignored, and whatever a test starts inherits that.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="torch finds no CUDA device on this machine"))
