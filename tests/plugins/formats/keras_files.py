"""Weights files of Keras, and the checks of hostile files that several tests share."""

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from sneframe_formats.keras_reader import KerasReader

from sneframe.errors import FileError
from sneframe.files.reader import Content

READER = KerasReader()


def refused(path: Path, match: str) -> None:
    """Check that the file is refused in one line that begins with its path."""
    with pytest.raises(FileError, match=match) as caught:
        READER.read(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def weights(*shapes: tuple[int, ...]) -> bytes:
    """Return a weights file of Keras 3 with dense layers of these shapes."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for number, shape in enumerate(shapes):
            group = f"layers/dense{f'_{number}' if number else ''}/vars"
            file[f"{group}/0"] = np.ones(shape, "float32")
            file[f"{group}/1"] = np.ones(shape[1], "float32")
    return buffer.getvalue()


def computed(content: Content, given: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Return what the module of a file computes."""
    assert content.module is not None
    made = content.module()
    module = made[0] if isinstance(made, tuple) else made
    with torch.no_grad():
        return module(*[torch.tensor(each) for each in given]).numpy()  # type: ignore[no-any-return]
