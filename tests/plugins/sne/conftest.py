"""Tests of attention in double precision."""

import pytest
import torch


@pytest.fixture
def double():
    """Make new tensors double, from a fixed seed."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
