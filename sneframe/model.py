"""Build the chain of parts: normalise → tokenizer → layer encoder → aggregator → head.

The first four parts are an :class:`Encoder`. An encoder and a head are a :class:`Model`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from sneframe import declared, plugins
from sneframe.architecture import Architecture
from sneframe.batch import Batch, Networks
from sneframe.config.schema import SLOTS, Choice, RunConfig
from sneframe.errors import ArchitecturesRefused, PartError, PluginError, SneframeError
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.augmentation import Augmentation
from sneframe.parts.carriers import Embedding
from sneframe.parts.head import Head
from sneframe.parts.invariance import InvarianceLoss, Output
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.normalise import Normalise
from sneframe.parts.part import Part, Spec
from sneframe.parts.tokenizer import Tokenizer
from sneframe.plugins import Blamed

#: The slots of the parts that every model has, in the order of the chain: normalise first, the head last.
CHAIN = SLOTS[:5]


class Encoder(nn.Module):
    """Maps a batch to embeddings ``(B, E)``, in the order of ``batch.ids``."""

    def __init__(
        self, normalise: Normalise, tokenizer: Tokenizer, layer_encoder: LayerEncoder, aggregator: Aggregator
    ) -> None:
        super().__init__()
        self.normalise = normalise
        self.tokenizer = tokenizer
        self.layer_encoder = layer_encoder
        self.aggregator = aggregator
        self._compared = False  # whether the results of the parts were compared with what they declare

    @property
    def width(self) -> int:
        """E, the width of an embedding."""
        return self.aggregator.out.width

    def forward(self, batch: Batch) -> Tensor:
        """Return the embeddings ``(B, E)`` of a batch.

        Raises:
            PartError: a part cannot take these networks.
        """
        batch = self._in_layout(batch)
        value: Any = batch
        for part in (self.normalise, self.tokenizer, self.layer_encoder, self.aggregator):
            with Blamed(part):
                value = part(value)
            if not self._compared:
                declared.check(part, value, batch)
            elif part is not self.normalise and len(value) != len(batch.networks):
                raise _fault(part, declared.wrong_count(value, batch))
        self._compared = True
        return batch.restore([self._values(*pair) for pair in zip(batch.networks, value, strict=True)])

    def _in_layout(self, batch: Batch) -> Batch:
        """Return the batch as networks of one layout if a part is built for that layout, else unchanged."""
        parts: tuple[Part, ...] = (self.normalise, self.tokenizer, self.layer_encoder, self.aggregator)
        for part in parts:
            if part.layout is not None:
                for architecture in batch.architectures:
                    part.check_layout(architecture)
                return batch.joined(part.layout)
        return batch

    def _values(self, networks: Networks, embedding: object) -> Tensor:
        """Return the values of an embedding. Raise an error if their shape is not ``(B, E)``.

        A loss would broadcast another shape without an error.
        """
        values, shape = getattr(embedding, "values", None), (len(networks), self.width)
        if not isinstance(values, Tensor) or values.shape != shape:
            got = tuple(values.shape) if isinstance(values, Tensor) else type(embedding).__name__
            raise _fault(self.aggregator, f"must give an Embedding of shape {shape}, but gives {got}")
        return values


class Model(nn.Module):
    """An encoder and a head. They map a batch to an :class:`~sneframe.parts.invariance.Output`."""

    def __init__(self, encoder: Encoder, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head
        self._compared = False  # whether the result of the head was compared with what the head declares

    def forward(self, batch: Batch) -> Output:
        """Return embeddings ``(B, E)`` and raw values ``(B, T)``, which are NaN before the head is fitted."""
        embedding = self.encoder(batch)
        if not self.head.ready:  # it will be fitted to the embeddings of the trained encoder
            value = embedding.new_full((len(batch), self.head.out.values), torch.nan)
            return Output(embedding=embedding, value=value)
        with Blamed(self.head):
            value = self.head(embedding)
        if not self._compared:
            declared.check(self.head, value, batch)
            self._compared = True
        return Output(embedding=embedding, value=value)


def build_encoder(config: RunConfig, architectures: Sequence[Architecture]) -> Encoder:
    """Build the encoder of a configuration for the architectures of a training zoo.

    Raises:
        PartError: the parts do not fit each other, or cannot take these architectures.
    """
    try:
        return _encoder(config, architectures)
    except ArchitecturesRefused as error:
        raise _with_choices(error, architectures) from error


def _encoder(config: RunConfig, architectures: Sequence[Architecture]) -> Encoder:
    spec = Spec(carrier=Batch, width=1, architectures=tuple(architectures))
    return Encoder(*itertools.islice(build_parts(config, spec), 4))


def build_model(config: RunConfig, architectures: Sequence[Architecture], values: int = 1) -> Model:
    """Build the model of a configuration for the architectures of a training zoo.

    Args:
        config: configuration of the run.
        architectures: architectures of the training zoo.
        values: T, how many values the head predicts.

    Raises:
        PartError: the parts do not fit each other, or cannot take these architectures. It is also an error
            if a fitted head follows an encoder that has weights to train, unless an invariance loss alone
            trains them.
        PluginError: a part fails unexpectedly.
    """
    spec = Spec(carrier=Batch, width=1, architectures=tuple(architectures), values=values)
    try:
        *chain, head = build_parts(config, spec)
    except ArchitecturesRefused as error:
        raise _with_choices(error, architectures) from error
    encoder = Encoder(*chain)
    check_head(head, encoder, self_supervised=config.self_supervised)
    return Model(encoder, head)


def recipes_for(architectures: Sequence[Architecture]) -> list[str]:
    """Return recipes that take these architectures, at most one from each installed plugin.

    Every plugin is loaded, so call this function only to explain an error. The default recipe of a plugin is
    tried first, and is listed under the name of the plugin alone. To try a recipe, its encoder is built
    without memory for weights.
    """
    return [found for plugin in plugins.installed() if (found := _recipe_for(plugin, architectures))]


def _recipe_for(plugin: str, architectures: Sequence[Architecture]) -> str | None:
    default = f"{plugin}/default"
    with suppress(SneframeError):  # a plugin that does not load suggests nothing
        recipes = plugins.load([plugin]).recipes
        for name in sorted(recipes, key=lambda name: name != default):
            with suppress(SneframeError), torch.device("meta"):
                _encoder(recipes[name](), architectures)
                return plugin if name == default else name
    return None


def _with_choices(error: ArchitecturesRefused, architectures: Sequence[Architecture]) -> ArchitecturesRefused:
    """Return an error whose message also lists the recipes that take these architectures."""
    names = ", ".join(recipes_for(architectures)) or "none of those installed"
    return ArchitecturesRefused(f"{error}; recipes that take this zoo: {names}")


def check_head(head: Head, encoder: nn.Module, *, self_supervised: bool = False) -> None:
    """Check that no fitted head follows an encoder that only the gradient of the head could train.

    Args:
        head: head of the model.
        encoder: the parts in front of the head.
        self_supervised: whether the invariance loss alone trains the encoder.

    Raises:
        PartError: the encoder has weights to train, and the head is fitted.
    """
    trained = _trainable(encoder)
    if trained and not head.trained and not self_supervised:
        named = " and ".join(f"{part.slot} {part.name!r}" for part in trained)
        raise PartError(
            f"head {head.name!r} is fitted to finished embeddings and gives no gradient, so {named} cannot "
            f"be trained in front of it; choose a head that is trained, "
            f"or parts in front of it that have nothing to train, or an invariance loss with "
            f"train.task_weight = 0; `sneframe plugins --load` lists the parts"
        )


def _trainable(encoder: nn.Module) -> list[Part]:
    """Return the parts that have weights to train."""
    parts = (part for part in encoder.modules() if isinstance(part, Part))
    return [part for part in parts if any(weight.requires_grad for weight in part.parameters())]


def build_invariance(config: RunConfig, model: Model) -> InvarianceLoss | None:
    """Build the invariance loss, or return None if the configuration has none.

    Raises:
        PartError: the loss cannot be built. If the head is fitted, it is also an error if the loss is not
            the only one, needs the values of the head, or has nothing to train in front of the head.
    """
    if config.invariance is None:
        return None
    if not model.head.trained:
        _check_loss_alone(config, config.invariance, model)
    loss: InvarianceLoss = _build(config.invariance, model.encoder.aggregator.out)
    return loss


def _check_loss_alone(config: RunConfig, choice: Choice, model: Model) -> None:
    """Check that an invariance loss can train an encoder whose head is fitted after the training."""
    part, head = choice.part, config.head.part.name
    assert issubclass(part, InvarianceLoss)
    if not _trainable(model.encoder) or not config.self_supervised:
        raise PartError(
            f"invariance {part.name!r} is a loss to train with, and head {head!r} is fitted; "
            f"choose a head that is trained (`sneframe plugins --load` lists the heads), "
            f"an encoder that is trained with train.task_weight = 0, or invariance.part = 'none'"
        )
    if part.reads == "values":
        raise PartError(
            f"invariance {part.name!r} compares values of the head, and head {head!r} is fitted after the "
            f"training; choose a loss that compares embeddings, or a head that is trained"
        )
    if config.train.invariance_every is not None:
        raise PartError(
            f"train.invariance_every measures values of the head during the training, and head {head!r} is "
            f"fitted after it; set train.invariance_every = 'none'"
        )


def build_augmentations(config: RunConfig, model: Model) -> list[Augmentation]:
    """Build the augmentations of a configuration, in the order in which they are applied.

    Raises:
        PartError: an augmentation cannot be built, or the head is fitted, so that there are no training
            steps.
    """
    if config.augmentation and not model.head.trained and not config.self_supervised:
        raise PartError(
            f"augmentation {config.augmentation[0].part.name!r} changes the networks of training steps, "
            f"and head {config.head.part.name!r} is fitted; choose a head that is trained "
            f"(`sneframe plugins --load` lists the heads), "
            f"or augmentation = []"
        )
    spec = model.encoder.normalise.out
    return [_build(choice, spec) for choice in config.augmentation]


def build_parts(config: RunConfig, spec: Spec) -> Iterator[Any]:
    """Build and yield the parts of the chain in order. The output spec of a part is the input of the next.

    Args:
        config: configuration of the run.
        spec: spec of the input of the first part.

    Raises:
        PartError: the next part does not fit.
        PluginError: the next part fails unexpectedly.
    """
    for slot in CHAIN:
        part = _build(getattr(config, slot), spec)
        if slot == "aggregator" and part.out.carrier is not Embedding:
            raise _fault(part, f"must give Embedding, but declares {part.out.carrier.__name__}")
        yield part
        spec = part.out


def head_class(config: RunConfig) -> type[Head]:
    """Return the class of the head, whose class attributes can be read before the head is built."""
    assert issubclass(config.head.part, Head)
    return config.head.part


def _build(choice: Choice, spec: Spec) -> Any:
    part = choice.part
    try:
        made = part(choice.config, spec)
    except SneframeError:
        raise
    except (Exception, SystemExit) as error:  # a part may fail in any way; the cause is chained
        raise plugins.failed(part.name, f"{part.slot} {part.name!r}", error) from error
    if not isinstance(getattr(made, "out", None), Spec):
        raise _fault(part, "must set self.out to a Spec")
    if made.out is spec and isinstance(made, Tokenizer | LayerEncoder | Aggregator):
        raise _fault(
            part, "does not state what it gives: its __init__ must set self.out = spec.gives(CARRIER, WIDTH)"
        )
    return made


def _fault(part: Part | type[Part], said: str) -> PluginError:
    return plugins.faulty(part.name, f"{part.slot} {part.name!r} {said}")
