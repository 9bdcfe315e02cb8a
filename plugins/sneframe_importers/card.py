"""Read the model cards of Hugging Face: ``README.md`` with metadata in YAML at its beginning.

The package huggingface_hub parses the metadata. Nothing is downloaded, and nothing in a card is executed.
"""

from __future__ import annotations

import posixpath
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sneframe.errors import FileError, ZooError, one_line
from sneframe.files import inside

CARD = "README.md"
LARGEST = 1 << 20  #: the largest size of a card in bytes
#: The metadata that become properties. Lists of texts are joined by a plus sign.
KEYS = ("base_model", "license", "library_name", "pipeline_tag", "model_name")


def card_of(file: str, folder: Path) -> str | None:
    """Return the relative path of the card beside a network, or in its folder; None without one."""
    parent = file if (folder / file).is_dir() else posixpath.dirname(file)
    path = posixpath.join(parent, CARD)
    return path if (folder / path).is_file() else None


def card_values(folder: Path, path: str) -> Mapping[str, Any]:
    """Return the metadata of a card, and its results as ``card.DATASET.METRIC``.

    Raises:
        FileError: the card is too large, is no text, or its metadata are damaged.
        ZooError: huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import ModelCard
    except ImportError as error:
        raise ZooError("to read model cards, install huggingface_hub") from error
    file = inside(folder, path)
    try:
        with file.open("rb") as opened:
            content = opened.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise FileError(f"{path}: is larger than {LARGEST >> 20} MiB")
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: not a text file") from error
    try:
        data: Any = ModelCard(text).data
    except Exception as error:  # the parser raises errors of YAML, of keys and of types
        raise FileError(f"{path}: its metadata cannot be read: {one_line(error)[:150]}") from error
    values = {key: value for key in KEYS if (value := _text(getattr(data, key, None))) is not None}
    return values | _results(data.eval_results or [], path)


def _text(value: Any) -> str | None:
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return "+".join(value)
    return value if isinstance(value, str) and value else None


def _results(results: Sequence[Any], path: str) -> dict[str, float]:
    """Return the numbers among the results of a card. Of several for one data set and metric, none."""
    found: dict[str, float] = {}
    several: set[str] = set()
    for each in results:
        value = each.metric_value
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        words = (each.dataset_type or each.dataset_name, each.dataset_config, each.dataset_split)
        name = ".".join(["card", *(str(word) for word in words if word), str(each.metric_type)])
        if name in found and found[name] != value:
            several.add(name)
        found[name] = float(value)
    for name in several:
        warnings.warn(f"{path}: has several values of {name}, so none is taken", stacklevel=3)
        del found[name]
    return found
