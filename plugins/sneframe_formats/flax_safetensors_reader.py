"""Read safetensors files of Flax networks, whose tensors have the names and orders of axes of Flax."""

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
    """Reads a safetensors file in which weights have the name ``kernel``, as in Flax."""

    name = "formats/flax-safetensors"
    help = "safetensors files that were written from Flax, whose weights are named kernel"
    endings = (".safetensors",)

    def recognises(self, candidate: Candidate) -> bool:
        """Return True for a safetensors file with a tensor named ``kernel``, unless the file is a shard."""
        if candidate.head[LENGTH : LENGTH + 1] != b"{" or SHARD.match(candidate.name):
            return False
        try:
            with safe_open(candidate.path, framework="pt") as file:
                return says_kernel(list(file.keys()))
        except (SafetensorError, OSError):
            return False

    def read(self, path: Path) -> Content:
        """Read the tensors. Their names and orders of axes become those of torch."""
        tensors = without_collections(read_safetensors(path))
        try:
            found, notes = in_torch_order(tensors)
        except FileError as error:
            raise FileError(f"{path}: {error}") from error
        return Content(values=found, notes=notes)
