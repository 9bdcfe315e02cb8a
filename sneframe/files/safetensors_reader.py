"""Read safetensors files. Their tensors are memory-mapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

from safetensors import SafetensorError, safe_open

from sneframe.errors import FileError, one_line
from sneframe.files.names import layered
from sneframe.files.reader import Candidate, Content, FileReader

LENGTH = 8  #: number of bytes at the start of a file that hold the length of the header


@final
class SafetensorsReader(FileReader):
    """Reads a safetensors file."""

    name = "sneframe/safetensors"
    help = "safetensors files"
    endings = (".safetensors",)

    def recognises(self, candidate: Candidate) -> bool:
        """Recognise a file that begins with the length of a header, followed by a JSON object."""
        head = candidate.head
        if head[LENGTH : LENGTH + 1] != b"{":
            return False
        size = candidate.path.stat().st_size
        return int.from_bytes(head[:LENGTH], "little") <= size - LENGTH

    def read(self, path: Path) -> Content:
        """Map the tensors into memory, sorted by the layer numbers in their names."""
        return Content(values=read_safetensors(path))


def read_safetensors(path: Path) -> dict[str, Any]:
    """Read a safetensors file. The tensors are memory-mapped, and sorted by the layer numbers in their names.

    Raises:
        FileError: the file is damaged, or is not a safetensors file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = sorted(file.keys(), key=layered)  # safetensors does not preserve the order of the tensors
            return {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise FileError(f"{path}: damaged, or not a safetensors file ({one_line(error)})") from error
