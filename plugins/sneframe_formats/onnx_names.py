"""Name the tensors of an ONNX model as the network's own framework named them, as far as the model tells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: Matches names that exporters make up for tensors that have no name of their own.
MADE_UP = re.compile(
    r".*::.*|_?\d+|"
    r"_?(val|node|tmp|temp|tensor|const|constant|getitem|scalar|arg|initializer|initializer_value|var|ortshared"
    r"|matmul|add|mul|gemm|conv|sub|div|pow|identity|transpose|relu|reshape|unsqueeze|output|input|value|x|t|v"
    r"|fold|folded|lifted_tensor|scalar_tensor_default|embedding|linear|weight|param)?_?\d*(_\d+)*"
    r"|/.*_output_\d+|.*Constant_\d+(_output_\d+)?",
    re.IGNORECASE | re.DOTALL,
)
WORD = re.compile(r"\W+")
LONGEST = 400  #: number of characters of a name


def own_name(name: str) -> str | None:
    """Return the name of a tensor as the dotted name of a parameter, or None if an exporter made it up."""
    if "." in (inner := name.rpartition("::")[2]):  # a name that a later tool has put a prefix before
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
    """Return the path of the module that a node belongs to, or an empty string.

    Args:
        node: the name of the node, such as ``/layers/layers.0/MatMul``. A part of the path that begins with
            the part before it replaces that part.
        scopes: the paths of the modules around the node, from the outside in, if the model states them.
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
    """Return the name of the parameter ``word`` beside a parameter, or None if the name does not tell.

    The weight beside ``fc.bias`` is ``fc.weight``, and that beside ``in_proj_bias`` is ``in_proj_weight``.
    """
    for ending in ("running_mean", "running_var", "weight", "bias"):
        if name == ending or name.endswith((f".{ending}", f"_{ending}")):
            return name.removesuffix(ending) + word
    return None


class Names:
    """The names that are taken. A name is never the beginning of another name, as ``a`` is of ``a.b``.

    Args:
        reserved: names that keep their tensors.
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._taken: set[str] = set()
        self._beginnings: set[str] = set()
        self._reserved = set(reserved)
        self._numbers: dict[str, int] = {}

    def reserve(self, names: Iterable[str]) -> None:
        """Keep names for later calls of :meth:`take` with ``own``."""
        self._reserved |= set(names)

    def take(self, name: str, *, own: bool = False) -> str:
        """Return a free name: ``name``, or ``name`` with a number behind its stem. Mark it as taken."""
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
    """Return the names with which a dotted name begins."""
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts))}
