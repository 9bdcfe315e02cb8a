"""Register readers for the file formats of other frameworks. Some readers need an optional package."""

from __future__ import annotations

from collections.abc import Sequence

from sneframe.files.reader import FileReader
from sneframe.hookspecs import hookimpl
from sneframe_formats.flax_reader import FlaxReader
from sneframe_formats.flax_safetensors_reader import FlaxSafetensorsReader
from sneframe_formats.gguf_reader import GgufDequantisedReader, GgufReader
from sneframe_formats.keras_reader import KerasReader
from sneframe_formats.numpy_reader import NumpyReader
from sneframe_formats.onnx_reader import OnnxReader
from sneframe_formats.tflite_reader import TfliteReader
from sneframe_formats.torchscript_reader import TorchScriptReader


@hookimpl
def sneframe_readers() -> Sequence[type[FileReader]]:
    """Return the readers, in the order in which they are asked whether they recognise a file.

    ``GgufReader`` and ``GgufDequantisedReader`` recognise the same files. ``GgufReader`` is asked first: it
    raises an error for quantised weights, and the user can then choose ``GgufDequantisedReader``.
    """
    return [
        NumpyReader,
        TorchScriptReader,
        OnnxReader,
        FlaxReader,
        FlaxSafetensorsReader,
        GgufReader,
        GgufDequantisedReader,
        TfliteReader,
        KerasReader,
    ]
