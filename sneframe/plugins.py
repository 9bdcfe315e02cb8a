"""Find the installed plugins, and load named plugins into a :class:`Registry` of what they offer.

Only named plugins are loaded, so a broken plugin hurts nobody who does not use it. Every failure becomes a
:class:`~sneframe.errors.PluginError` that names the plugin, its distribution and its version.
"""

from __future__ import annotations

import inspect
import reprlib
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, final

import pluggy
import torch
from attrs import field, frozen

from sneframe import hookspecs
from sneframe.config.schema import RunConfig
from sneframe.config.suite import Suite
from sneframe.errors import PluginError, SneframeError, choices, one_line
from sneframe.files.reader import FileReader, faulty_reader
from sneframe.files.recognise import CORE, with_folders
from sneframe.hookspecs import GROUP
from sneframe.parts.part import Part, fault
from sneframe.zoo.builder import ZooBuilder
from sneframe.zoo.importer import ZooImporter

#: Errors that a part may raise or pass on without being at fault.
NOT_TO_BLAME = (SneframeError, Warning, MemoryError, torch.OutOfMemoryError)


@frozen(kw_only=True)
class Installed:
    """A plugin as described by the metadata of its distribution. The plugin is not imported."""

    name: str
    distribution: str
    version: str
    module: str
    entry_point: metadata.EntryPoint = field(repr=False, eq=False)

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.distribution} {self.version})"


@frozen(kw_only=True)
class Registry:
    """What the loaded plugins offer, by name."""

    plugins: Mapping[str, Installed] = field(factory=dict)
    parts: Mapping[str, type[Part]] = field(factory=dict)
    zoos: Mapping[str, ZooBuilder] = field(factory=dict)
    importers: Mapping[str, ZooImporter] = field(factory=dict)
    recipes: Mapping[str, Callable[[], RunConfig]] = field(factory=dict)
    suites: Mapping[str, Suite] = field(factory=dict)

    def part(self, name: str) -> type[Part]:
        """Return the class of the part with this name."""
        return _find(name, self.parts, "part")

    def zoo(self, name: str) -> ZooBuilder:
        """Return the zoo builder with this name."""
        return _find(name, self.zoos, "zoo")

    def importer(self, name: str) -> ZooImporter:
        """Return the zoo importer with this name."""
        return _find(name, self.importers, "importer")

    def recipe(self, name: str) -> Callable[[], RunConfig]:
        """Return the recipe with this name."""
        return _find(name, self.recipes, "recipe")

    def suite(self, name: str) -> Suite:
        """Return the suite with this name."""
        return _find(name, self.suites, "suite")


def installed() -> dict[str, Installed]:
    """Return the installed plugins by name. Read only their metadata, and import nothing.

    Raises:
        PluginError: two distributions offer a plugin of the same name.
    """
    return dict(_scan(tuple(map(_state, sys.path))))


def _state(folder: str) -> object:
    """Return a value that changes when a distribution is installed in a folder or removed from it."""
    try:
        stat = Path(folder).stat()
    except OSError:
        return folder
    return folder, stat.st_ino, stat.st_mtime_ns


@lru_cache(maxsize=1)  # a recipe looks plugins up once for each part that it names
def _scan(_: tuple[object, ...]) -> dict[str, Installed]:
    found: dict[str, Installed] = {}
    for entry in metadata.entry_points(group=GROUP):
        dist = entry.dist
        plugin = Installed(
            name=entry.name,
            distribution=dist.name if dist else "?",
            version=dist.version if dist else "?",
            module=entry.value,
            entry_point=entry,
        )
        other = found.setdefault(entry.name, plugin)
        # A checkout on the path and its installation are one distribution seen twice, not a clash.
        if (other.distribution, other.module) != (plugin.distribution, plugin.module):
            both = " and ".join(sorted(f"{p.distribution} {p.version}" for p in (other, plugin)))
            raise PluginError(f"plugin {entry.name!r} is offered by {both}; uninstall one of them")
    return dict(sorted(found.items()))


