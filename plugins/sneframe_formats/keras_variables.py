"""Find the variables of the layers in a weights file of Keras 3 or of tf.keras, or in another HDF5 file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from sneframe.errors import FileError
from sneframe_formats.h5_file import H5File
from sneframe_formats.keras_config import KerasLayer, dotted, is_model, name_of, parts, snake
from sneframe_formats.keras_layers import BUILDERS

CONTAINERS = ("layers", "_layer_checkpoint_dependencies")  #: groups of a weights file that hold layers
TOP = "top_level_model_weights"  #: the group of the weights that are in no layer
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
    **dict.fromkeys(("query_dense", "key_dense", "value_dense", "output_dense"), KERNEL),  # of an attention
}


@frozen(eq=False)
class Found:
    """The variables of a network: dotted names of layers, and Keras's names of variables.

    Args:
        paths: the paths of the datasets, by dotted name of the layer and by name of the variable.
        kinds: the classes of layers, in snake case, as far as they are known.
        notes: what was left out or assumed.
        backend: the backend of Keras that wrote the file, if the file says it.
        of_keras: whether Keras wrote the file.
    """

    paths: dict[str, dict[str, str]] = field(factory=dict)
    kinds: dict[str, str] = field(factory=dict)
    notes: list[str] = field(factory=list)
    backend: str = ""
    of_keras: bool = True


# -- the weights of Keras 3 -------------------------------------------------------------------------------


def numbered(file: H5File, known: Mapping[str, KerasLayer]) -> Found:
    """Find the variables in groups ``vars``, which have numbers as names."""
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
        found.notes.append("layers of the file share names, so that the paths in the file are the names")
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
    file: H5File, group: str, numbers: list[str], kind: str, layer: KerasLayer | None, found: Found
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
    alone = known[:1] == ["gamma"] and len(numbers) == 1
    if numbers != [str(n) for n in range(len(numbers))] or not (fits or alone):
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


def legacy(
    file: H5File, root: str, known: Mapping[str, KerasLayer], config: Mapping[str, Any] | None
) -> Found:
    """Find the variables by the attributes ``layer_names`` and ``weight_names``."""
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
    """Return the names of the layer of a weight.

    Args:
        own: the name of the group of the weight, split at slashes.
        words: the name of the weight without its last word, split at slashes.
        known: the layers of the config by dotted name.
        placed: the names of a layer with its models, by the first and the last of them.
        together: whether the names of all weights in the group differ in the last word only.
        inner: whether the group is that of a model with layers.
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
    """Take every dataset as a tensor, with its path as its name."""
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
    """Return the end of a note about the first of several things."""
    return f", with {count - 1} more" if count > 1 else ""
