"""Compare the tensors of a file with the tensors of a module, and load the tensors into the module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from sneframe.architecture.derive import described
from sneframe.architecture.identity import COUNTER
from sneframe.errors import FileError
from sneframe.files.names import check_ties, with_aliases


def aligned(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a file to the names of a module, see :func:`~sneframe.files.with_aliases`."""
    return with_aliases(tensors, described(module), _tied(module))


def _tied(module: nn.Module) -> dict[str, str]:
    """Return a dict from the first name of each tied parameter to another name of the same parameter."""
    return dict(_ties(module.named_parameters(remove_duplicate=False)))


def other_names(module: nn.Module) -> list[str]:
    """Return the names of the parameters of a module, except the first name of each parameter."""
    return [other for _, other in _ties(module.named_parameters(remove_duplicate=False))]


def _ties(tensors: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, str]]:
    """Yield the first name and another name of each tensor that has several names."""
    first: dict[int, str] = {}
    for other, value in tensors:
        if (name := first.setdefault(id(value), other)) != other:
            yield name, other


def check(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Check that a file holds exactly the tensors of a module, and that the shapes are equal.

    The counters of batches that batch normalisations keep are not compared.

    Raises:
        FileError: a name is missing or unknown, a shape differs, or tensors that the module ties differ.
    """
    wanted, name_of = described(module), type(module).__name__
    known = {**dict(module.named_buffers()), **module.state_dict()}
    for name in wanted:
        if name not in tensors:
            raise FileError(f"the file lacks {name!r}, which {name_of} has")
    for name, tensor in tensors.items():
        if name.rpartition(".")[2] == COUNTER:
            continue
        if name not in known:
            raise FileError(f"the file holds {name!r}, which {name_of} does not have")
        if tensor.shape != known[name].shape:
            shapes = f"shape {tuple(tensor.shape)} in the file, and {tuple(known[name].shape)} in {name_of}"
            raise FileError(f"{name!r} has {shapes}")
    for each in (module.named_parameters, module.named_buffers):
        check_ties(tensors, _ties(each(remove_duplicate=False)), name_of)


@torch.no_grad()
def load(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy the integer and boolean tensors of a file into a module."""
    for name, own in module.state_dict().items():
        if name in tensors and not own.is_floating_point():
            own.copy_(tensors[name])


def classes(module: nn.Module, tensors: Mapping[str, Tensor]) -> int | None:
    """Return the number of classes of the network in a file that otherwise fits a module, or None.

    The tensors of the module's classifiers have the number of classes as their first size. If all tensors
    whose shapes differ agree on the first size in the module and on the first size in the file, they are the
    classifiers. If they do not agree, or if no shape differs, the result is None.
    """
    held = aligned(module, tensors)
    other = [
        (value.shape, held[name].shape)
        for name, value in described(module).items()
        if name in held and held[name].shape != value.shape
    ]
    if not all(own and given and own[1:] == given[1:] for own, given in other):
        return None
    sizes = {(own[0], given[0]) for own, given in other}
    return sizes.pop()[1] if len(sizes) == 1 else None