def load(names: Iterable[str]) -> Registry:
    """Load exactly the named plugins.

    Raises:
        PluginError: a plugin is not installed, cannot be imported, misspells a hook, or offers something
            wrong.
    """
    known = installed()
    plugins: dict[str, Installed] = {}
    offered: dict[str, dict[str, Any]] = {noun: {} for noun in ("part", "zoo", "importer", "recipe", "suite")}
    for name in sorted(set(names)):
        if name not in known:
            raise PluginError(f"unknown plugin {name!r}, {choices(name, known, 'installed')}")
        plugins[name] = known[name]
        manager = _register(known[name])
        for cls in _call(manager, "sneframe_parts", known[name]):
            if problem := fault(cls):
                raise PluginError(f"{known[name]}: {' '.join(problem.split())}")
            _add(offered["part"], cls.name, cls, known[name], "part")
        for offer in _call(manager, "sneframe_zoos", known[name]):
            if not isinstance(offer, ZooBuilder | ZooImporter):
                raise PluginError(
                    f"{known[name]}: sneframe_zoos offers {_shown(offer)}, "
                    f"which is neither a ZooBuilder nor a ZooImporter"
                )
            noun = "zoo" if isinstance(offer, ZooBuilder) else "importer"
            _add(offered[noun], offer.name, offer, known[name], noun)
        for recipe, function in _call(manager, "sneframe_recipes", known[name], {}).items():
            if not callable(function):
                raise PluginError(f"{known[name]}: recipe {recipe!r} is {_shown(function)}, not a function")
            _add(offered["recipe"], recipe, _checked(recipe, function, known[name]), known[name], "recipe")
        for suite in _call(manager, "sneframe_suites", known[name]):
            if not isinstance(suite, Suite):
                raise PluginError(f"{known[name]}: sneframe_suites offers {_shown(suite)}, not a Suite")
            _add(offered["suite"], suite.name, suite, known[name], "suite")
    return Registry(
        plugins=plugins,
        parts=offered["part"],
        zoos=offered["zoo"],
        importers=offered["importer"],
        recipes=offered["recipe"],
        suites=offered["suite"],
    )


def readers(only: str | None = None) -> tuple[FileReader, ...]:
    """Return the file readers of all installed plugins and of the core, or only one of them.

    The readers of plugins come first, and so are asked first: they are for special contents of the formats
    that the core reads.

    Args:
        only: the name of the only reader to return, as ``PLUGIN/NAME``. Used alone, a reader reads also files
            that it does not recognise.

    Raises:
        PluginError: no reader has the name ``only``.

    Warns:
        UserWarning: a plugin does not load, or offers something that is not a file reader. Its readers are
            left out.
    """
    found: list[FileReader] = []
    for plugin in installed().values():
        try:
            found += _readers_of(plugin)
        except PluginError as error:
            warnings.warn(f"{error}; its file readers are left out", stacklevel=2)
    whole = with_folders([*found, *CORE])
    return whole if only is None else (_find(only, {each.name: each for each in whole}, "file reader"),)


@cache
def _readers_of(plugin: Installed) -> tuple[FileReader, ...]:
    """Return the file readers of a plugin.

    Raises:
        PluginError: the plugin does not load, or offers something that is not a file reader.
    """
    found: dict[str, FileReader] = {}
    for cls in _call(_register(plugin), "sneframe_readers", plugin):
        if not isinstance(cls, type) or not issubclass(cls, FileReader) or inspect.isabstract(cls):
            raise PluginError(
                f"{plugin}: sneframe_readers offers {_shown(cls)}, "
                f"which is not a complete subclass of FileReader"
            )
        try:
            reader = cls()
        except (Exception, SystemExit) as error:
            raise PluginError(f"{plugin}: the file reader {cls.__name__} fails: {one_line(error)}") from error
        reader.origin = str(plugin)
        if problem := faulty_reader(reader):
            raise PluginError(f"{plugin}: the file reader {cls.__name__} {problem}")
        _add(found, reader.name, reader, plugin, "file reader")
    return tuple(found.values())


def part(name: str, class_paths: Mapping[str, str] | None = None) -> type[Part]:
    """Load the plugin of a part, and return the class of the part.

    Args:
        name: ``PLUGIN/NAME``.
        class_paths: the result of :func:`unregistered` when the model was trained. If still no plugin offers
            the part, the class is looked up in the module that ``class_paths`` names. That module must have
            been imported already. It is not imported here, because no file may choose what is executed.

    Raises:
        PluginError: there is no such plugin or part, or the plugin does not load.
    """
    plugin, path = name.partition("/")[0], (class_paths or {}).get(name)
    if path is None:
        return load([plugin]).part(name)
    if offered := load({plugin} & installed().keys()).parts.get(name):
        return offered
    module, _, steps = path.partition(":")
    found: Any = sys.modules.get(module)
    for step in steps.split("."):
        found = getattr(found, "__dict__", {}).get(step)  # a module's own __getattr__ might import something
    if fault(found) or found.name != name:
        raise PluginError(
            f"no plugin offers part {name!r}, and this process knows no class {steps} of the module "
            f"{module}; define or import it first, or install a plugin that offers it"
        )
    made: type[Part] = found
    return made


