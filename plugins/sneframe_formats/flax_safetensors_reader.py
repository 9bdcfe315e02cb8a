"""Read safetensors files that were written from Flax, whose names and axes are not those of torch."""

from __future__ import annotations

from pathlib import Path
from typing import final

from safetensors import SafetensorError, safe_open

from sneframe.errors import FileError
from sneframe.files.reader import Candidate, Content, FileReader
from sneframe.files.safetensors_reader import LENGTH, read_safetensors
from sneframe.files.shards import SHARD
from sneframe_formats.kernel_order import in_torch_order, says_kernel, without_collections


@final
class FlaxSafetensorsReader(FileReader):
    """Reads a safetensors file whose weights are named ``kernel``, as Flax names them."""

    name = "formats/flax-safetensors"
    help = "safetensors files that were written from Flax, whose weights are named kernel"
    endings = (".safetensors",)

    def recognises(self, candidate: Candidate) -> bool:
        """Recognise a safetensors file, but no shard, with a tensor that is named ``kernel``."""
        if candidate.head[LENGTH : LENGTH + 1] != b"{" or SHARD.match(candidate.name):
            return False
        try:
            with safe_open(candidate.path, framework="pt") as file:
                return says_kernel(list(file.keys()))
        except (SafetensorError, OSError):
            return False

    def read(self, path: Path) -> Content:
        """Map the tensors, and turn linear and convolution kernels into torch's order of axes."""
        tensors = without_collections(read_safetensors(path))
        try:
            found, notes = in_torch_order(tensors)
        except FileError as error:
            raise FileError(f"{path}: {error}") from error
        return Content(values=found, notes=notes)
