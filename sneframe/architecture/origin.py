"""How many networks have a symmetry of which origin, counted and said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sneframe.architecture.description import ORIGINS
from sneframe.errors import counted

SENTENCES = {
    "none": "no symmetry is known of {}, every neuron is taken as fixed",
    "guessed": "symmetry guessed from names and shapes for {}",
    "stated": "symmetry stated, not verified, for {}",
    "derived": "symmetry derived from the code, not verified, for {}",
    "verified": "symmetry derived from the code and verified for {}",
}


def by_origin(found: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Add up networks by the origin of their symmetry, the weakest origin first; those of no network are left out."""
    counts = dict.fromkeys(ORIGINS, 0)
    for origin, networks in found:
        counts[origin] += networks
    return {origin: networks for origin, networks in counts.items() if networks}


def sentences(counts: Mapping[str, int], *, code: str = "") -> Iterator[str]:
    """Yield a line for each origin.

    Args:
        counts: networks by origin.
        code: what finds the symmetry from the code, said where it is not known or guessed.
    """
    total = counted(sum(counts.values()), "network")
    for origin, networks in counts.items():
        hint = f"; {code} finds it from the code and verifies it" * (
            bool(code) and origin in ("none", "guessed")
        )
        yield SENTENCES[origin].format(f"{networks} of {total}") + hint
