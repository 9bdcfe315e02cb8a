"""Count networks by the origin of their symmetry, and put the counts into words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sneframe.architecture.description import ORIGINS
from sneframe.errors import counted

SENTENCES = {
    "none": "no symmetry is known for {}, so every neuron is taken as fixed",
    "guessed": "symmetry guessed from names and shapes for {}",
    "stated": "symmetry stated, not verified, for {}",
    "derived": "symmetry derived from the computation, not verified, for {}",
    "verified": "symmetry derived from the computation and verified for {}",
}


def by_origin(counted_networks: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Add up the numbers of networks that have the same origin of symmetry.

    Args:
        counted_networks: pairs of an origin and a number of networks.

    Returns:
        The total for each origin, the least reliable origin first. Origins without networks are left out.
    """
    counts = dict.fromkeys(ORIGINS, 0)
    for origin, networks in counted_networks:
        counts[origin] += networks
    return {origin: networks for origin, networks in counts.items() if networks}


def sentences(counts: Mapping[str, int], *, code: str = "") -> Iterator[str]:
    """Yield one line of text for each origin.

    Args:
        counts: number of networks by origin.
        code: the command-line option that derives the symmetry from the code of the networks, or an empty
            text. The lines for unknown and guessed symmetry recommend this option.
    """
    total = counted(sum(counts.values()), "network")
    for origin, networks in counts.items():
        hint = f"; {code} derives the symmetry from the code and verifies it" * (
            bool(code) and origin in ("none", "guessed")
        )
        yield SENTENCES[origin].format(f"{networks} of {total}") + hint
