"""Build the reader of network files from the options that commands and functions share."""

from __future__ import annotations

from collections.abc import Sequence

from sneframe import plugins
from sneframe.architecture import Architecture
from sneframe.architecture.description import Flatten
from sneframe.files.module_factory import Factory, Words
from sneframe.files.names import Renaming
from sneframe.files.network_reader import NetworkReader


def network_reader(
    *,
    module: Words | None = None,
    key: str | None = None,
    reader: str | None = None,
    strip_prefix: str = "",
    rename: Sequence[str] = (),
    activation: str | None = None,
    flatten: Flatten = "unknown",
    trust_names: bool = False,
    known: Sequence[Architecture] = (),
) -> NetworkReader:
    """Return a reader of network files.

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
        known: architectures that are recognised by their names and shapes.

    Raises:
        ConfigError: ``module``, ``activation`` or ``flatten`` is unknown.
        PluginError: there is no such file reader.
    """
    return NetworkReader(
        module=Factory(module) if module else None,
        key=key,
        activation=activation,
        flatten=flatten,
        trust_names=trust_names,
        renaming=Renaming.parse(strip_prefix, rename),
        readers=plugins.readers(reader),
        known=known,
    )
