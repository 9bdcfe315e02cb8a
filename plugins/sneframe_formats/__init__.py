"""This plugin registers readers for the file formats of other frameworks. Most need an optional package."""

from __future__ import annotations

from collections.abc import Sequence

from sneframe.files.reader import FileReader
from sneframe.hookspecs import hookimpl
from sneframe_formats.onnx_reader import OnnxReader


@hookimpl
def sneframe_readers() -> Sequence[type[FileReader]]:
    """Register all readers."""
    return [OnnxReader]
