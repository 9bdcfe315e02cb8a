"""Maps of node and edge codes that keep scales and signs (Kalogeropoulos et al., NeurIPS 2024, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import final

import numpy as np
import torch
import torch.nn.functional as F
from attrs import frozen
from torch import Tensor, nn

from sneframe.errors import PartError
from sneframe_scale_gmn.symmetries import MOVED, Kind


@frozen(kw_only=True)
class MapOptions:
    """Choices that the published settings make differently.

    Args:
        perceptron_at_ends: whether inputs and outputs are read by a perceptron alone.
        separate_outputs: whether outputs have a perceptron of their own.
        symmetrised: whether a sign goes by ρ(x) + ρ(−x), or by absolute values.
    """

    perceptron_at_ends: bool = True
    separate_outputs: bool = False
    symmetrised: bool = True


@final
class NormPerceptron(nn.Module):
    """Linear, LayerNorm, SiLU, Linear.

    Args:
        given: width of the input.
        hidden: width of the hidden layer.
        width: width of the output.
    """

    def __init__(self, given: int, hidden: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(given, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.last = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(…, width)`` for ``(…, given)``."""
        return self.after_first(self.first(x))

    def after_first(self, hidden: Tensor) -> Tensor:
        """Return the output, given that of the first linear map."""
        result: Tensor = self.last(F.silu(self.norm(hidden)))
        return result


@final
class Invariant(nn.Module):
    """Makes a vector invariant to positive factors, to its sign, or to both.

    A positive factor goes by dividing the vector by its length. A sign goes by ρ(x) + ρ(−x) with a perceptron
    ρ, or by absolute values.

    Args:
        width: width of the vectors.
        hidden: width of the hidden layer of ρ.
        kinds: the kinds of nodes in the training zoo.
        symmetrised: whether ρ is used.
    """

    def __init__(self, width: int, hidden: int, kinds: Collection[Kind], *, symmetrised: bool) -> None:
        super().__init__()
        signed = [kind for kind in ("sign", "both") if kind in kinds]
        self.known = tuple(kinds)
        self.signs = nn.ModuleDict(
            {kind: NormPerceptron(width, hidden, width) for kind in signed} if symmetrised else {}
        )

    def forward(self, x: Tensor, kind: Kind) -> Tensor:
        """Return an invariant vector ``(…, width)`` for ``x (…, width)``. Only moved kinds change it."""
        if kind in ("scale", "both"):
            x = unit(x)
        if kind in ("sign", "both"):
            check_kind(kind, self.known)
            x = self.signs[kind](x) + self.signs[kind](-x) if self.signs else x.abs()
        return x


def unit(x: Tensor) -> Tensor:
    """Return ``x (…, width)`` divided by its length; a vector of length 0 stays 0.

    The original adds 10⁻¹⁰ to the length, so that it is invariant only up to that.
    """
    largest = x.detach().abs().amax(-1, keepdim=True)
    near = x / torch.where(largest > 0, largest, 1)  # so that no square is too large or too small
    square = near.square().sum(-1, keepdim=True)
    nonzero = square > 0
    return near * torch.where(nonzero, torch.where(nonzero, square, 1).rsqrt(), 0)


@final
class Equivariant(nn.Module):
    """Maps codes so that a factor of the input is a factor of the output.

    For neurons with a scale or a sign: W x ⊙ φ(invariant of x, extra). For neurons that are only permuted, a
    perceptron of x and extra. For inputs and outputs, which have no symmetry, W x ⊙ φ(x, extra), or a
    perceptron of both if ``perceptron_at_ends``.

    Args:
        given: width of x.
        hidden: width of hidden layers.
        width: width of the output.
        extra: width of the extra vector, which is not moved.
        kinds: the kinds of nodes in the training zoo.
        options: see :class:`MapOptions`.
    """

    def __init__(
        self,
        given: int,
        hidden: int,
        width: int,
        *,
        extra: int,
        kinds: Collection[Kind],
        options: MapOptions,
    ) -> None:
        super().__init__()
        self.perceptron_at_ends = options.perceptron_at_ends
        self.linear = nn.Linear(given, width, bias=False)
        self.invariant = Invariant(given, hidden, kinds, symmetrised=options.symmetrised)
        moved = [kind for kind in MOVED if kind in kinds]
        self.factors = nn.ModuleDict({kind: NormPerceptron(given + extra, hidden, width) for kind in moved})
        self.inputs = NormPerceptron(given + extra, hidden, width)
        self.outputs = NormPerceptron(given + extra, hidden, width) if options.separate_outputs else None
        self.permuted = NormPerceptron(given + extra, hidden, width) if "permute" in kinds else None

    def forward(self, x: Tensor, kinds: np.ndarray, extra: Tensor | None, *, axis: int) -> Tensor:
        """Return ``(…, width)``.

        Args:
            x: ``(…, given)``.
            kinds: the kind of the node of each entry along ``axis`` of x.
            extra: ``(…, extra)``, or None.
            axis: the axis of nodes or slots.

        Raises:
            PartError: the training zoo has no neurons of a kind.
        """
        if self.outputs is None:
            kinds = np.where(kinds == "output", "input", kinds)
        return by_kind(kinds, axis, x.ndim, lambda kind: self._mapped(x, kind, extra))

    def _mapped(self, x: Tensor, kind: Kind, extra: Tensor | None) -> Tensor:
        if kind in MOVED:
            check_kind(kind, self.factors)
            factor: Tensor = self.factors[kind](_with(self.invariant(x, kind), extra))
            moved: Tensor = self.linear(x) * factor
            return moved
        if kind == "permute":
            if self.permuted is None:
                check_kind(kind, {})
            assert self.permuted is not None
            permuted: Tensor = self.permuted(_with(x, extra))
            return permuted
        perceptron = self.outputs if kind == "output" and self.outputs is not None else self.inputs
        at_ends: Tensor = perceptron(_with(x, extra))
        return at_ends if self.perceptron_at_ends else self.linear(x) * at_ends


def by_kind(kinds: np.ndarray, axis: int, ndim: int, mapped: Callable[[Kind], Tensor]) -> Tensor:
    """Return what ``mapped`` gives for the kind of each entry along an axis.

    Args:
        kinds: ``(n,)``, the kind of each entry.
        axis: the axis of the entries.
        ndim: the number of axes of the result.
        mapped: computes all entries as if they had one kind.
    """
    found = list(dict.fromkeys(kinds.tolist()))
    result = mapped(found[0])
    for kind in found[1:]:
        shape = [1] * ndim
        shape[axis] = len(kinds)
        mask = torch.from_numpy(kinds == kind).to(result.device).reshape(shape)
        result = torch.where(mask, mapped(kind), result)
    return result


def check_kind(kind: str, known: Collection[str] | nn.ModuleDict) -> None:
    """Check that the training zoo has neurons of a kind.

    Raises:
        PartError: it has none.
    """
    if kind not in known:
        words = {
            "scale": "keep their function under positive factors, as with ReLU",
            "sign": "keep their function under a change of sign, as with tanh and sine",
            "both": "keep their function under any factor",
            "permute": "can only be permuted",
        }
        raise PartError(f"no training network has neurons that {words[kind]}")


def _with(x: Tensor, extra: Tensor | None) -> Tensor:
    return x if extra is None else torch.cat([x, extra.expand(*x.shape[:-1], -1)], dim=-1)
