"""The options of reading are shared by ``load``, ``inspect`` and ``difference``, and checked by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import sneframe
from sneframe.errors import ConfigError
from sneframe.predict.reading import network_reader

CALLS = {
    "network_reader": network_reader,
    "inspect": lambda **options: sneframe.inspect(nn.Linear(4, 3), **options),
    "difference": lambda **options: sneframe.difference(nn.Linear(4, 3), nn.Linear(4, 3), **options),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_an_unknown_option_is_named_with_the_nearest_known_one(call: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=r"unknown option of reading 'activaton'.*'activation'"):
        call(activaton="relu")


def test_a_known_option_is_passed_on(tmp_path: Path) -> None:
    torch.save({"net.weight": torch.ones(2, 3)}, tmp_path / "net.pt")
    found = sneframe.inspect(tmp_path / "net.pt", strip_prefix="net.")
    assert [each.name for each in found.parameters] == ["weight"]
