"""Compare the result of a part with what the part declares. Each difference is one line.

A run compares its parts at the first batch. ``sneframe check`` and the laws compare parts on toy networks.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen
from torch import Tensor

from sneframe import plugins
from sneframe.batch import Batch, Networks
from sneframe.errors import one_line
from sneframe.parts.head import Head
from sneframe.parts.invariance import LossTerm
from sneframe.parts.normalise import Normalise
from sneframe.parts.part import Part


@frozen
class Difference:
    """One difference between what a part declares and what the part returns.

    Args:
        line: what is wrong, to be read after the name of the part: ``declares width 99, but gives width 32``.
        readable: whether the values of each network can still be found in the result.
    """

    line: str
    readable: bool = False


def check(part: Part, given: object, batch: Batch) -> None:
    """Compare what a part of the chain declares with its result for a batch.

    Raises:
        PluginError: the declaration and the result differ. One line names each difference, the part, and the
            plugin with its distribution and version.
    """
    if lines := [each.line for each in differences(part, given, batch)]:
        raise plugins.faulty(part.name, f"{part.slot} {part.name!r} {'; it '.join(lines)}")


def differences(part: Part, given: object, batch: Batch) -> Iterator[Difference]:
    """Yield each difference between what a part of the chain declares and its result for a batch."""
    if isinstance(part, Normalise):
        yield from map(Difference, _of_batch(given, batch))
    elif isinstance(part, Head):
        shape = (len(batch), part.out.values)
        if not isinstance(given, Tensor) or given.shape != shape:
            yield Difference(f"must give values of shape {shape}, but gives {_shown(given)}")
    elif not isinstance(given, tuple | list) or len(given) != len(batch.networks):
        yield Difference(wrong_count(given, batch))
    else:
        pairs = zip(given, batch.networks, strict=True)
        yield from dict.fromkeys(found for pair in pairs for found in _of_carrier(part, *pair))


def wrong_count(given: object, batch: Batch) -> str:
    """Return the error text for a part that did not give one carrier for each architecture."""
    got = len(given) if isinstance(given, tuple | list) else _shown(given)
    return f"must give one carrier for each of {len(batch.networks)} architectures, but gives {got}"


def check_augmented(part: Part, given: object, batch: Batch, target: Tensor) -> None:
    """Check that an augmentation returned a batch of the same networks, and a target for each of them.

    Raises:
        PluginError: the augmentation returned something else.
    """
    if lines := wrong_augmented(given, batch, target):
        raise plugins.faulty(part.name, f"{part.slot} {part.name!r} {'; it '.join(lines)}")


def wrong_augmented(given: object, batch: Batch, target: Tensor) -> list[str]:
    """Return the faults in the result of an augmentation, as lines of a :class:`Difference`."""
    if not (isinstance(given, tuple) and len(given) == 2):
        return [f"must give a batch and its targets, but gives {_shown(given)}"]
    lines = list(_of_batch(given[0], batch))
    if not isinstance(given[1], Tensor) or given[1].shape != target.shape:
        lines.append(f"must give targets of shape {tuple(target.shape)}, but gives {_shown(given[1])}")
    return lines


def check_term(part: Part, given: object) -> None:
    """Check that an invariance loss returned a :class:`LossTerm` whose total is one number.

    Raises:
        PluginError: the loss returned something else.
    """
    if not isinstance(given, LossTerm) or not isinstance(given.total, Tensor) or given.total.ndim:
        got = f"a LossTerm of {_shown(given.total)}" if isinstance(given, LossTerm) else _shown(given)
        said = f"must give a LossTerm whose total is one number, but gives {got}"
        raise plugins.faulty(part.name, f"{part.slot} {part.name!r} {said}")


def _of_batch(given: object, batch: Batch) -> Iterator[str]:
    if not isinstance(given, Batch):
        yield f"must give a Batch, but gives {_shown(given)}"
    elif given.architectures != batch.architectures or given.ids.tolist() != batch.ids.tolist():
        yield f"must give the same {len(batch)} networks, but gives {len(given)} others"


def _of_carrier(part: Part, carrier: object, networks: Networks) -> Iterator[Difference]:
    declared = part.out
    if not isinstance(carrier, declared.carrier):
        yield Difference(f"declares {declared.carrier.__name__}, but gives {_shown(carrier)}")
        return
    architecture = getattr(carrier, "architecture", None)
    if architecture != networks.architecture:
        got = getattr(architecture, "summary", "none")
        yield Difference(
            f"must give carriers in the order of the architectures, "
            f"but gives a carrier of {got} for {networks.architecture.summary}"
        )
    if not hasattr(type(carrier), "extent"):
        return  # a plugin's own carrier need not have an extent
    try:
        count, width = carrier.extent  # type: ignore[attr-defined]  # checked above
    except Exception as error:  # noqa: BLE001  # any tensors, in foreign code
        why = str(error) if isinstance(error, ValueError) else one_line(error)
        yield Difference(f"gives a wrong {type(carrier).__name__}: {why}")
        return
    if count != len(networks):
        yield Difference(f"must carry each of {len(networks)} networks, but carries {count}")
    if width != declared.width:
        name, given = declared.carrier.__name__, f"but gives width {width}"
        yield Difference(f"declares {name} of width {declared.width}, {given}", readable=True)


def _shown(given: object) -> str:
    return f"a tensor {tuple(given.shape)}" if isinstance(given, Tensor) else type(given).__name__
