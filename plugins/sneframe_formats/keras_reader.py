"""Read the files of Keras: whole models and weights, of Keras 3 and of tf.keras, and other HDF5 files."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, final

from attrs import field, frozen
from einops import rearrange
from torch import Tensor

from sneframe.errors import FileError, one_line
from sneframe.files.archive import read_entry
from sneframe.files.reader import Candidate, Content, FileReader
from sneframe_formats.h5_file import MAGIC, H5File
from sneframe_formats.kernel_order import Kind, in_torch_order
from sneframe_formats.keras_config import Layer, NoModuleError, dotted, layers, parsed, parts, snake
from sneframe_formats.keras_layers import BUILDERS, DEPTHWISE, TRANSPOSED
from sneframe_formats.keras_module import description

ENTRIES = ("config.json", "model.weights.h5")
CONTAINERS = ("layers", "_layer_checkpoint_dependencies")  #: groups of a weights file that hold layers
#: Groups of a weights file that hold no weights of a network.
STATE = ("optimizer", "seed_generator", "optimizer_weights")
#: The variables of layers, in the order of the numbers that a weights file of Keras 3 gives them.
KERNEL = ("kernel", "bias")
VARIABLES: Mapping[str, tuple[str, ...]] = {
    **{snake(kind): KERNEL for kind in BUILDERS if "Conv" in kind or kind == "Dense"},
    **{f"separable_conv{n}d": ("depthwise_kernel", "pointwise_kernel", "bias") for n in (1, 2)},
    "batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "layer_normalization": ("gamma", "beta"),
    "group_normalization": ("gamma", "beta"),
    "embedding": ("embeddings",),
    "p_re_lu": ("alpha",),
    "normalization": ("mean", "variance", "count"),
    **{f"{name}_cell": ("kernel", "recurrent_kernel", "bias") for name in ("lstm", "gru", "simple_rnn")},
    "einsum_dense": KERNEL,
}


@frozen(eq=False)
class _Found:
    """The variables of a network: dotted names of layers, and Keras's names of variables.

    Args:
        paths: the paths of the datasets, by dotted name of the layer and by name of the variable.
        kinds: the classes of layers, in snake case, as far as they are known.
        notes: what was left out or assumed.
    """

    paths: dict[str, dict[str, str]] = field(factory=dict)
    kinds: dict[str, str] = field(factory=dict)
    notes: list[str] = field(factory=list)


@final
class KerasReader(FileReader):
    """Reads the files of Keras, and other HDF5 files with named datasets."""

    name = "formats/keras"
    help = "files of Keras 3 and tf.keras: .keras, .weights.h5 and .h5; and HDF5 files of named tensors"
    endings = (".keras", ".weights.h5", ".h5", ".hdf5")
    needs = ("h5py",)
    extra = "sneframe[keras]"

    def recognises(self, candidate: Candidate) -> bool:
        """Recognise the first bytes of HDF5, or the entries of a ``.keras`` archive."""
        return candidate.head.startswith(MAGIC) or set(ENTRIES) <= set(candidate.entries)

    def read(self, path: Path) -> Content:
        """Read the weights, and the computation if the file holds a config that is known."""
        with path.open("rb") as file:
            magic = file.read(len(MAGIC))
        if magic == MAGIC:
            return _content(path, path, None)
        try:
            with zipfile.ZipFile(path) as archive:
                if missing := [name for name in ENTRIES if name not in archive.namelist()]:
                    raise FileError(f"{path}: no Keras file: the archive has no {missing[0]}")
                config = parsed(read_entry(archive, ENTRIES[0], path).getvalue(), path)
                return _content(read_entry(archive, ENTRIES[1], path), path, config)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise FileError(f"{path}: neither an HDF5 file nor a Keras archive ({one_line(error)})") from error


def _content(source: Path | IO[bytes], path: Path, config: Mapping[str, Any] | None) -> Content:
    with H5File(source, path) as file:
        legacy = next((group for group in ("model_weights", "") if file.texts(group, "layer_names")), None)
        old = False
        if config is None and (text := file.texts("", "model_config")):
            config = parsed(text[0], path)
            old = (file.texts("", "keras_version") or file.texts("model_weights", "keras_version") or ["1"])[
                0
            ].startswith(("1", "2"))
        known = {} if config is None else layers(config, path, old=old)
        if legacy is not None:
            found = _legacy(file, legacy, known, config)
        elif config is not None or any("/vars/" in f"/{name}" for name in file.datasets):
            found = _numbered(file, known)
        else:
            found = _plain(file)
        names = {
            f"{stem}.{name}" if stem else name: where
            for stem, own in found.paths.items()
            for name, where in own.items()
        }
        if not names:
            raise FileError(f"{path}: the file holds no tensors")
        values = {name: file.tensor(where) for name, where in names.items()}
    return _described(values, found, known, config, path, file.passed)


def _described(
    values: Mapping[str, Tensor],
    found: _Found,
    known: Mapping[str, Layer],
    config: Mapping[str, Any] | None,
    path: Path,
    passed: Sequence[str],
) -> Content:
    try:
        values, notes = in_torch_order(values, _kinds(values, found))
    except FileError as error:
        raise FileError(f"{path}: {error}") from error
    except Exception as error:  # a tensor with a shape that its layer cannot have
        raise FileError(f"{path}: a tensor does not fit its name ({one_line(error)})") from error
    values = _with_slopes(values, found)
    if passed:
        found.notes.append(f"{passed[0]!r} holds no numbers and was left out" + _more(len(passed)))
    if config is None:
        return Content(values=values, notes=(*found.notes, *notes))
    notes = tuple(each for each in notes if "keep their names" in each)
    if not known:
        raise FileError(f"{path}: the config has no layers")
    try:
        described = description(config, known, values)
    except NoModuleError as error:
        notes = (f"the computation is not known: {error}; nothing is derived from it", *notes)
        return Content(values=values, guess=False, notes=(*found.notes, *notes))
    return Content(values=values, module=described.module, notes=tuple(found.notes))


def _more(count: int) -> str:
    return f", with {count - 1} more" if count > 1 else ""


def _kinds(values: Mapping[str, Tensor], found: _Found) -> dict[str, Kind]:
    """Return what the layers compute whose class is known, for the order of axes."""
    kinds: dict[str, Kind] = {}
    for stem, kind in found.kinds.items():
        if kind in [snake(each) for each in DEPTHWISE]:
            kinds[stem] = "depthwise"
        elif kind in [snake(each) for each in TRANSPOSED]:
            kinds[stem] = "transposed"
        elif kind in ("normalization", "p_re_lu", "lstm_cell", "gru_cell", "simple_rnn_cell"):
            kinds[stem] = "kept"
        elif kind in [snake(each) for each in BUILDERS if "Conv" in each or each == "Dense"]:
            kinds[stem] = "plain"
        elif kind == "einsum_dense" and stem.rpartition(".")[2] not in (
            *("query", "key", "value", "attention_output"),
        ):
            kinds[stem] = "kept"
    return kinds


def _with_slopes(values: Mapping[str, Tensor], found: _Found) -> dict[str, Tensor]:
    """Give the slopes of a PReLU torch's name and shape, if there is one for each channel."""
    result: dict[str, Tensor] = {}
    for name, value in values.items():
        stem = name.rpartition(".")[0]
        if found.kinds.get(stem) == "p_re_lu" and value.ndim and set(value.shape[:-1]) <= {1}:
            result[f"{stem}.weight"] = rearrange(value, "... c -> (... c)")
        else:
            result[name] = value
    return result


