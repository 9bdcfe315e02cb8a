"""``invariance/logit``, ``invariance/embedding`` and ``invariance/contrastive`` define invariance losses.

Each loss compares the model's output for a network with the outputs for moved copies of the network.
"""

from __future__ import annotations

from typing import final

import torch
from attrs import frozen
from attrs.validators import ge, gt
from torch import Tensor, nn

from sneframe.batch import Batch
from sneframe.config.schema import option
from sneframe.nn.nt_xent import nt_xent
from sneframe.parts.carriers import Embedding
from sneframe.parts.invariance import InvarianceLoss, LossTerm, Output
from sneframe.parts.part import Spec
from sneframe.rng import Draw
from sneframe_invariance.branches import Branches


@final
class Logit(InvarianceLoss):
    """Computes the mean of ‖f(x) − f(g·x)‖² over networks x (SNE, section 3.6).

    f(x) are the raw outputs ``(T,)`` of the model, and g is a random group element, drawn for each network,
    copy and step. Moskalev et al. (2023) introduced this regulariser. SNE uses the regulariser in place of
    weight tying. The SNE paper does not state the constants. Here there is no factor ½. By default each step
    uses one copy, and gradients pass through both f(x) and f(g·x).
    """

    name = "invariance/logit"
    takes = (Embedding,)

    @frozen(kw_only=True)
    class Config(Branches):
        """Options."""

    def weight(self, progress: float) -> float:
        """Return λ at a point of the training. ``progress`` is the fraction of the training that is done."""
        return float(self.config.weight_at(progress))

    def forward(self, model: nn.Module, batch: Batch, output: Output, draw: Draw) -> LossTerm:
        """Return the loss for the first ``fraction`` of the step's batch, averaged over copies."""
        return _distance(self.config, model, batch, output.value, draw, "value")


@final
class EmbeddingDistance(InvarianceLoss):
    """Computes the mean of ‖e(x) − e(g·x)‖² / E over networks x.

    e(x) is the embedding ``(E,)`` of x. Unlike ``invariance/logit``, this loss makes the encoder invariant,
    whatever the head does.
    """

    name = "invariance/embedding"
    takes = (Embedding,)
    reads = "embeddings"

    @frozen(kw_only=True)
    class Config(Branches):
        """Options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.width = spec.width

    def weight(self, progress: float) -> float:
        """Return λ at a point of the training. ``progress`` is the fraction of the training that is done."""
        return float(self.config.weight_at(progress))

    def forward(self, model: nn.Module, batch: Batch, output: Output, draw: Draw) -> LossTerm:
        """Return the loss for the first ``fraction`` of the step's batch, averaged over copies."""
        term = _distance(self.config, model, batch, output.embedding, draw, "embedding")
        return LossTerm(total=term.total / self.width, count=term.count)


@final
class Contrastive(InvarianceLoss):
    """Computes NT-Xent between networks and their moved copies (Chen et al. 2020, SimCLR, eq 1).

    NT-Xent compares projections of the embeddings. The loss is small if the projection of a copy is closer to
    that of the copy's own network than to those of all other networks and copies in the batch. With
    ``train.task_weight = 0`` this loss trains an encoder without properties. A process contrasts only its own
    networks. So with several processes there are fewer negatives, and the loss differs from the loss of one
    process.
    """

    name = "invariance/contrastive"
    takes = (Embedding,)
    reads = "embeddings"

    @frozen(kw_only=True)
    class Config(Branches):
        """Options."""

        temperature: float = option(0.1, "temperature of the softmax over cosine similarities", check=gt(0))
        projection: int = option(64, "width of the projection of the embedding", check=ge(1))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.project = nn.Sequential(
            nn.Linear(spec.width, spec.width), nn.ReLU(), nn.Linear(spec.width, config.projection)
        )

    def weight(self, progress: float) -> float:
        """Return λ at a point of the training. ``progress`` is the fraction of the training that is done."""
        return float(self.config.weight_at(progress))

    def forward(self, model: nn.Module, batch: Batch, output: Output, draw: Draw) -> LossTerm:
        """Return the loss for the first ``fraction`` of the step's batch, averaged over copies."""
        chosen, factor = self.config.chosen(draw)
        embedding = output.embedding[: len(chosen)]
        first = self.project(embedding.detach() if self.config.stop_gradient else embedding)
        moved = self.config.moved(model, batch.select(chosen), draw)
        total = sum(nt_xent(first, self.project(each.embedding), self.config.temperature) for each in moved)
        return LossTerm(
            total=torch.as_tensor(total) * factor / self.config.copies, count=self.config.count(draw)
        )


def _distance(
    config: Branches, model: nn.Module, batch: Batch, first: Tensor, draw: Draw, field: str
) -> LossTerm:
    """Return the sum of squared distances between outputs for networks and outputs for their moved copies.

    The sum runs over the networks of this process, and is averaged over the K copies. ``first (B, n)``
    contains the model's outputs for the batch, and ``field`` is the field of :class:`Output` with these
    outputs.
    """
    chosen, factor = config.chosen(draw)
    target = first[: len(chosen)].detach() if config.stop_gradient else first[: len(chosen)]
    moved = config.moved(model, batch.select(chosen), draw)
    total = sum((target - getattr(each, field)).float().square().sum() for each in moved)
    return LossTerm(total=torch.as_tensor(total) * factor / config.copies, count=config.count(draw))
