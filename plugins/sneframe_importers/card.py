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
        data: Any = _metadata(ModelCard, text, path)
    except Exception as error:  # the parser raises errors of YAML, of keys and of types
        raise FileError(f"{path}: its metadata cannot be read: {one_line(error)[:150]}") from error
    values = {key: value for key in KEYS if (value := _text(getattr(data, key, None))) is not None}
    return values | _results(data.eval_results or [], path)


def _metadata(card: Any, text: str, path: str) -> Any:
    """Return the metadata of a card. If only its results are damaged, they are left out with a warning."""
    try:
        return card(text).data
    except ValueError as error:
        if "model" not in str(error):
            raise
        warnings.warn(f"{path}: the results in model-index cannot be read, so none is taken", stacklevel=4)
        return card(text, ignore_metadata_errors=True).data


def _number(value: Any) -> float | None:
    """Return a number, also one that is written as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _text(value: Any) -> str | None:
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return "+".join(value)
    return value if isinstance(value, str) and value else None


def _results(results: Sequence[Any], path: str) -> dict[str, float]:
    """Return the numbers among the results of a card. Of several for one data set and metric, none."""
    found: dict[str, float] = {}
    several: set[str] = set()
    for each in results:
        value = _number(each.metric_value)
        words = (each.dataset_type or each.dataset_name, each.dataset_config, each.dataset_split)
        name = ".".join(["card", *(str(word) for word in words if word), str(each.metric_type)])
        if value is None:
            warnings.warn(f"{path}: the value of {name} is no number, so it is not taken", stacklevel=3)
            continue
        if name in found and found[name] != value:
            several.add(name)
        found[name] = value
    for name in several:
        warnings.warn(f"{path}: has several values of {name}, so none is taken", stacklevel=3)
        del found[name]
    return found
