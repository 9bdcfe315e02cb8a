"""``invariance/logit``, ``/embedding``, ``/contrastive``: a network and moved copies of it shall be told as one."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from attrs import frozen
from attrs.validators import ge, gt
from torch import Tensor, nn

from sneframe.batch import Batch
from sneframe.config.schema import option
from sneframe.parts.carriers import Embedding
from sneframe.parts.invariance import InvarianceLoss, LossTerm, Output
from sneframe.parts.part import Spec
from sneframe.rng import Draw
from sneframe_invariance.branches import Branches


@final
class Logit(InvarianceLoss):
    """Mean ‖f(x) − f(g·x)‖² over raw outputs, g a fresh group element per network and step (SNE §3.6).

    Moskalev et al. (2023) introduced the regulariser, SNE uses it in place of weight tying.
    """

    name = "invariance/logit"
    takes = (Embedding,)

    @frozen(kw_only=True)
    class Config(Branches):
        """Options."""

    def weight(self, progress: float) -> float:
        """Return λ."""
        return float(self.config.weight_at(progress))

    def forward(self, model: nn.Module, batch: Batch, output: Output, draw: Draw) -> LossTerm:
        """Return the loss of the first ``fraction`` of the step's batch, a mean over copies."""
        return _distance(self.config, model, batch, output.value, draw, "value")


@final
class EmbeddingDistance(InvarianceLoss):
    """Mean ‖e(x) − e(g·x)‖² / E over embeddings of width E: the encoder itself shall be invariant."""

    name = "invariance/embedding"
    takes = (Embedding,)

    @frozen(kw_only=True)
    class Config(Branches):
        """Options."""

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.width = spec.width

    def weight(self, progress: float) -> float:
        """Return λ."""
        return float(self.config.weight_at(progress))

    def forward(self, model: nn.Module, batch: Batch, output: Output, draw: Draw) -> LossTerm:
        """Return the loss of the first ``fraction`` of the step's batch, a mean over copies."""
        term = _distance(self.config, model, batch, output.embedding, draw, "embedding")
        return LossTerm(total=term.total / self.width, count=term.count)


@final
class Contrastive(InvarianceLoss):
    """NT-Xent (Chen et al. 2020, SimCLR, eq 1) between projections of a network and of a moved copy of it.

    The copy shall be nearer than any other network of the batch, and than the other copies. With ``task_weight = 0`` it
    trains an encoder without properties. Other networks are those of this process: with several of them the negatives
    are fewer, and the loss is not that of one process.
    """

    name = "invariance/contrastive"
    takes = (Embedding,)

    @frozen(kw_only=True)
    class Config(Branches):
        """Options."""

        temperature: float = option(0.1, "of the softmax over similarities", check=gt(0))
        projection: int = option(64, "width of the projection", check=ge(1))

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.project = nn.Sequential(
            nn.Linear(spec.width, spec.width), nn.ReLU(), nn.Linear(spec.width, config.projection)
        )

    def weight(self, progress: float) -> float:
        """Return λ."""
        return float(self.config.weight_at(progress))

    def forward(self, model: nn.Module, batch: Batch, output: Output, draw: Draw) -> LossTerm:
        """Return the loss of the first ``fraction`` of the step's batch, a mean over copies."""
        chosen, pays = self.config.chosen(draw)
        embedding = output.embedding[: len(chosen)]
        first = self.project(embedding.detach() if self.config.stop_gradient else embedding)
        moved = self.config.moved(model, batch.select(chosen), draw)
        total = sum(nt_xent(first, self.project(each.embedding), self.config.temperature) for each in moved)
        return LossTerm(
            total=torch.as_tensor(total) * pays / self.config.copies, count=self.config.count(draw)
        )


def nt_xent(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    """Return the sum over n pairs ``(n, D)`` of −log softmax of the partner's cosine similarity, both ways, halved."""
    both = F.normalize(torch.cat([first, second]).float(), dim=1)
    similar = both @ both.T / temperature
    own = torch.eye(len(both), dtype=torch.bool, device=both.device)
    partner = torch.arange(len(both), device=both.device).roll(len(first))
    return F.cross_entropy(similar.masked_fill(own, float("-inf")), partner, reduction="sum") / 2


def _distance(
    config: Branches, model: nn.Module, batch: Batch, first: Tensor, draw: Draw, field: str
) -> LossTerm:
    """Return the summed squared distance of this process's networks to their moved copies."""
    chosen, pays = config.chosen(draw)
    target = first[: len(chosen)].detach() if config.stop_gradient else first[: len(chosen)]
    moved = config.moved(model, batch.select(chosen), draw)
    total = sum((target - getattr(each, field)).float().square().sum() for each in moved)
    return LossTerm(total=torch.as_tensor(total) * pays / config.copies, count=config.count(draw))
