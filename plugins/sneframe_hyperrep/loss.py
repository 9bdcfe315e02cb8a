"""``hyperrep/self-supervised`` trains an encoder by contrasting two views and by reconstructing them."""

from __future__ import annotations

from typing import final

import torch
from attrs import frozen
from attrs.validators import ge
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.batch import Batch
from sneframe.config.schema import option
from sneframe.errors import PartError
from sneframe.model import Model
from sneframe.nn.decoding_options import DecodingOptions
from sneframe.nn.nt_xent import nt_xent
from sneframe.nn.perceptron import perceptron
from sneframe.parts.carriers import Embedding
from sneframe.parts.invariance import InvarianceLoss, LossTerm, Output
from sneframe.parts.part import Spec
from sneframe.rng import Draw
from sneframe_hyperrep.decoder import NeuronDecoder


@final
class HyperRepLoss(InvarianceLoss):
    """Computes γ · NT-Xent + β · MSE over two views of each network (Schürholt et al., arXiv 2110.15288).

    NT-Xent compares projections of the embeddings of the two views. A decoder reconstructs the normalised
    weights of each view from its embedding. The target are the weights before noise and erasing. The MSE of a
    network is the mean over its weights and over its two views.

    The decoder has one layout, that of the training zoo. A process contrasts only its own networks.
    """

    name = "hyperrep/self-supervised"
    takes = (Embedding,)
    reads = "nothing"

    @frozen(kw_only=True)
    class Config(DecodingOptions):
        """Options."""

        contrastive: float = option(0.85, "γ, the weight of NT-Xent; 0 leaves it out", check=ge(0))
        reconstruction: float = option(
            0.15,
            "β, the weight of the reconstruction error; 0 leaves it out, and the decoder too",
            check=ge(0),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        layout = self.one_layout(spec)
        self.project = perceptron((spec.width, *config.projection)) if config.contrastive else None
        self.decoder = None
        if config.reconstruction:
            self.decoder = NeuronDecoder(
                f"{self.slot} {self.name!r}",
                layout,
                latent=spec.width,
                **config.decoder,
            )

    def weight(self, progress: float) -> float:  # noqa: ARG002  # λ is constant
        """Return λ."""
        return float(self.config.weight)

    def forward(
        self,
        model: nn.Module,
        batch: Batch,
        output: Output,  # noqa: ARG002  # two new views are encoded instead
        draw: Draw,
    ) -> LossTerm:
        """Return the loss of a batch. It reads nothing of ``output``, because it encodes two new views."""
        assert isinstance(model, Model)
        views = self.config.pair(batch, draw)
        embeddings = [model(view.shown).embedding for view in views]
        total = embeddings[0].new_zeros((), dtype=torch.float32)
        if self.project is not None:
            first, second = (self.project(embedding) for embedding in embeddings)
            total = total + self.config.contrastive * nt_xent(first, second, self.config.temperature)
        if self.decoder is not None:
            for embedding, view in zip(embeddings, views, strict=True):
                target = flat_weights(model, view.moved)
                errors = (self.decoder(embedding).float() - target.float()).square().mean(1)
                total = total + self.config.reconstruction * errors.sum() / len(views)
        return LossTerm(total=total, count=draw.size)

    def decode(self, embedding: Tensor, architecture: Architecture) -> Tensor:
        """Return the normalised flat weights ``(B, P)`` of networks with embeddings ``(B, E)``.

        Raises:
            PartError: the decoder has another layout, or the loss has no decoder.
        """
        self.check_layout(architecture)
        if self.decoder is None:
            raise PartError(f"{self.slot} {self.name!r} has no decoder, because reconstruction = 0")
        weights: Tensor = self.decoder(embedding)
        return weights

    def reconstruct(self, model: Model, batch: Batch) -> Batch:
        """Return the networks that the decoder reconstructs from the embeddings of a batch.

        Raises:
            PartError: a network has another layout than the decoder, the loss has no decoder, or the
                normalisation cannot be undone.
        """
        embeddings = batch.rows(model.encoder(batch))
        pairs = zip(embeddings, batch.architectures, strict=True)
        return model.encoder.normalise.undo(batch.replace(self.decode(*pair) for pair in pairs))


def flat_weights(model: Model, batch: Batch) -> Tensor:
    """Return the normalised weights ``(B, P)`` of networks of one layout, in the order of ``batch.ids``."""
    return batch.restore([networks.weights for networks in model.encoder.normalise(batch).networks])
