"""``sane/self-supervised`` trains an encoder on windows of tokens: by reconstruction and by contrast."""

from __future__ import annotations

from typing import final

import torch
from attrs import frozen
from attrs.validators import ge
from torch import Tensor, nn

from sneframe.batch import Batch
from sneframe.config.schema import option
from sneframe.errors import PartError
from sneframe.model import Encoder, Model
from sneframe.nn.decoding_options import DecodingOptions
from sneframe.nn.nt_xent import nt_xent
from sneframe.nn.perceptron import perceptron
from sneframe.nn.perturb import streams_of
from sneframe.nn.views import RATE, View
from sneframe.parts.carriers import Embedding, NeuronTokens, TokenCodes
from sneframe.parts.invariance import InvarianceLoss, LossTerm, Output
from sneframe.parts.part import Spec
from sneframe.rng import Draw
from sneframe_sane.decoder import TokenDecoder
from sneframe_sane.windows import errors, hidden, windows


@final
class SANELoss(InvarianceLoss):
    """Computes γ · NT-Xent + β · MSE over windows of two views of each network (arXiv 2406.09997).

    Both views have the window at the same tokens. NT-Xent compares projections of the mean code of a window.
    A decoder reconstructs the normalised weights of a window from the codes of its tokens. The target are the
    weights before noise and erasing, and padding is left out. With ``masked``, the encoder does not see some
    of the tokens, and the decoder reconstructs them too.

    The loss follows a layer encoder of ``sane``, in front of which is ``tokenizer/neurons``. A process
    contrasts only its own networks.
    """

    name = "sane/self-supervised"
    takes = (Embedding,)
    reads = "nothing"

    @frozen(kw_only=True)
    class Config(DecodingOptions):
        """Options."""

        contrastive: float = option(0.05, "γ, the weight of NT-Xent; 0 leaves it out", check=ge(0))
        reconstruction: float = option(
            0.95,
            "β, the weight of the reconstruction error; 0 leaves it out, and the decoder too",
            check=ge(0),
        )
        window: int = option(64, "number of consecutive tokens in a window", check=ge(1))
        masked: float = option(
            0.0, "probability that a token is hidden from the encoder, and only reconstructed", check=RATE
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        if not spec.sizes:
            raise PartError(
                f"{self.slot} {self.name!r} decodes the codes of tokens, and the aggregator does not say how "
                f"large a token is; choose the layer encoder and the aggregator of this plugin"
            )
        size = spec.sizes[0]
        self.project = perceptron((spec.width, *config.projection)) if config.contrastive else None
        self.hidden_token = nn.Parameter(torch.zeros(size)) if config.masked else None
        self.decoder = None
        if config.reconstruction:
            self.decoder = TokenDecoder(
                f"{self.slot} {self.name!r}",
                latent=spec.width,
                size=size,
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
        """Return the loss of a batch. It reads nothing of ``output``, because it encodes windows."""
        assert isinstance(model, Model)
        projected, total = [], torch.zeros((), device=batch.device)
        for view in self.config.pair(batch, draw):
            target, seen = self._windows(model.encoder, view, batch, draw)
            codes: tuple[TokenCodes, ...] = model.encoder.layer_encoder(seen)
            means = batch.restore([entry.codes.mean(dim=1) for entry in codes])
            projected.append(means if self.project is None else self.project(means))
            if self.decoder is not None:
                decoded = [self.decoder(c.codes, t) for c, t in zip(codes, target, strict=True)]
                found = [errors(*pair).sum() for pair in zip(decoded, target, strict=True)]
                total = total + self.config.reconstruction * torch.stack(found).sum() / 2
        if self.project is not None:
            contrast = nt_xent(projected[0], projected[1], self.config.temperature)
            total = total + self.config.contrastive * contrast
        return LossTerm(total=total, count=draw.size)

    def _windows(
        self, encoder: Encoder, view: View, batch: Batch, draw: Draw
    ) -> tuple[tuple[NeuronTokens, ...], tuple[NeuronTokens, ...]]:
        """Return the windows that are to be reconstructed, and the same windows as the encoder sees them."""
        streams = streams_of(batch, draw.apart("window"))

        def cut(networks: Batch) -> tuple[NeuronTokens, ...]:
            tokens: tuple[NeuronTokens, ...] = encoder.tokenizer(encoder.normalise(networks))
            pairs = zip(tokens, streams, strict=True)
            return tuple(windows(entry, self.config.window, stream) for entry, stream in pairs)

        target = cut(view.moved)
        seen = target if view.shown is view.moved else cut(view.shown)
        if self.hidden_token is not None:
            token, fraction = self.hidden_token, self.config.masked
            pairs = zip(seen, streams, strict=True)
            seen = tuple(hidden(entry, fraction, stream, token) for entry, stream in pairs)
        return target, seen

    def decode(self, codes: Tensor, entry: NeuronTokens) -> NeuronTokens:
        """Return the tokens that the decoder makes of codes ``(B, Q, D)``.

        Args:
            codes: the codes.
            entry: tokens of the networks to decode. Only their positions are read.

        Raises:
            PartError: there is not one code for each token, a token has another size than those of the
                decoder, or the loss has no decoder.
        """
        if self.decoder is None:
            raise PartError(f"{self.slot} {self.name!r} has no decoder, because reconstruction = 0")
        size = self.decoder.weights.out_features
        if codes.shape[1] != entry.tokens.shape[1] or entry.tokens.shape[2] != size:
            raise PartError(
                f"{self.slot} {self.name!r} decodes {codes.shape[1]} tokens of {size} weights, but "
                f"{entry.architecture.summary} has {entry.tokens.shape[1]} tokens of {entry.tokens.shape[2]}"
            )
        decoded: NeuronTokens = self.decoder(codes, entry)
        return decoded

    def reconstruct(self, model: Model, batch: Batch) -> Batch:
        """Return the networks that the decoder reconstructs from the codes of the tokens of a batch.

        Raises:
            PartError: the loss has no decoder, or the normalisation cannot be undone.
        """
        encoder = model.encoder
        tokens: tuple[NeuronTokens, ...] = encoder.tokenizer(encoder.normalise(batch))
        codes: tuple[TokenCodes, ...] = encoder.layer_encoder(tokens)
        decoded = [self.decode(c.codes, entry) for c, entry in zip(codes, tokens, strict=True)]
        return encoder.normalise.undo(batch.replace(entry.weights for entry in decoded))