# -- the weights of Keras 3 -------------------------------------------------------------------------------


def _numbered(file: H5File, known: Mapping[str, Layer]) -> _Found:
    """Find the variables in groups ``vars``, which have numbers as names."""
    groups: dict[str, list[str]] = {}
    for path in sorted(file.datasets, key=_natural):
        owner, _, inner = f"/{path}".rpartition("/vars/")
        if not inner or "/" in inner:
            continue
        groups.setdefault(owner.strip("/"), []).append(inner)
    found = _Found()
    stored = {layer.stored: layer for layer in known.values()}
    named = {group: _names(file, group, stored) for group in groups}
    if len({dotted(names) for names in named.values()}) < len(named):
        named = {group: tuple(group.split("/")) for group in groups}
        found.notes.append("layers of the file share names, so that the paths in the file are the names")
    order = {layer.path: number for number, layer in enumerate(known.values())}
    left: list[str] = []
    ordered = sorted(groups, key=lambda group: order.get(dotted(named[group]), len(order)))
    for group in ordered:
        if any(each in STATE for each in group.split("/")):
            continue
        owner = next((each for each in stored if group == each or group.startswith(f"{each}/")), None)
        owner = owner or next((each for each in stored if _as_layers(group) == each), None)
        if stored and owner is None:
            left.append(group)
            continue
        path = dotted(named[group])
        exact = stored.get(_as_layers(group))
        kind = snake(exact.kind) if exact is not None else _kind(file, group)
        found.kinds.update({path: kind} if kind else {})
        names = _variables(file, group, groups[group], kind, exact, found)
        if kind == "normalization":
            names.pop("2", None)  # the number of examples that were seen
        found.paths[path] = {name: f"{group}/vars/{n}".lstrip("/") for n, name in names.items()}
    if left:
        found.notes.append(f"{left[0]!r} is not in the config and was left out{_more(len(left))}")
    if not known:
        found.notes.append("the file does not state the order of the layers; their names decide it")
    return found


