"""Choose and label the zoos that a comparison trains on and tests on."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import evolve, frozen

from sneframe.bench.build import built
from sneframe.bench.naming import refuse_twice
from sneframe.config.suite import Built, Suite
from sneframe.errors import ConfigError
from sneframe.progress import Reporter
from sneframe.train.data import demo_zoo
from sneframe.zoo import merge, open_zoo


@frozen(kw_only=True)
class StoredZoo:
    """A zoo on disk.

    Args:
        path: folder of the zoo on this machine.
        label: name of the zoo in a table.
        name: name in the manifest of the zoo.
        digest: digest of the content of the zoo.
    """

    path: Path
    label: str
    name: str
    digest: str

    @classmethod
    def of(cls, path: Path) -> StoredZoo:
        """Read name and digest of the zoo in a folder. Weights are not read.

        Raises:
            ZooError: there is no zoo.
        """
        zoo = open_zoo(path, unhealthy=True)
        return cls(path=path.resolve(), label=path.resolve().stem, name=zoo.name, digest=zoo.digest)


@frozen(kw_only=True)
class Target:
    """Another zoo that a model is tested on.

    Args:
        zoo: the other zoo.
        divided: whether the zoo is split as for training, because other models of the comparison train on
            it. The model is then tested on the test part of that split. If false, the model is tested on the
            test part of the split that the zoo stores, or on all networks if the zoo stores none.
    """

    zoo: StoredZoo
    divided: bool


@frozen(kw_only=True)
class Crossing:
    """A zoo to train on, and the zoos to test the models on.

    Without targets, the models are tested on the test networks of the source.
    """

    source: StoredZoo
    targets: tuple[StoredZoo, ...]


def crossings_of(
    suite: Suite,
    *,
    train: Sequence[Path | str] = (),
    test: Sequence[Path | str] = (),
    leave_one_out: bool = False,
    merged: Path,
    kept: Path,
    reporter: Reporter,
) -> list[Crossing]:
    """Return what a comparison trains on, each with what it tests on. Missing zoos are built or merged.

    Args:
        suite: names the zoos.
        train: zoos to train on, in place of those of the suite.
        test: zoos to test on, in place of those of the suite.
        leave_one_out: for each zoo to train on, train on all others together, and test on this zoo.
        merged: folder for merged zoos.
        kept: folder for zoos that are built.
        reporter: receives progress.

    Raises:
        ConfigError: ``leave_one_out`` or training together has fewer than two zoos to train on, or has zoos
            to test on; a zoo is named twice.
        ZooError: a zoo does not exist, or zoos cannot be merged.
        MachineError: a folder cannot be written.
        Interrupted: after Ctrl-C while a zoo is built.
    """
    named = tuple(train) or suite.train
    sources = [_stored(each, kept, reporter) for each in named or (suite.zoo,)]
    tested = tuple(test) or suite.test
    targets = tuple(_stored(each, kept, reporter) for each in tested)
    for what, words, places in (("train on", named or ("",), sources), ("test on", tested, targets)):
        pairs = zip(map(_word, words), places, strict=True)
        refuse_twice(what, [(word, place.digest) for word, place in pairs])
    if not leave_one_out and not suite.together:
        return [Crossing(source=source, targets=targets) for source in sources]
    if targets or len(sources) < 2:
        how = "leaving one out" if leave_one_out else "training on zoos together"
        raise ConfigError(
            f"{how} needs at least two zoos to train on and no zoos to test on, but "
            f"got {len(sources)} and {len(targets)}"
        )
    if leave_one_out:
        return left_out(sources, merged, reporter)
    return [Crossing(source=_merged(sources, "all", labels_of(sources), merged, reporter), targets=())]


def left_out(sources: Sequence[StoredZoo], folder: Path, reporter: Reporter) -> list[Crossing]:
    """Return one crossing for each zoo: train on all other zoos, merged into one, and test on this zoo.

    Args:
        sources: at least two zoos, none twice.
        folder: folder for merged zoos.
        reporter: receives a line for each merge.

    Raises:
        ZooError: the zoos cannot be merged.
        MachineError: the folder cannot be written.
    """
    labels = labels_of(sources)
    found = []
    for target in sources:
        others = [source for source in sources if source.digest != target.digest]
        source = _merged(others, f"all but {labels[target]}", labels, folder, reporter)
        found.append(Crossing(source=source, targets=(target,)))
    return found


def _merged(
    sources: Sequence[StoredZoo],
    label: str,
    labels: Mapping[StoredZoo, str],
    folder: Path,
    reporter: Reporter,
) -> StoredZoo:
    """Return zoos merged into one. It is written once: its name has a hash of the zoos in it."""
    if len(sources) == 1:
        return evolve(sources[0], label=label)
    digest = hashlib.sha256(" ".join(source.digest for source in sources).encode()).hexdigest()[:8]
    path = folder / f"{label.replace(' ', '-')}-{digest}.zarr"
    if not path.exists():
        reporter.say(f"merging {', '.join(labels[source] for source in sources)}, once, into {path}")
        merge([s.path for s in sources], path, labels=[labels[s].replace("/", "-") for s in sources])
    return evolve(StoredZoo.of(path), label=label)


def _stored(zoo: Built | Path | str | None, kept: Path, reporter: Reporter) -> StoredZoo:
    """Return a zoo on disk. It is built if it is missing. None is the demo zoo."""
    if zoo is None:
        return StoredZoo.of(demo_zoo(reporter))
    if not isinstance(zoo, Built):
        return StoredZoo.of(Path(zoo))
    stored = StoredZoo.of(built(zoo, kept, reporter))
    return stored if zoo.label is None else evolve(stored, label=zoo.label)


def _word(zoo: Built | Path | str | None) -> str:
    """Return what a user calls a zoo."""
    return zoo.label or zoo.builder if isinstance(zoo, Built) else f"{zoo or 'the demo zoo'}"


def labels_of(places: Sequence[StoredZoo]) -> dict[StoredZoo, str]:
    """Return the labels of zoos: the names of their folders, with digests if two folders share a name."""
    digests: dict[str, set[str]] = defaultdict(set)
    for place in places:
        digests[place.label].add(place.digest)
    return {
        place: place.label if len(digests[place.label]) == 1 else f"{place.label} {place.digest[:6]}"
        for place in places
    }
