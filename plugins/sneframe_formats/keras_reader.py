"""Read files of Keras 3 and tf.keras, with whole models or only weights, and other HDF5 files."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, final

from einops import rearrange
from torch import Tensor

from sneframe.errors import FileError, one_line
from sneframe.files.archive import read_entry
from sneframe.files.reader import Candidate, Content, FileReader
from sneframe_formats.h5_file import MAGIC, H5File
from sneframe_formats.keras_config import KerasLayer, NoModuleError, layers, parsed, snake
from sneframe_formats.keras_layers import BUILDERS, DEPTHWISE, TRANSPOSED
from sneframe_formats.keras_module import description
from sneframe_formats.keras_variables import STATE, Found, legacy, more, numbered, plain
from sneframe_formats.kernel_order import Kind, in_torch_order

ENTRIES = ("config.json", "model.weights.h5")
METADATA = "metadata.json"
OLD = ("0.", "1.", "2.")  #: the starts of the versions of Keras before 3
SHARD = re.compile(
    r"_\d{5}\.weights\.h5$"
)  #: matches the end of a file name if the file contains only a part of a network
BACKENDS = ("", "tensorflow", "jax", "torch", "numpy", "openvino")  #: backends whose kernels are not flipped


@final
class KerasReader(FileReader):
    """Reads the files of Keras, and other HDF5 files with named datasets."""

    name = "formats/keras"
    help = "files of Keras 3 and tf.keras: .keras, .weights.h5 and .h5; and HDF5 files of named tensors"
    endings = (".keras", ".weights.h5", ".h5", ".hdf5")
    needs = ("h5py",)
    extra = "sneframe[keras]"

    def recognises(self, candidate: Candidate) -> bool:
        """Return True for an HDF5 file, and for an archive with the entries of a ``.keras`` file."""
        return candidate.head.startswith(MAGIC) or set(ENTRIES) <= set(candidate.entries)

    def read(self, path: Path) -> Content:
        """Read the weights. Also read the computation if the file has a config whose layers are all known."""
        if SHARD.search(path.name):
            index = path.with_name(SHARD.sub(".weights.json", path.name))
            if index.exists():
                raise FileError(
                    f"{path}: this is a part of a network that was saved in several files, "
                    f"and parts are not read; save the network without max_shard_size"
                )
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
        if magic == MAGIC:
            return _content(path, path, None)
        try:
            with zipfile.ZipFile(path) as archive:
                if missing := [name for name in ENTRIES if name not in archive.namelist()]:
                    raise FileError(f"{path}: not a Keras file: {missing[0]} is missing from the archive")
                config = parsed(read_entry(archive, ENTRIES[0], path).getvalue(), path)
                old = _is_old(read_entry(archive, METADATA, path) if METADATA in archive.namelist() else None)
                return _content(read_entry(archive, ENTRIES[1], path), path, config, old=old)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise FileError(
                f"{path}: neither an HDF5 file nor a Keras archive ({one_line(error)})"
            ) from error


def _is_old(metadata: IO[bytes] | None) -> bool:
    """Return whether Keras 2 or older wrote an archive. An archive without a version counts as old."""
    try:
        found = json.loads(metadata.read()) if metadata is not None else None
    except (ValueError, RecursionError):
        return True
    version = found.get("keras_version") if isinstance(found, Mapping) else None
    return not isinstance(version, str) or version.startswith(OLD)


def _content(
    source: Path | IO[bytes], path: Path, config: Mapping[str, Any] | None, *, old: bool = False
) -> Content:
    with H5File(source, path) as file:
        root = next((group for group in ("model_weights", "") if file.texts(group, "layer_names")), None)
        if config is None and (text := file.texts("", "model_config")):
            config = parsed(text[0], path)
            version = file.texts("", "keras_version") or file.texts("model_weights", "keras_version")
            old = not version or version[0].startswith(OLD)
        known = {} if config is None else layers(config, path, old=old)
        if root is not None:
            found = legacy(file, root, known, config)
        elif config is not None or any("/vars/" in f"/{name}" for name in file.datasets):
            found = numbered(file, known)
        else:
            found = plain(file)
        names = {
            f"{stem}.{name}" if stem else name: where
            for stem, own in found.paths.items()
            for name, where in own.items()
        }
        if not names:
            what = "no numbers" if not file.datasets else "no tensors of a network"
            raise FileError(f"{path}: the file holds {what}")
        values = {name: file.tensor(where) for name, where in names.items()}
        for name, value in values.items():
            if found.of_keras and value.ndim > 1 and not value.is_floating_point():
                raise FileError(
                    f"{path}: {name!r} is of type {str(value.dtype).removeprefix('torch.')}; "
                    f"quantised weights are not read"
                )
    return _described(values, found, known, config, path, file.passed)


def _described(
    values: Mapping[str, Tensor],
    found: Found,
    known: Mapping[str, KerasLayer],
    config: Mapping[str, Any] | None,
    path: Path,
    passed: Sequence[str],
) -> Content:
    try:
        values, notes = in_torch_order(values, _kinds(found))
    except FileError as error:
        raise FileError(f"{path}: {error}") from error
    except Exception as error:  # a tensor may have a shape that its layer cannot have
        raise FileError(f"{path}: a tensor does not fit its name ({one_line(error)})") from error
    values = _with_slopes(values, found)
    passed = [each for each in passed if not any(word in STATE for word in each.split("/"))]
    if passed:
        what = "holds no numbers of a known type and was left out"
        found.notes.append(f"{passed[0]!r} {what}{more(len(passed))}")
    if config is None:
        return Content(values=values, notes=(*found.notes, *notes))
    notes = tuple(each for each in notes if "keep their names" in each)
    if not known:
        raise FileError(f"{path}: the config has no layers")
    try:
        if found.backend not in BACKENDS:
            raise NoModuleError(f"Keras with the backend {found.backend!r} wrote the file")
        described = description(config, known, values)
    except NoModuleError as error:
        notes = (f"the computation is not known: {error}; nothing is derived from it", *notes)
        return Content(values=values, guess=False, notes=(*found.notes, *notes))
    return Content(values=values, module=described.module, notes=tuple(found.notes))


def _kinds(found: Found) -> dict[str, Kind]:
    """Return the kind of each layer of a known class, which determines the order of axes of its kernel."""
    kinds: dict[str, Kind] = {}
    for stem, kind in found.kinds.items():
        if kind in [snake(each) for each in DEPTHWISE]:
            kinds[stem] = "depthwise"
        elif kind in [snake(each) for each in TRANSPOSED]:
            kinds[stem] = "transposed"
        elif kind in [snake(each) for each in BUILDERS if "Conv" in each or each == "Dense"]:
            kinds[stem] = "plain"
        elif kind == "einsum_dense":
            kinds[stem] = "kept"
    return kinds


def _with_slopes(values: Mapping[str, Tensor], found: Found) -> dict[str, Tensor]:
    """Return the values with torch's name and shape for the slopes of each PReLU with a slope per channel."""
    result: dict[str, Tensor] = {}
    for name, value in values.items():
        stem = name.rpartition(".")[0]
        if found.kinds.get(stem) == "p_re_lu" and value.ndim and set(value.shape[:-1]) <= {1}:
            result[f"{stem}.weight"] = rearrange(value, "... c -> (... c)")
        else:
            result[name] = value
    return result
