"""The chain of parts: normalise → tokenizer → layer encoder → aggregator (an :class:`Encoder`) → head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from sneframe.aggregator import Aggregator
from sneframe.architecture import Architecture
from sneframe.batch import Batch
from sneframe.config import Choice, RunConfig
from sneframe.errors import PartError
from sneframe.head import FittedHead, Head
from sneframe.invariance import InvarianceLoss, Output
from sneframe.layer_encoder import LayerEncoder
from sneframe.normalise import Normalise
from sneframe.part import Embedding, Part, Spec
from sneframe.plugins import Registry
from sneframe.tokenizer import Tokenizer


class Encoder(nn.Module):
    """Batch in, embeddings ``(B, E)`` out, in the order of ``batch.ids``."""

    def __init__(
        self, normalise: Normalise, tokenizer: Tokenizer, layer_encoder: LayerEncoder, aggregator: Aggregator
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.tokenizer = tokenizer
        self.layer_encoder = layer_encoder
        self.aggregator = aggregator

    @property
    def width(self) -> int:
        """E, the width of an embedding."""
        return self.aggregator.out.width

    def forward(self, batch: Batch) -> Tensor:
        """Return ``(B, E)``."""
        tokens = self.tokenizer(self.normalise(batch))
        embeddings = self.aggregator(self.layer_encoder(tokens))
        return batch.restore([embedding.values for embedding in embeddings])


class Model(nn.Module):
    """An encoder and a head: batch in, :class:`~sneframe.invariance.Output` out."""

    def __init__(self, encoder: Encoder, head: Head | FittedHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, batch: Batch) -> Output:
        """Return embeddings ``(B, E)`` and raw values ``(B, T)``."""
        embedding = self.encoder(batch)
        return Output(embedding=embedding, value=self.head(embedding))


def build_encoder(config: RunConfig, registry: Registry, architectures: Sequence[Architecture]) -> Encoder:
    """Build the encoder of a configuration for the architectures of a training zoo.

    Raises:
        PartError: parts that do not fit each other, or that cannot take these architectures.
    """
    return _encoder(config, registry, Spec(carrier=Batch, width=1, architectures=tuple(architectures)))[0]


def build_model(
    config: RunConfig, registry: Registry, architectures: Sequence[Architecture], values: int = 1
) -> Model:
    """Build encoder and head; see :func:`build_encoder`.

    Args:
        config: of the run.
        registry: with every part that the configuration names.
        architectures: of the training zoo.
        values: T, how many values the head predicts.

    Raises:
        PartError: as :func:`build_encoder`; also a head without gradients behind an encoder that needs them.
    """
    spec = Spec(carrier=Batch, width=1, architectures=tuple(architectures), values=values)
    encoder, spec = _encoder(config, registry, spec)
    head = _build(config.head, registry, spec, (Head, FittedHead))
    if (
        isinstance(head, FittedHead)
        and config.invariance is None
        and any(p.requires_grad for p in encoder.parameters())
    ):
        raise PartError(
            f"head {config.head.part!r} is fitted without gradients, so nothing would train "
            f"layer encoder {config.layer_encoder.part!r}; choose a head such as 'head/mlp', or an invariance loss"
        )
    return Model(encoder, head)


def build_invariance(config: RunConfig, registry: Registry, model: Model) -> InvarianceLoss | None:
    """Build the invariance loss, or None where the configuration names none."""
    if config.invariance is None:
        return None
    return _build(config.invariance, registry, model.encoder.aggregator.out, (InvarianceLoss,))


def _encoder(config: RunConfig, registry: Registry, spec: Spec) -> tuple[Encoder, Spec]:
    normalise = _build(config.normalise, registry, spec, (Normalise,))
    tokenizer = _build(config.tokenizer, registry, normalise.out, (Tokenizer,))
    layer_encoder = _build(config.layer_encoder, registry, tokenizer.out, (LayerEncoder,))
    aggregator = _build(config.aggregator, registry, layer_encoder.out, (Aggregator,))
    if aggregator.out.carrier is not Embedding:
        raise PartError(
            f"aggregator {aggregator.name!r} must give Embedding, it gives {aggregator.out.carrier.__name__}"
        )
    return Encoder(normalise, tokenizer, layer_encoder, aggregator), aggregator.out


def _build(choice: Choice, registry: Registry, spec: Spec, slots: tuple[type[Part], ...]) -> Any:
    part = registry.part(choice.part)
    if not issubclass(part, slots):
        raise PartError(f"part {choice.part!r} is a {part.slot}, it cannot be the {slots[0].slot}")
    return part(choice.config, spec)
