"""Read JSON and YAML files that lie beside the files of networks, such as ``config.json``.

Nothing in such a file is ever executed, and its size is limited before it is read.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, final

from sneframe.errors import FileError, ZooError
from sneframe.files import inside
from sneframe_importers.flatten import NODES, flattened

SUFFIXES = (".json", ".yaml", ".yml")
MIB = 1 << 20
LARGEST = {".json": 16 * MIB, ".yaml": MIB, ".yml": MIB}  #: the largest size of a file in bytes
DEEPEST = 100  #: levels of nested YAML
TRAINER_STATE = "trainer_state.json"  #: the file in which the trainer of transformers stores its scores
ADAPTER_CONFIG = "adapter_config.json"  #: the file in which PEFT stores the settings of an adapter
#: Keys that name the model from which a network was made. It becomes the property ``base_model``.
BASES = ("base_model_name_or_path", "_name_or_path")
#: Endings that may follow another ending, as in ``net.pth.tar``.
SECOND = (".tar", ".gz")


@final
class Sidecars:
    """Reads the files that lie beside networks, such as the ``config.json`` of each network.

    Args:
        word: the path of such a file, relative to the folder of the network. A star in its last part stands
            for the name of the network's file without its ending.
        folder: the folder of all networks. No file outside this folder is read.

    Raises:
        ZooError: the path is absolute, or has a star in another part.
    """

    def __init__(self, word: str, folder: Path) -> None:
        parent, _, last = word.rpartition("/")
        if Path(word).is_absolute() or "*" in parent or last.count("*") > 1:
            raise ZooError(
                f"--properties-from {word!r}: must be the name of a file beside each network, such as "
                f"config.json, or *.json for a file with the name of the network"
            )
        self.word, self._folder = word, folder
        self._read: dict[str, dict[str, Any] | FileError] = {}

    def path(self, file: str) -> str | None:
        """Return the relative path of the file beside a network, or None if there is no such file."""
        return next((path for path in self._candidates(file) if (self._folder / path).is_file()), None)

    def values(self, path: str) -> Mapping[str, Any]:
        """Return the plain values of a file, by keys that are joined with dots.

        Raises:
            FileError: the file is damaged, too large, or leads out of the folder.
            ZooError: the package that reads YAML is not installed.
        """
        if path not in self._read:
            try:
                self._read[path] = _values(inside(self._folder, path), path)
            except FileError as error:
                self._read[path] = error
        found = self._read[path]
        if isinstance(found, FileError):
            raise found
        return found

    def _candidates(self, file: str) -> Iterator[str]:
        """Yield the relative paths that the file beside a network may have, but none out of the folder."""
        folder, name = posixpath.split(file)
        stem = posixpath.splitext(name.removesuffix(next((s for s in SECOND if name.endswith(s)), "")))[0]
        for parent in (file, folder) if (self._folder / file).is_dir() else (folder,):
            path = posixpath.normpath(posixpath.join(parent, self.word.replace("*", stem)))
            if path.partition("/")[0] != "..":
                yield path


def _values(path: Path, name: str) -> dict[str, Any]:
    """Return the plain values of a file. See :meth:`Sidecars.values`."""
    suffix = path.suffix.lower() if path.suffix.lower() in SUFFIXES else Path(name).suffix.lower()
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST[suffix] + 1)
        if len(content) > LARGEST[suffix]:
            raise FileError(f"{name}: is larger than {LARGEST[suffix] // MIB} MiB")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise FileError(f"{name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{name}: not a text file") from error
    found = (_json if suffix == ".json" else _yaml)(text, name)
    if not isinstance(found, Mapping):
        raise FileError(f"{name}: must hold names with values, but holds {_kind(found)}")
    # Ints beyond 64 bits stay ints here. typed_json turns their column into text, with a warning.
    values = flattened(found, name, large_ints=True)
    if posixpath.basename(name) == TRAINER_STATE:
        values = {**_last_logged(found.get("log_history"), name), **values}
    if posixpath.basename(name) == ADAPTER_CONFIG:
        values |= _joined(found.get("target_modules"))
    for key in BASES:
        if isinstance(base := found.get(key), str) and base:
            values = {**values, "base_model": base}
    return values


def _joined(modules: Any) -> dict[str, str]:
    """Return the modules that an adapter changes, as one text. Their order says nothing."""
    listed = isinstance(modules, list) and modules and all(isinstance(each, str) for each in modules)
    return {"target_modules": "+".join(sorted(modules))} if listed else {}


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else "nothing" if value is None else "a single value"


def _last_logged(history: Any, where: str) -> dict[str, Any]:
    """Return the last value of each key in the log of a trainer. An entry has only some of the keys."""
    last: dict[str, Any] = {}
    for entry in history if isinstance(history, list) else []:
        if isinstance(entry, dict):
            last.update(entry)
    return flattened(last, where, large_ints=True)


def _json(text: str, name: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda _: None)  # NaN and Infinity are missing values
    except RecursionError as error:
        raise FileError(f"{name}: is nested too deeply") from error
    except ValueError as error:
        raise FileError(f"{name}: not JSON ({' '.join(str(error).split())[:100]})") from error


# -- YAML ----------------------------------------------------------------------------------------------------


def _yaml(text: str, name: str) -> Any:
    """Read YAML 1.1, except that ``1e-3``, which is a text in YAML 1.1, is read as a number.

    Raises:
        FileError: the text is not YAML, or has too many values or levels.
        ZooError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise ZooError(
            f"{name}: YAML needs the package PyYAML, which is not installed: pip install 'sneframe[yaml]'"
        ) from error
    loader = _loader()
    try:
        _check_events(yaml.parse(text, Loader=loader), name)
        return yaml.load(text, Loader=loader)  # noqa: S506  # a subclass of the safe loader
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise FileError(f"{name}: not YAML ({' '.join(str(error).split())[:100]})") from error


@cache
def _loader() -> Any:
    """Return a safe loader that reads ``1e-3`` as a number, and objects with unknown tags as plain values."""
    import yaml

    safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(safe):  # type: ignore[misc]  # which class it is, is known only when it runs
        """A loader that builds plain values only."""

    Loader.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(?:\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
    )
    Loader.add_constructor(None, _untagged)
    return Loader


def _untagged(loader: Any, node: Any) -> Any:
    """Return an object with an unknown tag as a mapping, or None for other values. Nothing is built."""
    return loader.construct_mapping(node, deep=True) if node.id == "mapping" else None


def _check_events(events: Iterator[Any], name: str) -> None:
    """Check the number of values and of levels. An alias counts as all values that it repeats.

    Raises:
        FileError: there are too many values or levels.
    """
    sizes: dict[str, int] = {}
    starts: list[tuple[str | None, int]] = []
    total = 0
    for event in events:
        kind = type(event).__name__
        if kind == "AliasEvent":
            total += sizes.get(event.anchor, 1)
        elif kind == "ScalarEvent":
            total += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif kind in ("MappingStartEvent", "SequenceStartEvent"):
            starts.append((event.anchor, total))
            if event.anchor is not None:
                sizes[event.anchor] = NODES  # an alias inside the value that it repeats would have no end
            total += 1
        elif kind in ("MappingEndEvent", "SequenceEndEvent"):
            anchor, start = starts.pop()
            if anchor is not None:
                sizes[anchor] = total - start
        if total > NODES:
            raise FileError(f"{name}: holds more than {NODES} values, counting those that aliases repeat")
        if len(starts) > DEEPEST:
            raise FileError(f"{name}: is nested more than {DEEPEST} levels deep")
