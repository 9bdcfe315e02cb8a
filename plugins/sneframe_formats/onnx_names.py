"""Recover the names that the tensors of an ONNX model had in the framework of the network."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: Matches names that exporters make up for tensors without a name.
MADE_UP = re.compile(
    r".*::.*|_?\d+|"
    r"_?(val|node|tmp|temp|tensor|const|constant|getitem|scalar|arg|initializer|initializer_value|var"
    r"|ortshared|matmul|add|mul|gemm|conv|sub|div|pow|identity|transpose|relu|reshape|unsqueeze"
    r"|output|input|value|x|t|v"
    r"|fold|folded|lifted_tensor|scalar_tensor_default|embedding|linear|weight|param)?_?\d*(_\d+)*"
    r"|/.*_output_\d+|.*Constant_\d+(_output_\d+)?",
    re.IGNORECASE | re.DOTALL,
)
WORD = re.compile(r"\W+")
LONGEST = 400  #: largest number of characters of a name


def own_name(name: str) -> str | None:
    """Return the name of a tensor as the dotted name of a parameter, or None if an exporter made it up."""
    if "." in (inner := name.rpartition("::")[2]):  # another tool has added a prefix
        name = inner
    if len(name) > LONGEST or MADE_UP.fullmatch(name):
        return None
    words = [WORD.sub("_", word).strip("_") or "_" for word in re.split(r"[./]", name.partition(":0")[0])]
    words = [word for word in words if word != "_"]
    found = ".".join(words)
    if found.endswith(".weight_bias"):  # a bias that torch's exporter made when it folded a batch norm
        found = found.removesuffix("weight_bias") + "bias"
    return found or None


def scope_of(node: str, scopes: Sequence[str] = ()) -> str:
    """Return the path of the module to which a node belongs, or an empty string if it is not known.

    Args:
        node: the name of the node, such as ``/layers/layers.0/MatMul``. A part of the path that begins with
            the part before it replaces that part.
        scopes: the paths of the modules around the node, from the outside in. It is empty if the model does
            not state them.
    """
    if scopes:
        return ".".join(WORD.sub("_", word) for word in scopes[-1][:LONGEST].split(".") if word)
    if not node.startswith("/") or len(node) > LONGEST:
        return ""
    parts: list[str] = []
    for part in node.split("/")[1:-1]:
        if parts and (part == parts[-1] or part.startswith(f"{parts[-1]}.")):
            parts[-1] = part
        else:
            parts.append(part)
    return ".".join(WORD.sub("_", word) for part in parts for word in part.split(".") if word)


def sibling(name: str, word: str) -> str | None:
    """Return the name of another parameter of the same module. None: it does not follow from the name.

    ``word`` is the last word of the returned name. With ``weight``, ``fc.bias`` leads to ``fc.weight``, and
    ``in_proj_bias`` leads to ``in_proj_weight``.
    """
    for ending in ("running_mean", "running_var", "weight", "bias"):
        if name == ending or name.endswith((f".{ending}", f"_{ending}")):
            return name.removesuffix(ending) + word
    return None


class Names:
    """Hands out unique dotted names. No name is the beginning of another, as ``a`` is of ``a.b``.

    Args:
        reserved: names that :meth:`take` returns only with ``own``.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._taken: set[str] = set()
        self._beginnings: set[str] = set()
        self._reserved = set(reserved)
        self._numbers: dict[str, int] = {}

    def reserve(self, names: Iterable[str]) -> None:
        """Reserve names. From now on, :meth:`take` returns them only with ``own``."""
        self._reserved |= set(names)

    def take(self, name: str, *, own: bool = False) -> str:
        """Return ``name`` if it is free, or else a free name with a number, such as ``fc_2.weight``.

        The returned name is no longer free. ``own`` allows a reserved name.
        """
        if any(stem in self._taken for stem in _stems(name)):
            name, own = name.replace(".", "_"), False
        stem, dot, word = name.rpartition(".")
        number = self._numbers.get(name, 1)
        while True:
            found = name if number == 1 else f"{stem}_{number}.{word}" if dot else f"{word}_{number}"
            if self._free(found, own=own and number == 1):
                break
            number += 1
        self._numbers[name] = number
        self._taken.add(found)
        self._beginnings |= _stems(found)
        return found

    def _free(self, name: str, *, own: bool) -> bool:
        if name in self._taken or name in self._beginnings or _stems(name) & self._taken:
            return False
        return own or name not in self._reserved


def _stems(name: str) -> set[str]:
    """Return the beginnings of a dotted name: ``a`` and ``a.b`` for ``a.b.c``."""
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts))}