def _natural(path: str) -> list[tuple[str, int]]:
    """Return a key that sorts ``dense_2`` before ``dense_10``."""
    parts_ = re.findall(r"(\D*)(\d{0,18})", path)
    return [(text, int(number) if number else -1) for text, number in parts_]


def _as_layers(group: str) -> str:
    return group.replace(CONTAINERS[1], CONTAINERS[0])


def _names(file: H5File, group: str, stored: Mapping[str, Layer]) -> tuple[str, ...]:
    """Return the names of the layers around a group of variables, as far as the file says them."""
    names: tuple[str, ...] = ()
    here = ""
    for part in group.split("/") if group else ():
        here = f"{here}/{part}" if here else part
        layer = stored.get(_as_layers(here))
        if layer is not None:
            names = layer.names
        elif part not in CONTAINERS:
            named = file.texts(f"{here}/vars", "name")
            names = (*names, named[0] if named and named[0] else part)
    return names


def _kind(file: H5File, group: str) -> str:
    """Return the class of a layer in snake case, from the name of its group or its own name."""
    named = file.texts(f"{group}/vars".lstrip("/"), "name") or [""]
    for name in (group.rpartition("/")[2], named[0]):
        if (kind := re.sub(r"_\d+$", "", name)) in VARIABLES:
            return kind
    return ""


def _variables(
    file: H5File, group: str, numbers: list[str], kind: str, layer: Layer | None, found: _Found
) -> dict[str, str]:
    """Return the names of the variables of a group by their numbers."""
    known = list(VARIABLES.get(kind, ()))
    if layer is not None:
        off = {"scale": "gamma", "center": "beta", "use_bias": "bias"}
        known = [
            each
            for each in known
            if not any(each == name and not layer.settings.get(key, True) for key, name in off.items())
        ]
    shapes = [file.datasets[f"{group}/vars/{number}".lstrip("/")].shape for number in numbers]
    if not known:
        known = _guessed(shapes, group)
        if known:
            found.notes.append(f"the variables of {group!r} were named by their shapes")
    elif kind == "batch_normalization" and len(numbers) < 4 and layer is None:
        middle = ["gamma"] if len(numbers) == 3 else []
        known = [*middle, "moving_mean", "moving_variance"]
        if middle:
            found.notes.append(f"{group!r} has three variables; the first is taken for gamma")
    elif known[:1] == ["gamma"] and len(numbers) == 1 and layer is None:
        found.notes.append(f"{group!r} has one variable, which is taken for gamma")
    fits = len(numbers) in (len(known), len(known) - (known[-1:] == ["bias"]))
    if not fits and not (known[:1] == ["gamma"] and len(numbers) == 1):
        known = []
    return {number: known[n] if n < len(known) else number for n, number in enumerate(numbers)}


