"""Import folders from the hub of Hugging Face: its cache, model folders, and low-rank adapters.

The properties come from the files that such folders have beside the weights: ``config.json``,
``adapter_config.json``, ``trainer_state.json`` and the model card. Nothing is downloaded.
"""

from __future__ import annotations

import glob
import json
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from sneframe import plugins
from sneframe.architecture.low_rank import is_adapter
from sneframe.errors import FileError, counted
from sneframe.files import inside
from sneframe.files.search import NetworkPath, networks_in
from sneframe.zoo.importer import Ignored, ImportContext, Imported, Skipped, ZooImporter
from sneframe_importers import files
from sneframe_importers.card import card_of, card_values
from sneframe_importers.each import folder
from sneframe_importers.files import Files
from sneframe_importers.properties_from import CARDS
from sneframe_importers.sidecar import ADAPTER_CONFIG, TRAINER_STATE, Sidecars

CONFIG = "config.json"
BASE = "base_model"  #: the property that names the model from which a network was made
#: What a cache says in the names of its folders: the repository, and the commit.
CACHE = r"path:models--(?P<repository>[^/]+)/snapshots/(?P<revision>[^/]+)"


@frozen(kw_only=True)
class Hub(Files):
    """Options of ``zoo import hub``: those of ``zoo import files``, with other defaults."""


@frozen(kw_only=True)
class Peft(Files):
    """Options of ``zoo import peft``: those of ``zoo import files``, with other defaults."""


def read_hub(config: Hub, source: Path, reading: ImportContext) -> Iterator[Imported | Skipped | Ignored]:
    """Yield the networks of a folder. Networks with the same base model are one run group.

    The code of a network comes from the library that its ``config.json`` names, if the library is installed.

    Raises:
        ZooError: there is no such folder, no network in it, or a source of properties cannot be read.
    """
    names = _names(config, source)
    words = _sources(names, source)
    module = config.module or _modules(names, source)
    based = any(_names_base(name, source) for name in names)
    own = evolve(
        config,
        properties_from=(*words, *config.properties_from),
        group_from=config.group_from or (BASE if based else None),
        module=module,
    )
    for item in files.read(own, source, reading):
        known = re.search(CACHE.partition(":")[2], item.source)
        if (
            isinstance(item, Imported)
            and known is not None
            and config.group_from is None
            and list(item.groups) == [item.source]
        ):
            # The base model itself belongs to the group of the networks that name it.
            yield evolve(item, groups=[known["repository"].replace("--", "/", 1)])
        else:
            yield item


def read_peft(config: Peft, source: Path, reading: ImportContext) -> Iterator[Imported | Skipped | Ignored]:
    """Yield the low-rank adapters of a folder. Each is a run group of its own.

    Raises:
        ZooError: there is no such folder, no network in it, or a source of properties cannot be read.
    """
    words = _sources(_names(config, source), source)
    own = evolve(config, properties_from=(*words, *config.properties_from))
    for item in files.read(own, source, reading):
        if isinstance(item, Imported) and not is_adapter(item.architecture):
            yield Skipped(source=item.source, reason="holds no low-rank adapter")
        else:
            yield item


def _names(config: Files, source: Path) -> list[str]:
    found = networks_in(folder(source), plugins.readers(config.reader))
    return [each.name for each in found if isinstance(each, NetworkPath)]


def _sources(names: Sequence[str], source: Path) -> tuple[str, ...]:
    """Return the sources of properties that at least one network has."""
    words = [
        word
        for word in (CONFIG, ADAPTER_CONFIG, TRAINER_STATE)
        if any(Sidecars(word, source).path(name) is not None for name in names)
    ]
    if any(card_of(name, source) is not None for name in names):
        words.append(CARDS)
    if any(re.search(CACHE.partition(":")[2], name) for name in names):
        words.append(CACHE)
    return tuple(words)


def _names_base(name: str, source: Path) -> bool:
    """Return whether the files beside a network name its base model."""
    found: list[Mapping[str, Any]] = []
    with suppress(FileError):  # the source of properties says what is wrong with a file
        for word in (CONFIG, ADAPTER_CONFIG):
            sidecars = Sidecars(word, source)
            if (path := sidecars.path(name)) is not None:
                found.append(sidecars.values(path))
        if (card := card_of(name, source)) is not None:
            found.append(card_values(source, card))
    return any(each.get(BASE) for each in found)


def _modules(names: Sequence[str], source: Path) -> tuple[str, ...]:
    """Return for each network the library that its ``config.json`` names, as ``--module`` takes it."""
    words: list[str] = []
    lacking: Counter[str] = Counter()
    sidecars = Sidecars(CONFIG, source)
    for name in names:
        if Path(name).name.startswith("adapter_"):
            continue  # its config beside it may be that of the base model
        path = sidecars.path(name)
        word = None if path is None else _library_word(source, path)
        if word is None:
            continue
        library = word.partition(":")[0]
        if find_spec(library) is None:
            lacking[library] += 1
            continue
        words.append(f"{glob.escape(name)}={word}")  # brackets in a name are no sets of letters
    for library, count in lacking.items():
        warnings.warn(
            f"{counted(count, 'network')} can be described by {library}, which is not installed; they are "
            f"described from names and shapes",
            stacklevel=3,
        )
    return tuple(words)


def _library_word(source: Path, path: str) -> str | None:
    """Return ``transformers`` or ``timm:NAME`` if a config names a model of one of them, else None."""
    try:
        found: Any = json.loads(inside(source, path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, FileError):
        return None  # the source of properties says what is wrong with the file
    if not isinstance(found, dict):
        return None
    if isinstance(found.get("architecture"), str) and {"pretrained_cfg", "num_features"} & found.keys():
        return f"timm:{found['architecture']}"
    return "transformers" if isinstance(found.get("model_type"), str) else None


HUB = ZooImporter(
    name="importers/hub",
    config=Hub,
    read=read_hub,
    engines=True,
    help="Folders from the hub of Hugging Face: a cache, model folders, adapters; groups are base models.",
)
PEFT = ZooImporter(
    name="importers/peft",
    config=Peft,
    read=read_peft,
    engines=True,
    help="Low-rank adapters of PEFT, diffusers and kohya, each with its adapter_config.json.",
)
