"""Encode networks with the encoder of a run: small ones together, and large ones layer by layer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import final

import numpy as np
import torch
from attrs import field, frozen
from torch import Tensor

from sneframe.architecture import Architecture
from sneframe.batch import Batch
from sneframe.config.byte_size import shown
from sneframe.errors import PartError
from sneframe.model import Encoder
from sneframe.nn.diverged import without_unusable
from sneframe.parts.streaming import Cuts
from sneframe.predict.lazy_network import LazyNetwork, stacked
from sneframe.predict.stream import CHUNKS, LARGE, SAMPLED, obstacle, stream
from sneframe.progress import Reporter

BATCH = 32  #: the number of networks that are encoded together
MEMORY = 2 << 30  #: bytes that encoding a large network may use by default


@final
@frozen(kw_only=True, eq=False)
class Encoding:
    """Encodes networks with one encoder.

    Args:
        encoder: the encoder, in evaluation mode.
        memory: bytes that encoding a large network may use, or None for 2 GiB.
        all_weights: whether to encode all weights also of a very large network, instead of a sample.
        reporter: shows the progress on a large network.
    """

    encoder: Encoder
    memory: int | None = None
    all_weights: bool = False
    reporter: Reporter = field(factory=Reporter, repr=False)

    def of(self, networks: Sequence[LazyNetwork]) -> Tensor:
        """Return the embeddings ``(n, E)`` of networks.

        Large networks are encoded one by one, and all others together.

        Raises:
            PartError: an embedding is not finite, or a network needs more than the bound on memory.
        """
        large = np.array([each.architecture.num_weights > LARGE for each in networks], dtype=bool)
        if (whole := obstacle(self.encoder)) is not None:
            for each in networks:
                self.check_memory(each.source, each.architecture)
            for row in np.flatnonzero(large).tolist():
                line = "all weights are encoded at once, and memory is not bounded"
                warnings.warn(f"{networks[row].source}: {line}: {whole}", stacklevel=5)
            large[:] = False
        rows = torch.empty(len(networks), self.encoder.width)
        for row in np.flatnonzero(large).tolist():
            rows[row] = self._streamed(networks[row])
        if small := np.flatnonzero(~large).tolist():
            rows[small] = self.of_batch(stacked([networks[row] for row in small]))
        for each, finite in zip(networks, rows.isfinite().all(1).tolist(), strict=True):
            if not finite:
                why = "some weights are NaN, infinite or too large"
                raise PartError(f"{each.source}: its embedding is not finite: {why}")
        return rows

    def of_batch(self, batch: Batch) -> Tensor:
        """Return the embeddings ``(n, E)`` of the networks of a batch, which is encoded in pieces.

        The row of a network whose weights are not finite or too large is not finite.
        """
        rows = torch.empty(len(batch), self.encoder.width)
        with torch.no_grad():
            for start in range(0, len(batch), BATCH):
                part = np.arange(start, min(start + BATCH, len(batch)))
                some = batch.select(part)
                rows[part] = without_unusable(self.encoder(some).float(), some)
        return rows

    def check_memory(self, source: str, architecture: Architecture) -> None:
        """Check that the weights fit into the bound on memory if the encoder needs all of them at once.

        Raises:
            PartError: they do not fit.
        """
        whole, needed = obstacle(self.encoder), 4 * architecture.num_weights
        if whole is not None and self.memory is not None and self.memory < needed:
            bound = f"memory: {shown(self.memory)} is too little"
            raise PartError(f"{source}: {bound} for the weights, which take {shown(needed)}: {whole}")

    def read(self, network: LazyNetwork) -> Callable[[str], Tensor]:
        """Return a function that reads the encoded weights of a parameter by name.

        They are all weights of the parameter, or those of the sample that is encoded.
        """
        parameters = {parameter.name: parameter for parameter in network.architecture.parameters}
        tokenizer, sampled = self.encoder.tokenizer, self.sampled(network.architecture)
        by_name = network.by_name()

        def read(name: str) -> Tensor:
            values = by_name(name)
            if not sampled:
                return values
            assert isinstance(tokenizer, Cuts)
            sample = tokenizer.sample(parameters[name], values.reshape(-1), CHUNKS)
            return values if sample is None else sample[0][sample[1]]

        return read

    def sampled(self, architecture: Architecture) -> bool:
        """Return whether only a sample of the weights of a network is encoded."""
        large = architecture.num_weights > SAMPLED and not self.all_weights
        return large and obstacle(self.encoder) is None

    def _streamed(self, network: LazyNetwork) -> Tensor:
        """Return the embedding ``(E,)`` of a large network, whose parameters are read one after the other."""
        if sampled := self.sampled(network.architecture):
            weights = f"{network.architecture.num_weights:,} weights"
            what = f"at most {CHUNKS:,} chunks of each parameter are encoded"
            warnings.warn(
                f"{network.source}: of {weights}, {what}; --all-weights (all_weights=True) encodes all",
                stacklevel=6,
            )
        with self.reporter.bar(f"encoding {network.source}", unit="weights") as advance:
            return stream(
                self.encoder,
                network.architecture,
                network.by_name(),
                memory=self.memory or MEMORY,
                chunks=CHUNKS if sampled else None,
                progress=advance,
            )[0]
