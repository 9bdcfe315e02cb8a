"""The chain of parts: normalise → tokenizer → layer encoder → aggregator (an :class:`Encoder`) → head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from sneframe import plugins
from sneframe.aggregator import Aggregator
from sneframe.architecture import Architecture
from sneframe.augmentation import Augmentation
from sneframe.batch import Batch, Networks
from sneframe.config import Choice, RunConfig
from sneframe.errors import PartError, PluginError, SneframeError
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
        """Return ``(B, E)``.

        Raises:
            PartError: networks that a part cannot take.
        """
        batch = self._in_layout(batch)
        tokens = _each(self.tokenizer, self.normalise(batch), batch)
        codes = _each(self.layer_encoder, tokens, batch)
        embeddings = _each(self.aggregator, codes, batch)
        return batch.restore([self._values(*pair) for pair in zip(batch.networks, embeddings, strict=True)])

    def _in_layout(self, batch: Batch) -> Batch:
        """Return the batch for parts one of which is built for one layout: as networks of that."""
        parts: tuple[Part, ...] = (self.normalise, self.tokenizer, self.layer_encoder, self.aggregator)
        for part in parts:
            if part.layout is not None:
                for architecture in batch.architectures:
                    part.check_layout(architecture)
                return batch.joined(part.layout)
        return batch

    def _values(self, networks: Networks, embedding: object) -> Tensor:
        """Return ``(B, E)`` of one architecture; a wrong shape would be broadcast in the loss."""
        values, shape = getattr(embedding, "values", None), (len(networks), self.width)
        if not isinstance(values, Tensor) or values.shape != shape:
            got = tuple(values.shape) if isinstance(values, Tensor) else type(embedding).__name__
            raise PluginError(
                f"{plugins.owner(self.aggregator.name)}: aggregator {self.aggregator.name!r} must give an "
                f"Embedding of {shape}, got {got}"
            )
        return values


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
        PluginError: a part that fails in a way it did not foresee.
    """
    spec = Spec(carrier=Batch, width=1, architectures=tuple(architectures), values=values)
    encoder, spec = _encoder(config, registry, spec)
    head = _build(config.head, registry, spec, (Head, FittedHead))
    trained = [
        slot for slot, part in encoder.named_children() if any(p.requires_grad for p in part.parameters())
    ]
    if isinstance(head, FittedHead) and trained:
        named = " and ".join(f"{slot} {getattr(config, slot).part!r}" for slot in trained)
        raise PartError(
            f"head {config.head.part!r} is fitted to finished embeddings and gives no gradient, so {named} cannot be "
            f"trained in front of it; choose a head that is trained, such as 'head/mlp', or an encoder that has "
            f"nothing to train, such as that of 'stats'"
        )
    return Model(encoder, head)


def build_invariance(config: RunConfig, registry: Registry, model: Model) -> InvarianceLoss | None:
    """Build the invariance loss, or None where the configuration names none.

    Raises:
        PartError: it cannot be built, or nothing could be trained with it.
    """
    if config.invariance is None:
        return None
    if isinstance(model.head, FittedHead):
        raise PartError(
            f"invariance {config.invariance.part!r} is a loss to train with, and head {config.head.part!r} is fitted; "
            f"choose a head that is trained, such as 'head/mlp', or invariance.part = 'none'"
        )
    return _build(config.invariance, registry, model.encoder.aggregator.out, (InvarianceLoss,))


def build_augmentations(config: RunConfig, registry: Registry, model: Model) -> list[Augmentation]:
    """Build what is done to the networks of a training step, in its order.

    Raises:
        PartError: one cannot be built, or there are no training steps.
    """
    if config.augmentation and isinstance(model.head, FittedHead):
        raise PartError(
            f"augmentation {config.augmentation[0].part!r} changes the networks of training steps, and head "
            f"{config.head.part!r} is fitted; choose a head that is trained, such as 'head/mlp', or augmentation = []"
        )
    spec = model.encoder.normalise.out
    return [_build(choice, registry, spec, (Augmentation,)) for choice in config.augmentation]


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
    try:
        made = part(choice.config, spec)
    except SneframeError:
        raise
    except (Exception, SystemExit) as error:  # a part may fail in any way; the cause is chained
        raise plugins.failed(choice.part, f"{part.slot} {choice.part!r}", error) from error
    if not isinstance(getattr(made, "out", None), Spec):
        raise PluginError(f"{plugins.owner(choice.part)}: {part.slot} {choice.part!r} states no Spec in out")
    return made


def _each(part: Tokenizer | LayerEncoder | Aggregator, given: Any, batch: Batch) -> Any:
    """Return what a part gives, one carrier for each architecture of the batch."""
    carriers: object = part(given)
    if not isinstance(carriers, tuple | list) or len(carriers) != len(batch.networks):
        got = len(carriers) if isinstance(carriers, tuple | list) else type(carriers).__name__
        raise PluginError(
            f"{plugins.owner(part.name)}: {part.slot} {part.name!r} must give one carrier for each of "
            f"{len(batch.networks)} architectures, got {got}"
        )
    return carriers
