"""The laws of symmetry ask a carrier how a group element acts on it."""

import pytest
import torch
from attrs import evolve, frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.cli.check import _show
from sneframe.parts.carriers import Embedding
from sneframe.parts.part import ANY_ACTION, Part
from sneframe.testing import laws
from sneframe.testing.case import Case, toy_architectures, toy_batch
from sneframe.testing.measures import Immovable, symmetry


@frozen(kw_only=True, eq=False)
class Rows:
    """A carrier of a plugin's own: the rows of the first weight, which move with its neurons."""

    architecture: Architecture
    rows: Tensor

    def act(self, element):
        order = next(iter(element.permutations.values()))
        return evolve(self, rows=self.rows.gather(1, order[..., None].expand_as(self.rows)))


@frozen(kw_only=True, eq=False)
class Fixed:
    """A carrier without ``act``."""

    architecture: Architecture
    rows: Tensor


class Reader(Part):
    """A part that is only named here."""

    slot, name, keeps = "tokenizer", "toy/reader", ANY_ACTION


def case_of(make):
    """Return a part that gives ``make(networks)`` for each architecture."""
    batch = toy_batch(toy_architectures()[1])
    part = object.__new__(Reader)

    def chain(given, _slot):
        return tuple(make(networks) for networks in given.networks)

    return Case(part=part, chain=chain, batch=batch, rebuild=lambda _: chain)


def first_rows(carrier, factor=None):
    """Return a function that makes a carrier of the rows of the first weight, with a factor for each row."""

    def make(networks):
        rows = next(iter(networks.parameters().values()))
        factors = 1 if factor is None else torch.arange(1, rows.shape[1] + 1)[:, None]
        return carrier(architecture=networks.architecture, rows=rows * factors)

    return make


def test_a_plugins_own_carrier_moves_as_it_says():
    """The carrier of moved networks is compared with the moved carrier."""
    assert symmetry(case_of(first_rows(Rows)), "permute") < 1e-12


def test_a_carrier_that_moves_otherwise_is_measured():
    """Rows with a factor for their index do not move as the weights do."""
    assert symmetry(case_of(first_rows(Rows, factor=True)), "permute") > 0.1


def test_a_carrier_without_act_cannot_be_moved():
    """The law names the carrier that has no ``act``."""
    with pytest.raises(Immovable, match=r"^Fixed cannot be moved because it has no method act\(element\)$"):
        symmetry(case_of(first_rows(Fixed)), "permute")


def test_check_says_which_carrier_cannot_be_moved(capsys):
    """The finding is neither kept nor a fault, and the table shows the reason."""
    found = [each for each in laws._measured(case_of(first_rows(Fixed)), ANY_ACTION) if each.said]
    moved = [each for each in found if each.law == "symmetric under permute"]
    assert [(each.claimed, each.is_fault, each.error) for each in moved] == [(False, False, None)]
    _show(moved)
    assert "Fixed cannot be moved" in " ".join(capsys.readouterr().out.split())


def test_vectors_of_whole_networks_stay():
    """A network's embedding is the same after a group element was applied to it, or the law sees it."""

    def total(networks):
        return Embedding(architecture=networks.architecture, values=networks.weights.sum(1, keepdim=True))

    def first(networks):
        return Embedding(architecture=networks.architecture, values=networks.weights[:, :1])

    assert symmetry(case_of(total), "permute") < 1e-12
    assert symmetry(case_of(first), "permute") > 0.1
