"""Find the variables of the layers in a weights file of Keras 3 or tf.keras, or in another HDF5 file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from sneframe.errors import FileError
from sneframe_formats.h5_file import H5File
from sneframe_formats.keras_config import KerasLayer, dotted, is_model, name_of, parts, snake
from sneframe_formats.keras_layers import BUILDERS

CONTAINERS = (
    "layers",
    "_layer_checkpoint_dependencies",
)  #: names of groups of a weights file that contain layers
TOP = "top_level_model_weights"  #: the group of the weights that belong to no layer
#: Names of groups of a weights file that contain no weights of the network.
STATE = ("optimizer", "seed_generator", "optimizer_weights")
KERNEL = ("kernel", "bias")
#: The variables of a layer by its class, in the order of their numbers in a weights file of Keras 3.
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
    **dict.fromkeys(
        ("query_dense", "key_dense", "value_dense", "output_dense"), KERNEL
    ),  # layers of an attention
}


@frozen(eq=False)
class Found:
    """The variables of a network, which were found in a file.

    Args:
        paths: the path of each dataset, by the dotted name of the layer and Keras's name of the variable.
        kinds: the class of each layer in snake case, for layers of a known class.
        notes: what was left out or assumed.
        backend: the backend of the Keras that wrote the file, or an empty string if it is not stated.
        of_keras: whether Keras wrote the file.
    """

    paths: dict[str, dict[str, str]] = field(factory=dict)
    kinds: dict[str, str] = field(factory=dict)
    notes: list[str] = field(factory=list)
    backend: str = ""
    of_keras: bool = True


# -- the weights of Keras 3 -------------------------------------------------------------------------------


def numbered(file: H5File, known: Mapping[str, KerasLayer]) -> Found:
    """Find the variables of a Keras 3 file. They are in groups ``vars``, and their names are numbers."""
    groups: dict[str, list[str]] = {}
    for path in sorted(file.datasets, key=_natural):
        owner, _, inner = f"/{path}".rpartition("/vars/")
        if not inner or "/" in inner:
            continue
        groups.setdefault(owner.strip("/"), []).append(inner)
    found = Found()
    stored = {layer.stored: layer for layer in known.values()}
    named = {group: _names(file, group, stored) for group in groups}
    if len({dotted(names) for names in named.values()}) < len(named):
        named = {group: tuple(group.split("/")) for group in groups}
        found.notes.append("layers of the file share names, so their paths in the file are used as names")
    order = {layer.path: number for number, layer in enumerate(known.values())}
    left: list[str] = []
    ordered = sorted(groups, key=lambda group: order.get(dotted(named[group]), len(order)))
    for group in ordered:
        if any(each in STATE for each in group.split("/")):
            continue
        words = _as_layers(group).split("/")
        if stored and not any("/".join(words[: n + 1]) in stored for n in range(len(words))):
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
        found.notes.append(f"{left[0]!r} is not in the config and was left out{more(len(left))}")
    if not known:
        found.notes.append("the file does not state the order of the layers; their names decide it")
    return found


def _natural(path: str) -> list[tuple[str, int]]:
    """Return a key that sorts ``dense_2`` before ``dense_10``."""
    parts_ = re.findall(r"(\D*)(\d{0,18})", path)
    return [(text, int(number) if number else -1) for text, number in parts_]


def _as_layers(group: str) -> str:
    return group.replace(CONTAINERS[1], CONTAINERS[0])


def _names(file: H5File, group: str, stored: Mapping[str, KerasLayer]) -> tuple[str, ...]:
    """Return the names of the nested models around a layer and of the layer itself.

    Where the file states no name, the name of the group is used.
    """
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
    """Derive the class of a layer, in snake case, from the name of its group or of the layer."""
    named = file.texts(f"{group}/vars".lstrip("/"), "name") or [""]
    for name in (group.rpartition("/")[2], named[0]):
        if (kind := re.sub(r"_\d+$", "", name)) in VARIABLES:
            return kind
    return ""


def _variables(
    file: H5File, group: str, numbers: list[str], kind: str, layer: KerasLayer | None, found: Found
) -> dict[str, str]:
    """Return the name of each variable of a group, by the number of the variable."""
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
            found.notes.append(f"{group!r} has three variables; the first was read as gamma")
    elif known[:1] == ["gamma"] and len(numbers) == 1 and layer is None:
        found.notes.append(f"{group!r} has one variable, which was read as gamma")
    fits = len(numbers) in (len(known), len(known) - (known[-1:] == ["bias"]))
    alone = known[:1] == ["gamma"] and len(numbers) == 1
    if numbers != [str(n) for n in range(len(numbers))] or not (fits or alone):
        known = []
    return {number: known[n] if n < len(known) else number for n, number in enumerate(numbers)}


def _guessed(shapes: Sequence[tuple[int, ...]], group: str) -> list[str]:
    """Derive the names of the variables of a layer from their shapes. Return an empty list if unsure."""
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


def legacy(
    file: H5File, root: str, known: Mapping[str, KerasLayer], config: Mapping[str, Any] | None
) -> Found:
    """Find the variables of a Keras 2 file by its attributes ``layer_names`` and ``weight_names``."""
    found = Found(backend=(file.texts(root, "backend") or [""])[0])
    placed = {(layer.names[0], layer.names[-1]): layer.names for layer in known.values()}
    models = set() if config is None else {name_of(each) for each in parts(config) if is_model(each)}
    for name in file.texts(root, "layer_names") or []:
        group = f"{root}/{name}" if root else name
        weights = file.texts(group, "weight_names") or []
        split = [(w.rpartition(":")[0] or w).split("/") for w in weights]
        own = tuple(name.split("/"))
        together = len({tuple(words[:-1]) for words in split}) == 1
        for weight, words in zip(weights, split, strict=True):
            where = f"{group}/{weight}"
            if where not in file.datasets:
                raise FileError(f"{file.path}: {where!r} is listed, but there is no such dataset of numbers")
            stem = dotted(_placed(own, words[:-1], known, placed, together=together, inner=name in models))
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
    for weight in file.texts(f"{root}/{TOP}".lstrip("/"), "weight_names") or []:
        found.paths.setdefault(TOP, {})[weight.replace("/", ".")] = f"{root}/{TOP}/{weight}".lstrip("/")
    order = {path: number for number, path in enumerate(known)}
    for path in sorted(found.paths, key=lambda each: order.get(each, len(order))) if known else ():
        found.paths[path] = found.paths.pop(path)
    for path in [path for path, names in found.paths.items() if not names]:
        del found.paths[path]
    return found


def _placed(
    own: tuple[str, ...],
    words: Sequence[str],
    known: Mapping[str, KerasLayer],
    placed: Mapping[tuple[str, str], tuple[str, ...]],
    *,
    together: bool,
    inner: bool,
) -> tuple[str, ...]:
    """Return the name of the layer to which a weight belongs, after the names of the nested models around it.

    Args:
        own: the name of the group of the weight, split at slashes.
        words: the name of the weight without its last word, split at slashes.
        known: the layers of the config by dotted name.
        placed: the names of each layer and the nested models around it, by the first and the last name.
        together: whether the names of all weights in the group differ only in the last word.
        inner: whether the group belongs to a nested model.
    """
    layer = known.get(dotted(own))
    for start in range(len(words) - len(own) + 1):
        if tuple(words[start : start + len(own)]) == own:
            return (*own, *words[start + len(own) :])
    if layer is not None:
        return (*own, *words[1:])
    for number, word in enumerate(words):
        if ("/".join(own), word) in placed:
            return (*placed["/".join(own), word], *words[number + 1 :])
    return own if together and not inner else (*own, *words)


# -- other files ------------------------------------------------------------------------------------------


def plain(file: H5File) -> Found:
    """Return every dataset of an HDF5 file. The name of its tensor is its path, with dots for slashes."""
    found = Found(of_keras=False)
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


def more(count: int) -> str:
    """Return the end of a note that names only the first of ``count`` things: ``, with 2 more``."""
    return f", with {count - 1} more" if count > 1 else ""
