"""Declare the five hooks through which a plugin offers parts, zoos, recipes, suites and file readers.

Hooks return data and run nothing.

A plugin is an installed module that is named in the entry-point group ``sneframe``. The module marks
functions that have the names below with :data:`hookimpl`. The objects that these functions return do the
work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sneframe.config.schema import RunConfig
    from sneframe.config.suite import Suite
    from sneframe.files.reader import FileReader
    from sneframe.parts.part import Part
    from sneframe.zoo.builder import ZooBuilder
    from sneframe.zoo.importer import ZooImporter

GROUP = "sneframe"  #: the name of the entry-point group, and of the pluggy project

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def sneframe_parts() -> Sequence[type[Part]]:  # type: ignore[empty-body]  # a specification has no body
    """Return the classes of parts, which fill the slots of a run configuration."""


@hookspec
def sneframe_zoos() -> Sequence[ZooBuilder | ZooImporter]:  # type: ignore[empty-body]  # as above
    """Return zoo builders and importers, for ``sneframe zoo build NAME`` and ``sneframe zoo import NAME``."""


@hookspec
def sneframe_recipes() -> Mapping[str, Callable[[], RunConfig]]:  # type: ignore[empty-body]  # as above
    """Return recipes by name. A recipe is a function without arguments that returns a run configuration."""


@hookspec
def sneframe_suites() -> Sequence[Suite]:  # type: ignore[empty-body]  # as above
    """Return suites for ``sneframe compare --suite NAME``. A suite is a named list of runs for one table."""


@hookspec
def sneframe_readers() -> Sequence[type[FileReader]]:  # type: ignore[empty-body]  # as above
    """Return the classes of file readers, by which ``zoo import files``, ``predict`` and others read."""
