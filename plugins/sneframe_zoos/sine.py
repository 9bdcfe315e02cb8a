"""The builders of sine zoos: a config in; INRs of sin(f x), with the frequency f as a property, out."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, gt, lt, min_len

from sneframe import __version__
from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe.config import option
from sneframe.errors import ZooError
from sneframe.zoo import create, open_zoo
from sneframe.zoo.builder import ZooBuilder
from sneframe_zoos.blocks import Blocks, alone, difference
from sneframe_zoos.fit import fit
from sneframe_zoos.inr import architecture, draw_weights

logger = logging.getLogger(__name__)

NAME = "zoos/sine"
BLOCK = 250  #: networks trained together; a fixed number, so that a resumed build repeats the same arithmetic
FREQUENCIES = (0.5, 10.0)  #: f is uniform between the two


@frozen(kw_only=True)
class Sine:
    """What determines a sine zoo; network ``k`` draws from a generator of its own, keyed by ``(seed, k)``."""

    networks: int = option(1000, "how many", check=ge(1))
    widths: tuple[int, ...] = option(
        (32, 32), "of the hidden layers", check=deep_iterable(ge(1), iterable_validator=min_len(1))
    )
    seed: int = option(0, "of frequencies and initial weights", check=and_(ge(0), lt(2**64)))
    steps: int = option(1000, "of Adam, at most, for each network", check=ge(1))
    tolerance: float = option(1e-4, "the mean squared error at which a network is frozen", check=ge(0))
    lr: float = option(1e-3, "Adam's learning rate", check=gt(0))
    weight_decay: float = option(1e-4, "Adam's L2 penalty", check=ge(0))
    points: int = option(256, "equally spaced, in [-pi, pi]; what each network is fitted on", check=ge(2))
    siren: bool = option(False, "whether the first layer starts as SIREN's does, its weights U(±1)")


@frozen(kw_only=True)
class Demo:
    """The demo zoo has nothing to configure."""


DEMO_ZOO = Sine(networks=1000, widths=(16, 16))


def build(config: Sine, path: Path, progress: Callable[[int, int], None]) -> None:
    """Make the zoo; one that is there already is left as it is, one that another process is making is waited for.

    Raises:
        ZooError: the path holds something else: a zoo or an unfinished build of another configuration.
    """
    if not holds(path, config):
        with alone(path):
            if not holds(path, config):  # made by the one that was waited for
                make(config, path, progress)
                return
    logger.warning("%s is complete, it is left as it is", path)
    progress(config.networks, config.networks)


def holds(path: Path, config: Sine) -> bool:
    """Return whether the zoo of this configuration is there.

    Raises:
        ZooError: something else is there.
    """
    if not path.exists():
        return False
    made_by = open_zoo(path, unhealthy=True).attributes["builder"] or {}
    # A zoo made before an option was there was made with its default.
    found, key = (
        {**_options(Sine()), "builder": made_by.get("name"), **made_by.get("config", {})},
        _key(config),
    )
    if found != key:
        raise ZooError(f"{path} holds a zoo with {difference(found, key)}; remove it, or choose another path")
    return True


def make(config: Sine, path: Path, progress: Callable[[int, int], None]) -> None:
    """Train the networks block by block, then write the zoo.

    Raises:
        ZooError: an unfinished build of another configuration lies beside the path.
    """
    described = architecture(config.widths)
    blocks = Blocks(path, _key(config))
    finished = []
    for number, start in enumerate(range(0, config.networks, BLOCK)):
        stop = min(start + BLOCK, config.networks)
        arrays = blocks.load(number)
        if arrays is None:
            arrays = train(config, described, range(start, stop))
            blocks.save(number, arrays)
        finished.append(arrays)
        progress(stop, config.networks)

    with create(
        path,
        name="sine",
        description=f"INRs of sin(f x) on [-pi, pi], f uniform in {list(FREQUENCIES)}",
        builder={"name": NAME, "version": __version__, "config": _options(config)},
    ) as zoo:
        weights, frequency, fit_mse = (
            np.concatenate([arrays[key] for arrays in finished])
            for key in ("weights", "frequency", "fit_mse")
        )
        stacked = Networks(architecture=described, weights=torch.from_numpy(weights)).parameters()
        zoo.append(
            described,
            {name: values.numpy() for name, values in stacked.items()},
            {"frequency": frequency, "fit_mse": fit_mse},
            group=np.arange(config.networks),
        )
    blocks.remove()


def train(config: Sine, described: Architecture, numbers: range) -> dict[str, np.ndarray]:
    """Return ``weights (n, P)``, ``frequency (n,)`` and ``fit_mse (n,)`` of the networks of these numbers."""
    keys = (np.array([config.seed, number], dtype=np.uint64) for number in numbers)
    generators = [np.random.Generator(np.random.Philox(key=key)) for key in keys]
    frequency = np.array([generator.uniform(*FREQUENCIES) for generator in generators])
    start = np.stack([draw_weights(config.widths, generator, siren=config.siren) for generator in generators])
    x = np.linspace(-math.pi, math.pi, config.points)
    weights, errors = fit(
        described,
        torch.from_numpy(start.astype(np.float32)),
        torch.from_numpy(x.astype(np.float32)),
        torch.from_numpy(np.sin(np.outer(frequency, x)).astype(np.float32)),
        steps=config.steps,
        tolerance=config.tolerance,
        lr=config.lr,
        weight_decay=config.weight_decay,
    )
    return {"weights": weights.numpy(), "frequency": frequency, "fit_mse": errors.numpy()}


def build_demo(_: Any, path: Path, progress: Callable[[int, int], None]) -> None:
    """Build the demo zoo, a sine zoo small enough to wait for; nothing is said of one that is there."""
    if not holds(path, DEMO_ZOO):
        build(DEMO_ZOO, path, progress)


def _options(config: Sine) -> dict[str, Any]:
    options: dict[str, Any] = json.loads(json.dumps(attrs.asdict(config)))
    return options


def _key(config: Sine) -> dict[str, Any]:
    return {"builder": NAME, **_options(config)}


SINE = ZooBuilder(
    name=NAME, config=Sine, build=build, help="INRs of sine waves; the property is the frequency"
)
DEMO = ZooBuilder(
    name="zoos/demo", config=Demo, build=build_demo, help="the sine zoo of the demo, made in half a minute"
)
