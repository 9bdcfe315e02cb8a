import pytest
import torch

pytest_plugins = ["sneframe.testing.fixtures"]


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="torch finds no CUDA device on this machine"))