def unregistered(parts: Iterable[type[Part]]) -> dict[str, str]:
    """Return the parts that no plugin offers, such as those of a notebook: ``MODULE:CLASS`` by part name.

    Raises:
        PluginError: a plugin offers another class with the name of one of the parts.
    """
    by_name = {part.name: part for part in parts}
    offered = load({name.partition("/")[0] for name in by_name} & installed().keys()).parts
    for name, own in by_name.items():
        if name in offered and _class_path(offered[name]) != _class_path(own):
            raise PluginError(
                f"{owner(name)} offers {_class_path(offered[name])} as part {name!r}; "
                f"give {_class_path(own)} another name"
            )
    return {name: _class_path(own) for name, own in by_name.items() if name not in offered}


def _class_path(part: type[Part]) -> str:
    return f"{part.__module__}:{part.__qualname__}"


def failed(name: str, what: str, error: BaseException) -> PluginError:
    """Return a PluginError for an unexpected error in the part ``name``. ``what`` begins the message."""
    return faulty(name, f"{what} fails: {one_line(error)}")


def faulty(name: str, said: str) -> PluginError:
    """Return a PluginError whose message names the plugin of the part ``name``, and goes on with ``said``."""
    error = PluginError(f"{owner(name)}: {said}")
    error.part, error.said = name, said
    return error


@final
class Blamed:
    """Name the part at fault when the code under ``with Blamed(part):`` raises an unexpected error.

    Args:
        part: the part that this code calls.

    Raises:
        PluginError: one line with the unexpected error, which is chained. Errors of sneframe, warnings that
            are raised as errors, and a lack of memory pass unchanged.
    """

    __slots__ = ("part",)

    def __init__(self, part: Part) -> None:
        self.part = part

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception | SystemExit) or isinstance(error, NOT_TO_BLAME):
            return
        raise failed(self.part.name, f"{self.part.slot} {self.part.name!r}", error) from error


def owner(name: str) -> str:
    """Return ``plugin 'PLUGIN' (DISTRIBUTION VERSION)`` for a part, or ``unregistered part``."""
    return str(installed().get(name.partition("/")[0], "unregistered part"))


def _find(name: str, known: Mapping[str, Any], noun: str) -> Any:
    if name not in known:
        plugin = name.partition("/")[0]
        near = [other for other in known if other.startswith(f"{plugin}/")] or list(known)
        raise PluginError(f"unknown {noun} {name!r}, {choices(name, near)}")
    return known[name]


# A plugin may raise anything, even SystemExit. The functions below chain the cause.


def _register(plugin: Installed) -> pluggy.PluginManager:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin.entry_point.load(), name=plugin.name)
        manager.check_pending()
    except (Exception, SystemExit) as error:
        raise PluginError(f"{plugin}: does not load: {one_line(error)}") from error
    return manager


def _call(manager: pluggy.PluginManager, hook: str, plugin: Installed, nothing: Any = ()) -> Any:
    """Return the result of a hook, as a value of the type of ``nothing``: a dict or a tuple."""
    implementations = getattr(manager.hook, hook).get_hookimpls()
    if not implementations:
        return nothing
    if any(i.wrapper or i.hookwrapper for i in implementations):
        raise PluginError(f"{plugin}: {hook} returns data, so it cannot be a wrapper")
    try:
        result = implementations[0].function()
        if isinstance(nothing, dict) and not isinstance(result, Mapping):
            raise TypeError(f"must return a mapping from names to functions, but got {type(result).__name__}")
        return type(nothing)(result)
    except (Exception, SystemExit) as error:
        raise PluginError(f"{plugin}: {hook} fails: {one_line(error)}") from error


def _checked(name: str, function: Callable[[], RunConfig], plugin: Installed) -> Callable[[], RunConfig]:
    """Wrap a recipe. An error then names the plugin and the recipe, and a result must be a RunConfig."""

    def recipe() -> RunConfig:
        try:
            config = function()
        except (Exception, SystemExit) as error:
            raise PluginError(f"{plugin}: recipe {name!r} fails: {one_line(error)}") from error
        if not isinstance(config, RunConfig):
            raise PluginError(f"{plugin}: recipe {name!r} returns {_shown(config)}, not a RunConfig")
        return config

    return recipe


def _add(offered: dict[str, Any], name: object, value: Any, plugin: Installed, noun: str) -> None:
    if not isinstance(name, str) or not name.startswith(f"{plugin.name}/"):
        raise PluginError(f"{plugin}: {noun} {_shown(name)} must be named '{plugin.name}/…'")
    if name in offered:
        raise PluginError(f"{plugin}: {noun} {name!r} is offered twice")
    offered[name] = value


def _shown(value: object) -> str:
    return " ".join(reprlib.repr(value).split())