def _guessed(shapes: Sequence[tuple[int, ...]], group: str) -> list[str]:
    """Name the variables of a layer of an unknown class by their shapes, or return an empty list."""
    ranks = [len(shape) for shape in shapes]
    if ranks in ([1, 1, 1, 1], [1, 1]) and len(set(shapes)) == 1:
        return ["gamma", "beta", "moving_mean", "moving_variance"][: len(ranks)]
    if len(ranks) == 1 and ranks[0] == 2 and "embed" in group.rpartition("/")[2]:
        return ["embeddings"]
    if ranks[:1] and 2 <= ranks[0] <= 5 and ranks[1:] in ([], [1]):
        return list(KERNEL[: len(ranks)])
    if len(ranks) in (2, 3) and ranks[:2] == [2, 2] and shapes[0][1] == shapes[1][1]:
        return ["kernel", "recurrent_kernel", "bias"][: len(ranks)]
    return []


# -- the weights of Keras 2 -------------------------------------------------------------------------------


def _legacy(
    file: H5File, root: str, known: Mapping[str, Layer], config: Mapping[str, Any] | None
) -> _Found:
    """Find the variables by the attributes ``layer_names`` and ``weight_names``."""
    found = _Found()
    models = {} if config is None else {str(each.get("name") or ""): each for each in parts(config)}
    for name in file.texts(root, "layer_names") or []:
        group = f"{root}/{name}" if root else name
        weights = file.texts(group, "weight_names") or []
        split = [tuple(each.rpartition(":")[0] or each for each in [w])[0].split("/") for w in weights]
        own = tuple(name.split("/"))
        together = len({tuple(words[:-1]) for words in split}) == 1
        for weight, words in zip(weights, split, strict=True):
            where = f"{group}/{weight}"
            if where not in file.datasets:
                raise FileError(f"{file.path}: {where!r} is listed, but there is no such dataset of numbers")
            stem = dotted(_placed(own, words[:-1], known, together=together, inner=name in models))
            layer = known.get(stem)
            last = words[-1]
            if layer is not None and layer.kind == "Normalization" and last == "count":
                continue
            if last in found.paths.setdefault(stem, {}):
                stem = dotted((*own, *words[:-1]))
            if last in found.paths.setdefault(stem, {}):
                raise FileError(f"{file.path}: two weights have the name {f'{stem}.{last}'!r}")
            found.paths[stem][last] = where
            if layer is not None:
                found.kinds[stem] = snake(layer.kind)
    order = {path: number for number, path in enumerate(known)}
    for path in sorted(found.paths, key=lambda each: order.get(each, len(order))) if known else ():
        found.paths[path] = found.paths.pop(path)
    for path in [path for path, names in found.paths.items() if not names]:
        del found.paths[path]
    return found


def _placed(
    own: tuple[str, ...], words: Sequence[str], known: Mapping[str, Layer], *, together: bool, inner: bool
) -> tuple[str, ...]:
    """Return the names of the layer of a weight from the name of its group and that of the weight."""
    layer = known.get(dotted(own))
    for start in range(len(words) - len(own) + 1):
        if tuple(words[start : start + len(own)]) == own:
            return (*own, *words[start + len(own) :])
    if layer is not None:
        return (*own, *words[1:])
    inside = [each for each in known.values() if each.names[0] == "/".join(own) and each.names[-1] in words]
    if len(inside) == 1:
        return (*inside[0].names, *words[list(words).index(inside[0].names[-1]) + 1 :])
    return own if together and not known else (*own, *words)


# -- other files ------------------------------------------------------------------------------------------


def _plain(file: H5File) -> _Found:
    """Take every dataset as a tensor, with its path as its name."""
    found = _Found()
    for path in sorted(file.datasets, key=_natural):
        if path.split("/")[0] in STATE:
            continue
        *words, last = path.rpartition(":")[0].split("/") if re.search(r":\d+$", path) else path.split("/")
        stem = ".".join([*words, last]).rpartition(".")[0]
        inner = ".".join([*words, last]).rpartition(".")[2]
        if inner in found.paths.setdefault(stem, {}):
            raise FileError(f"{file.path}: two tensors have the name {f'{stem}.{inner}'!r}")
        found.paths[stem][inner] = path
    return found
