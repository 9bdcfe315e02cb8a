"""Weight matching (Ainsworth et al. 2023, Git Re-Basin §3.2): move one network's neurons to where another's alike stand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from sneframe.architecture import Architecture, Group
from sneframe.batch import Batch, Networks
from sneframe.symmetry.act import Element, apply, compose


def align(batch: Batch, reference: Batch, *, sweeps: int = 20) -> tuple[Element, ...]:
    """Return permutations that bring each network of a batch close to the one at its place in another.

    Coordinate descent on the squared distance: one group after the other gets the assignment that is best while all
    others stay, until a sweep over all groups changes nothing. Each step lowers the distance or leaves it.

    Args:
        batch: to be moved.
        reference: of the same architectures and sizes.
        sweeps: at most so many over all groups.
    """
    return tuple(
        _align(own, other, sweeps) for own, other in zip(batch.networks, reference.networks, strict=True)
    )


def _align(networks: Networks, reference: Networks, sweeps: int) -> Element:
    architecture, size = networks.architecture, len(networks)
    device = networks.weights.device
    total = Element(architecture=architecture, permutations=_identity(architecture, size, device))
    alone = Batch(networks=[networks], order=np.arange(size), ids=np.arange(size))
    groups = [group for group in architecture.groups if "permute" in group.actions]
    for _ in range(sweeps):
        changed = False
        for group in groups:
            moved = apply(alone, (total,)).networks[0]
            order = _assign(group, moved, reference).to(device)
            still = torch.arange(group.size, device=device).expand_as(order)
            if not torch.equal(order, still):
                changed = True
                step = Element(
                    architecture=architecture,
                    permutations={**_identity(architecture, size, device), group.name: order},
                )
                total = compose((step,), (total,))[0]
        if not changed:
            break
    return total


def _identity(architecture: Architecture, size: int, device: torch.device) -> dict[str, Tensor]:
    sizes = {group.name: group.size for group in architecture.groups}
    found = {}
    for group in architecture.groups:
        order = torch.arange(group.size, device=device)
        shape = (size, sizes[group.parent], group.size) if group.parent else (size, group.size)
        found[group.name] = order.expand(shape)
    return found


def _assign(group: Group, networks: Networks, reference: Networks) -> Tensor:
    """Return the permutation ``(B, n)`` or ``(B, m, n)`` of one group that leaves least distance."""
    similar: Tensor | None = None
    for own, other in zip(_views(group, networks), _views(group, reference), strict=True):
        product = torch.einsum("bmik,bmjk->bmij", other.double(), own.double())
        similar = product if similar is None else similar + product
    assert similar is not None  # a group stands on some axis
    rows = similar.cpu().numpy()
    found = np.stack([[linear_sum_assignment(m, maximize=True)[1] for m in network] for network in rows])
    order = torch.from_numpy(found)
    return order if group.parent else order[:, 0]


def _views(group: Group, networks: Networks) -> Iterator[Tensor]:
    """Yield for each place of a group ``(B, m, n, rest)``: outer elements of a nested group, neurons, all else."""
    architecture = networks.architecture
    sizes = {each.name: each.size for each in architecture.groups}
    views = networks.parameters()
    for parameter in architecture.parameters:
        for number, axis in enumerate(parameter.axes):
            start = 0
            for segment in axis:
                factors = [factor if isinstance(factor, int) else sizes[factor] for factor in segment]
                length = int(np.prod(factors))
                if group.name in segment:
                    along = views[parameter.name].narrow(number + 1, start, length)
                    split = along.movedim(number + 1, 1).unflatten(1, factors)
                    place = segment.index(group.name) + 1
                    if group.parent in segment:
                        outer = segment.index(group.parent) + 1
                        yield split.movedim((outer, place), (1, 2)).unsqueeze(-1).flatten(3)
                    elif group.parent is None:
                        yield split.movedim(place, 1).unsqueeze(1).unsqueeze(-1).flatten(3)
                    # A nested group whose parent stands on another axis is matched by its other places.
                start += length
