"""Read GGUF files, which llama.cpp uses."""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from sneframe.errors import FileError, counted
from sneframe.files.reader import Candidate, Content, FileReader
from sneframe_formats.gguf_header import MAGIC, DamagedHeader, GgufHeader, GgufTensor, read_header
from sneframe_formats.mapped_tensors import mapped, tensor_at

DTYPES = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
}
#: Types that cannot be dequantised from one tensor. Some scales of NVFP4 are in other tensors.
SCALED_ELSEWHERE = ("NVFP4",)
#: The start of the keys of metadata that describe the tokenizer, not the network.
TOKENIZER = "tokenizer."
LLAMA_CPP = (
    "names and values are those of llama.cpp, which for some architectures differ from those of the network "
    "before its conversion, for example in the order of the rows of attn_q and attn_k"
)


@final
class GgufReader(FileReader):
    """Reads a GGUF file whose weights are not quantised."""

    name = "formats/gguf"
    help = "GGUF files of llama.cpp with float weights"
    endings = (".gguf",)

    def recognises(self, candidate: Candidate) -> bool:
        """Recognise the first four bytes."""
        return candidate.head.startswith(MAGIC)

    def read(self, path: Path) -> Content:
        """Read the tensors, or raise a ``FileError`` if any of them is quantised."""
        data, header = _opened(path)
        if quantised := _quantised(header):
            total = sum(prod(each.shape) for each in header.tensors.values())
            part = sum(prod(each.shape) for each in quantised.values()) / max(1, total)
            raise FileError(
                f"{path}: {part:.2%} of the weights are quantised ({_kinds(quantised)}); use the network "
                f"before quantisation, or read the rounded weights with --reader {GgufDequantisedReader.name}"
            )
        return _content(header, {name: _plain(each, data) for name, each in header.tensors.items()})


@final
class GgufDequantisedReader(FileReader):
    """Reads a GGUF file with quantised weights, if the user chooses this reader.

    :class:`GgufReader` recognises the same files and is asked first. This reader is therefore used only if it
    is chosen by name.
    """

    name = "formats/gguf-dequantised"
    help = "GGUF files of llama.cpp; quantised weights are read as float32. Used only if it is chosen"
    needs = ("gguf",)
    extra = "sneframe[gguf]"

    def recognises(self, candidate: Candidate) -> bool:
        """Recognise the first four bytes."""
        return candidate.head.startswith(MAGIC)

    def read(self, path: Path) -> Content:
        """Read the tensors. Those that are quantised are dequantised to float32."""
        data, header = _opened(path)
        tensors, quantised = {}, _quantised(header)
        for name, each in header.tensors.items():
            try:
                tensors[name] = _dequantised(each, data) if name in quantised else _plain(each, data)
            except NotImplementedError as error:
                kind = each.kind.name
                raise FileError(
                    f"{path}: {name!r} has the type {kind}, which cannot be dequantised"
                ) from error
        if not quantised:
            return _content(header, tensors)
        note = f"{counted(len(quantised), 'tensor')} with rounded weights dequantised ({_kinds(quantised)})"
        return _content(header, tensors, note)


def _opened(path: Path) -> tuple[mmap.mmap, GgufHeader]:
    """Map a file into memory, and read its header.

    Raises:
        FileError: the file is damaged or hostile, or contains only a part of a network.
    """
    data = mapped(path)
    try:
        header = read_header(data)
    except DamagedHeader as error:
        raise FileError(f"{path}: damaged, or not a GGUF file that is read: {error}") from error
    if isinstance(parts := header.metadata.get("split.count"), int) and parts > 1:
        raise FileError(
            f"{path}: the file is one of {parts} parts of a network; "
            "join the parts with llama-gguf-split --merge"
        )
    return data, header


def _quantised(header: GgufHeader) -> dict[str, GgufTensor]:
    return {name: each for name, each in header.tensors.items() if each.kind.block > 1}


def _kinds(tensors: Mapping[str, GgufTensor]) -> str:
    """Return the names of the types of tensors as a list in words. The most frequent type comes first."""
    return ", ".join(name for name, _ in Counter(each.kind.name for each in tensors.values()).most_common())


def _content(header: GgufHeader, tensors: Mapping[str, Tensor], *notes: str) -> Content:
    properties: dict[str, Any] = {
        key: value for key, value in header.metadata.items() if not key.startswith(TOKENIZER)
    }
    return Content(values=tensors, properties=properties, notes=(*notes, LLAMA_CPP))


def _plain(stored: GgufTensor, data: mmap.mmap) -> Tensor:
    return tensor_at(data, DTYPES[stored.kind.name], stored.start, stored.stop).reshape(stored.shape)


def _dequantised(stored: GgufTensor, data: mmap.mmap) -> Tensor:
    """Return the values of a quantised tensor as float32.

    Raises:
        NotImplementedError: the type cannot be dequantised.
    """
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    kind = stored.kind
    if kind.name in SCALED_ELSEWHERE:
        raise NotImplementedError(kind.name)
    if stored.start == stored.stop:
        return torch.empty(stored.shape)
    flat = np.frombuffer(data, np.uint8, stored.stop - stored.start, stored.start)
    rows = flat.reshape(*stored.shape[:-1], stored.shape[-1] // kind.block * kind.size)
    with np.errstate(all="ignore"):  # the scales of a damaged file may be infinite
        return torch.from_numpy(dequantize(rows, GGMLQuantizationType(stored.number)))
