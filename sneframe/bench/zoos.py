"""Choose and label the zoos that a comparison trains on and tests on."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve, frozen

from sneframe.progress import Reporter
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


def left_out(sources: Sequence[StoredZoo], folder: Path, reporter: Reporter) -> list[Crossing]:
    """Return one crossing for each zoo: train on all other zoos, merged into one, and test on this zoo.

    A merged zoo is written once. Its name contains a hash of the zoos that it was merged from.

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
        label = f"all but {labels[target]}"
        digest = hashlib.sha256(" ".join(source.digest for source in others).encode()).hexdigest()[:8]
        path = folder / f"{label.replace(' ', '-')}-{digest}.zarr"
        if len(others) == 1:
            path = others[0].path
        elif not path.exists():
            reporter.say(f"merging {', '.join(labels[source] for source in others)}, once, into {path}")
            merge(
                [source.path for source in others], path, labels=[labels[s].replace("/", "-") for s in others]
            )
        found.append(Crossing(source=evolve(StoredZoo.of(path), label=label), targets=(target,)))
    return found


def labels_of(places: Sequence[StoredZoo]) -> dict[StoredZoo, str]:
    """Return the labels of zoos: the names of their folders, with digests if two folders share a name."""
    digests: dict[str, set[str]] = defaultdict(set)
    for place in places:
        digests[place.label].add(place.digest)
    return {
        place: place.label if len(digests[place.label]) == 1 else f"{place.label} {place.digest[:6]}"
        for place in places
    }
