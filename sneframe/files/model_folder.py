"""Read a model folder of Hugging Face: the weights of one network, often in several formats, and a config."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

from sneframe.errors import FileError
from sneframe.files.reader import Candidate, Content, FileReader
from sneframe.files.safe_path import inside
from sneframe.files.shards import SHARD

#: Config files. A folder without any of them is not a model folder, but may hold several networks.
CONFIGS = ("config.json", "adapter_config.json", "model_index.json", "open_clip_config.json")
#: The names that the weights in a model folder may have. The first file that exists is read.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "adapter_model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "adapter_model.bin",
    "diffusion_pytorch_model.bin",
    "open_clip_pytorch_model.bin",
    "flax_model.msgpack",
    "tf_model.h5",
    "model.onnx",
)
#: Matches the names of variants of these files, such as ``model.fp16.safetensors``.
VARIANT = re.compile(
    r"(open_clip_|adapter_|diffusion_pytorch_|pytorch_|flax_|tf_)?(pytorch_)?model[._][\w.-]*"
    r"(safetensors|bin|msgpack|h5|onnx)(\.index\.json)?"
)
#: Folders in a model folder that hold copies of the network in other formats.
COPIES = ("onnx", "original", "openvino", "coreml", "tflite", "gguf", "flax", "tf", "metal")


@final
class ModelFolderReader(FileReader):
    """Reads the weights in a model folder, from the first of ``WEIGHTS`` that exists.

    Args:
        readers: the readers of the weights.
    """

    name = "sneframe/model-folder"
    help = "model folders and cache snapshots of Hugging Face: config.json beside the weights"

    def __init__(self, readers: Sequence[FileReader]) -> None:
        self._readers = readers

    def recognises(self, candidate: Candidate) -> bool:
        """Recognise a folder that holds a config file, and weights under one of the usual names."""
        return (
            candidate.is_folder
            and not candidate.names.isdisjoint(CONFIGS)
            and not candidate.names.isdisjoint(WEIGHTS)
        )

    def read(self, path: Path) -> Content:
        """Read the weights file with the first reader that recognises it."""
        main = inside(path, self.main(path).name)
        candidate = Candidate(main, is_folder=False)
        for reader in self._readers:
            if reader.recognises(candidate):
                return reader.read(main)
        raise FileError(f"{path}: no reader recognises {main.name}")

    def main(self, path: Path) -> Path:
        """Return the path of the first file of ``WEIGHTS`` that exists in the folder."""
        return next(path / name for name in WEIGHTS if (path / name).exists())

    def others(self, path: Path) -> Mapping[Path, str]:
        """Return the shards and the other copies of the network, each with the reason to pass over it."""
        main = self.main(path)
        found = {
            path / name: f"holds the same network as {main.name}, which is read"
            for name in WEIGHTS
            if (path / name).exists() and name != main.name
        }
        for each in path.iterdir():
            if SHARD.match(each.name):
                found[each] = ""
            elif each != main and each not in found and VARIANT.fullmatch(each.name):
                found[each] = f"a variant of the network in {main.name}, which is read"
            elif each.name in COPIES and each.is_dir():
                found[each] = f"a folder with copies of the network in {main.name}, which is read"
        return found
