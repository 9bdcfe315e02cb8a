"""Read ONNX models: the weights in torch's order, and the computation as a torch module. Nothing is executed.

The onnx package parses the file. The graph is computed by torch functions, see
:mod:`~sneframe_formats.onnx_module`, so that layers and symmetry can be derived.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from torch import Tensor, nn

from sneframe.errors import FileError, one_line
from sneframe.files.reader import Candidate, Content, FileReader
from sneframe_formats.onnx_graph import read_graph
from sneframe_formats.onnx_wire import check_parts, looks_like


@final
class OnnxReader(FileReader):
    """Reads an ONNX model, also one that keeps its tensors in other files of its folder."""

    name = "formats/onnx"
    help = "ONNX models, with the computation"
    endings = (".onnx",)
    needs = ("onnx",)
    extra = "sneframe[onnx]"

    def recognises(self, candidate: Candidate) -> bool:
        """Recognise the version of the format, and the fields that follow it."""
        if candidate.is_folder or not candidate.head.startswith(b"\x08"):
            return False
        return looks_like(candidate.head, candidate.path.stat().st_size)

    def others(self, path: Path) -> Mapping[Path, str]:
        """Return the file in which exporters put the tensors of a model, by its usual names."""
        names = (f"{path.name}.data", f"{path.name}_data", f"{path.stem}.data", f"{path.stem}.weights")
        return {other: "" for name in names if (other := path.parent / name).is_file()}

    def read(self, path: Path) -> Content:
        """Read the weights of a model and its computation."""
        graph = read_graph(parsed(path), path)
        if not graph.weights:
            raise FileError(f"{path}: the model holds no weights")
        from sneframe_formats.onnx_build import build
        from sneframe_formats.onnx_shapes import runnable

        example, note = runnable(graph)
        notes = (*graph.notes, *([note] if note else []))
        if example is None:
            return Content(values=dict(graph.weights), notes=notes, guess=False)

        def module() -> tuple[nn.Module, tuple[Tensor, ...]]:
            return build(graph), example

        return Content(values=dict(graph.weights), module=module, notes=notes)


def parsed(path: Path) -> Any:
    """Parse a model, without the tensors in other files.

    Raises:
        FileError: the file is damaged, is too large, or has too many parts.
    """
    check_parts(path)
    import onnx

    try:
        model = onnx.ModelProto()
        model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf raises an error of its own kind for a damaged message
        raise FileError(f"{path}: damaged, or not an ONNX model ({one_line(error)[:80]})") from error
    if not model.HasField("graph"):
        raise FileError(f"{path}: damaged, or not an ONNX model (there is no graph)")
    return model
