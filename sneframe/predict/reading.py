"""Build the reader of network files from the options that commands and functions share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack

from sneframe import plugins
from sneframe.architecture import Architecture
from sneframe.architecture.description import Flatten
from sneframe.errors import ConfigError, choices
from sneframe.files.module_factory import Factory, Words
from sneframe.files.names import Renaming
from sneframe.files.network_reader import NetworkReader


class ReadingOptions(TypedDict, total=False):
    """How network files are read. Commands and functions share these options.

    Args:
        module: ``package.module:function`` that builds the module of a network in a file, to describe
            the network exactly. Also several such words, or a mapping from patterns to words; see
            :class:`~sneframe.files.module_factory.Factory`.
        key: which state dict to read from a checkpoint that holds several.
        reader: the name of the file reader for all files; None: the content and the name of each file select
            its reader.
        strip_prefix: a prefix to remove from the names of the tensors in files.
        rename: rules ``s/PATTERN/REPLACEMENT/`` that change the names of the tensors in files.
        activation: the activation of every layer but the last, such as ``relu`` or ``sine:30`` for
            sin(30 z), for networks without code.
        flatten: ``channels_first`` if a linear layer reads the output of a convolution in the order in which
            torch flattens that output.
        trust_names: whether a network without code is assumed to be a chain if the sizes of its layers fit.
    """

    module: Words | None
    key: str | None
    reader: str | None
    strip_prefix: str
    rename: Sequence[str]
    activation: str | None
    flatten: Flatten
    trust_names: bool


def network_reader(*, known: Sequence[Architecture] = (), **options: Unpack[ReadingOptions]) -> NetworkReader:
    """Return a reader of network files.

    Args:
        known: architectures that are recognised by their names and shapes.
        options: how files are read, as in :class:`ReadingOptions`.

    Raises:
        ConfigError: an option is unknown, or the value of ``module``, ``activation`` or ``flatten`` is.
        PluginError: there is no such file reader.
    """
    names = tuple(ReadingOptions.__annotations__)
    for name in options:
        if name not in names:
            raise ConfigError(f"unknown option of reading {name!r}, {choices(name, names)}")
    module = options.get("module")
    return NetworkReader(
        module=Factory(module) if module else None,
        key=options.get("key"),
        activation=options.get("activation"),
        flatten=options.get("flatten", "unknown"),
        trust_names=options.get("trust_names", False),
        renaming=Renaming.parse(options.get("strip_prefix", ""), options.get("rename", ())),
        readers=plugins.readers(options.get("reader")),
        known=known,
    )
