"""Read ONNX models. The weights get torch's order of axes, and the computation becomes a torch module.

The package ``onnx`` parses the file. :mod:`~sneframe_formats.onnx_module` computes the graph by torch
functions, from which layers and symmetry can be derived.
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
    """Reads an ONNX model. Its tensors may be in other files of its folder."""

    name = "formats/onnx"
    help = "ONNX models, with the computation"
    endings = (".onnx",)
    needs = ("onnx",)
    extra = "sneframe[onnx]"

    def recognises(self, candidate: Candidate) -> bool:
        """Return True for a file that begins with the version and further fields of an ONNX model."""
        if candidate.is_folder or not candidate.head.startswith(b"\x08"):
            return False
        return looks_like(candidate.head, candidate.path.stat().st_size)

    def others(self, path: Path) -> Mapping[Path, str]:
        """Return the existing files with the names that exporters use for the tensors of a model."""
        names = (f"{path.name}.data", f"{path.name}_data", f"{path.stem}.data", f"{path.stem}.weights")
        return {other: "" for name in names if (other := path.parent / name).is_file()}

    def read(self, path: Path) -> Content:
        """Read the weights of a model. Also read its computation, if all operations are supported."""
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
    """Parse a model. Tensors in other files are not read.

    Raises:
        FileError: the file is damaged, is too large, or has too many parts.
    """
    check_parts(path)
    import onnx

    try:
        model = onnx.ModelProto()
        model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf raises its own errors for a damaged message
        raise FileError(f"{path}: damaged, or not an ONNX model ({one_line(error)[:80]})") from error
    if not model.HasField("graph"):
        raise FileError(f"{path}: damaged, or not an ONNX model (there is no graph)")
    return model
