"""Make two views of each network: copies whose neurons are moved, and whose weights are perturbed."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from attrs.validators import and_, deep_iterable, ge, in_, le, lt

from sneframe.architecture import ACTIONS
from sneframe.batch import Batch
from sneframe.config.schema import option
from sneframe.config.validators import as_tuple
from sneframe.nn.perturb import each_network, erased, multiplied
from sneframe.rng import Draw
from sneframe.symmetry import apply, sample


@frozen(kw_only=True, eq=False)
class View:
    """A view of networks.

    Args:
        moved: the networks after their neurons were moved. They compute what the networks compute.
        shown: the same networks after noise was added and weights were erased. An encoder reads these.
    """

    moved: Batch
    shown: Batch


@frozen(kw_only=True)
class Views:
    """Options of every loss that compares two views of a network."""

    actions: tuple[str, ...] = option(
        ("permute",),
        "which actions move the neurons of a view, where a neuron group allows them: permute, scale, sign, "
        "linear; empty: none",
        check=deep_iterable(in_(ACTIONS)),
        converter=as_tuple,
    )
    noise: float = option(
        0.0, "σ: each weight of a view is multiplied by 1 + σ ε, where ε is standard normal", check=ge(0)
    )
    erasing: float = option(
        0.0, "probability that a range of the weights of a view is set to 0", check=and_(ge(0), le(1))
    )
    shortest: float = option(
        0.02, "smallest fraction of the weights that is erased", check=and_(ge(0), le(1))
    )
    longest: float = option(0.33, "largest fraction of the weights that is erased", check=and_(ge(0), le(1)))

    def __attrs_post_init__(self) -> None:
        if self.shortest > self.longest:
            raise ValueError(
                f"shortest must be at most longest = {self.longest:g}, but got {self.shortest:g}"
            )

    def pair(self, batch: Batch, draw: Draw) -> tuple[View, View]:
        """Return two views of each network of a batch.

        Args:
            batch: the networks, with raw weights.
            draw: source of random numbers for this step.
        """
        return self._view(batch, draw.apart("first view")), self._view(batch, draw.apart("second view"))

    def _view(self, batch: Batch, draw: Draw) -> View:
        moved = batch
        if self.actions:
            moved = apply(batch, sample(batch, seed=draw.seed, step=draw.step, actions=self.actions))
        shown = moved
        if self.noise:
            shown = each_network(
                shown, draw.apart("noise"), lambda n, stream: multiplied(n.weights, stream, std=self.noise)
            )
        if self.erasing:
            limits: dict[str, Any] = {"shortest": self.shortest, "longest": self.longest}
            shown = each_network(
                shown,
                draw.apart("erasing"),
                lambda n, stream: erased(n.weights, stream, probability=self.erasing, **limits),
            )
        return View(moved=moved, shown=shown)


#: Checks the rate of a dropout, and the fraction of tokens that are hidden: from 0 to below 1.
RATE = and_(ge(0), lt(1))
