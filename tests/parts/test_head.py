"""A head says whether gradients train it, and does itself what is left after the training."""

import pytest
import torch
from attrs import frozen
from torch import nn

from sneframe.batch import Batch
from sneframe.errors import PartError
from sneframe.model import check_head
from sneframe.parts.carriers import Embedding
from sneframe.parts.head import FittedHead, Head
from sneframe.parts.normalise import Normalise
from sneframe.parts.part import Spec
from sneframe.testing.toy import mlp

SPEC = Spec(carrier=Embedding, width=3, architectures=(mlp(1, 2, 1),))


@frozen(kw_only=True)
class Empty:
    """No options."""


class Sum(Head):
    """A trained head."""

    name = "toy/sum"
    Config = Empty

    def forward(self, embedding):
        return embedding.sum(dim=1, keepdim=True)


class Late(Sum):
    """A head of its own kind that gradients do not train."""

    name = "toy/late"
    trained = False


class Mean(FittedHead):
    """A fitted head."""

    name = "toy/mean"
    Config = Empty

    def fit(self, embeddings, targets):
        self.keep(embeddings, targets)

    def forward(self, embedding):
        return self.targets.mean(dim=0).expand(len(embedding), -1)


class Scale(Normalise):
    """A normalisation with something to train."""

    name = "toy/scale"
    Config = Empty

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, batch):
        return batch


def test_a_trained_head_has_nothing_left_to_finish():
    """``finish`` leaves a trained head as it is."""
    head = Sum(Empty(), SPEC)
    assert head.trained
    head.finish(torch.ones(2, 3), torch.ones(2, 1))
    assert not head.state_dict()


def test_finishing_a_fitted_head_fits_it():
    """``finish`` fits a fitted head to the targets."""
    head = Mean(Empty(), SPEC)
    assert not head.trained
    head.finish(torch.zeros(2, 3), torch.tensor([[1.0], [3.0]]))
    assert head(torch.zeros(1, 3)).tolist() == [[2.0]]


def test_a_fitted_head_refuses_targets_of_another_width():
    """The error of ``fit`` for targets of a wrong shape reaches the caller."""
    with pytest.raises(PartError, match=r"targets of shape \(2, 1\), but got \(2, 5\)"):
        Mean(Empty(), SPEC).finish(torch.zeros(2, 3), torch.zeros(2, 5))


def test_a_head_is_asked_and_its_type_is_not_tested():
    """Any head that is not trained is refused behind a part with something to train."""
    encoder = nn.ModuleList([Scale(Empty(), Spec(carrier=Batch, width=1, architectures=SPEC.architectures))])
    check_head(Sum(Empty(), SPEC), encoder)
    with pytest.raises(PartError, match=r"head 'toy/late' .*normalise 'toy/scale' cannot be trained"):
        check_head(Late(Empty(), SPEC), encoder)
