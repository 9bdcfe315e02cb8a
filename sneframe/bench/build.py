"""Build the zoo of a suite, unless it is built already."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import attrs

from sneframe import plugins
from sneframe.config.suite import Built
from sneframe.engine import make_engine
from sneframe.errors import ConfigError, Interrupted
from sneframe.progress import Reporter


def built(zoo: Built, folder: Path, reporter: Reporter) -> Path:
    """Return the path of a suite's zoo in a folder. If the zoo is missing, build it there.

    The name of the zoo depends on the builder, the options and the version of the plugin, so different zoos
    never share a path.

    Raises:
        PluginError: there is no such builder.
        ConfigError: the builder does not have one of the options, or refuses the value of an option.
        Interrupted: after Ctrl-C; the builder continues where it stopped.
    """
    plugin = zoo.builder.partition("/")[0]
    registry = plugins.load([plugin])
    builder = registry.zoo(zoo.builder)
    try:
        config = builder.config(**zoo.options)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"zoo {zoo.builder!r}: {error.args[0] if error.args else error}") from error
    decides = json.dumps(
        [registry.plugins[plugin].version, attrs.asdict(config)], sort_keys=True, default=str
    )
    digest = hashlib.sha256(decides.encode()).hexdigest()[:8]
    path = folder / f"{zoo.builder.replace('/', '-')}-{digest}.zarr"
    if path.exists():
        return path
    reporter.say(f"building the zoo {zoo.builder}, once, in {path}")
    try:
        with reporter.bar(zoo.builder, unit="networks") as advance:
            builder.build(config, path, advance, make_engine("process"))
    except KeyboardInterrupt as error:
        raise Interrupted(f"{path} is not complete; run the same command again to continue") from error
    return path
