"""Define one round of messages: codes travel along the edges in the order of the layers, and then back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from attrs import frozen
from einops import rearrange
from torch import Tensor, nn

from sneframe.nn.graph.tensors import FEATURES, EdgesTensors, GraphTensors, SlotTensors

#: The activations that messages can apply, by the name that an architecture records.
FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "sine": torch.sin,
    "cosine": torch.cos,
}
MIXED = ("relu", "tanh", "sine", "gelu")  #: the functions of the learned mixture


@frozen(kw_only=True, eq=False)
class EdgeWeights:
    """The weights of B networks on the edges of one parameter. They are the same in every round.

    Args:
        forth: W is the parameter as a matrix ``(targets, n)``, where n is the number of sources.
            ``(B, 2 · targets, n)``: the rows of W / √n, followed by the rows of |W| / √n. If each target has
            n sources of its own, the shape is ``(B, targets, 2, n)``. None if there are no edges.
        back: the same for the reversed edges, which lead from targets to sources. None if no messages go
            back.
        vectors: ``(B, targets, D)``, the sum that the biases, and other parameters with one weight for each
            target, add at the targets. None if there are no such parameters.
    """

    forth: Tensor | None
    back: Tensor | None
    vectors: Tensor | None

    @classmethod
    def of(cls, edges: EdgesTensors, weights: Tensor | None, vectors: Tensor | None) -> EdgeWeights:
        """Return the edge weights for a parameter.

        Args:
            edges: the edges of the parameter.
            weights: ``(B, targets, n)``, the parameter as a matrix, where n is the number of sources of a
                target. None if there are only vectors.
            vectors: ``(B, targets, D)``, the sum that biases and the like add at the targets, or None.
        """
        forth = back = None
        if weights is not None:
            own = edges.edges.own_sources
            forth = _with_absolute(weights.unsqueeze(2) if own else weights)
            if edges.returns:
                back = _with_absolute(weights.unsqueeze(3) if own else weights.mT)
        return cls(forth=forth, back=back, vectors=vectors)


class Mixture(nn.Module):
    """Computes φ: a learned convex mixture of functions, or the activation that is recorded for a layer.

    Args:
        recorded: whether φ is the activation that the architecture records for the layer, if this activation
            is in :data:`FUNCTIONS`. For any other layer, such as a convolution before a norm, φ is the
            mixture.
    """

    def __init__(self, *, recorded: bool) -> None:
        super().__init__()
        self.recorded = recorded
        self.logits = nn.Parameter(torch.zeros(len(MIXED)))

    def forward(self, x: Tensor, activation: str) -> Tensor:
        """Return φ(x). ``activation`` is the recorded activation of the layer."""
        if self.recorded and activation in FUNCTIONS:
            return FUNCTIONS[activation](x)
        fractions = self.logits.softmax(0)
        mixed = fractions[0] * FUNCTIONS[MIXED[0]](x)
        for fraction, name in zip(fractions[1:], MIXED[1:], strict=True):
            mixed = mixed + fraction * FUNCTIONS[name](x)
        return mixed


class Messages(nn.Module):
    """Sends messages in one direction, forth or back. docs/plugins/message.md has the same equations.

    X = LN(H) A ⊙ e are the codes that leave the sources, and b is the sum over vectors (biases, norms) of
    each weight times a learned direction for the vector's type. At the targets

        m = W X / √n,  m' = |W| X / √n,  u = [m, m', φ(m + b)] O + b,
        H ← Block(H + Σ u ⊙ e' / √k),  Block(x) = x + MLP(LN(x)).

    n is the number of sources of a target. The sum runs over the k targets that hold a node. e and e'
    distinguish slots that hold the same node: each is 1 + a linear map of the sines and cosines of the slot's
    coordinates. A source that holds nodes of several node sets sends the sum of their codes. A target that
    holds nodes of several node sets updates all these nodes.

    Args:
        width: D.
        recorded: see :class:`Mixture`.
    """

    def __init__(self, width: int, *, recorded: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.source = nn.Linear(width, width)
        self.read_waves = nn.Linear(FEATURES, width, bias=False)
        self.written_waves = nn.Linear(FEATURES, width, bias=False)
        self.mixture = Mixture(recorded=recorded)
        self.out = nn.Linear(3 * width, width)
        self.block = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def outgoing(self, codes: Sequence[Tensor], slots: SlotTensors) -> Tensor:
        """Return X ``(B, slots, D)`` for slots that hold nodes. Each set in ``codes`` is ``(B, n, D)``."""
        parts = [held.spread(self.source(self.norm(codes[held.node_set]))) for held in slots.nodes]
        sent = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        if slots.overlap:
            assert slots.slot_of_node is not None
            sent = sent.new_zeros(len(sent), slots.size, sent.shape[2]).index_add(1, slots.slot_of_node, sent)
        elif slots.order is not None:
            sent = sent.index_select(1, slots.order)
        return _scaled(sent, slots.waves, self.read_waves)

    def outgoing_input(self, code: Tensor, slots: SlotTensors | None) -> Tensor:
        """Return X ``(1, slots, D)`` for slots that hold no node.

        Every slot sends the input's code ``(D,)``. If ``slots`` is None, there is one source.
        """
        sent = self.source(self.norm(code)).expand(1, 1 if slots is None else slots.size, -1)
        return sent if slots is None else _scaled(sent, slots.waves, self.read_waves)

    def incoming(
        self, weights: Tensor | None, sent: Tensor | None, vectors: Tensor | None, activation: str
    ) -> Tensor:
        """Return u ``(B, targets, D)``, the messages that arrive at the targets.

        Args:
            weights: one direction of :class:`EdgeWeights`. None if there are only vectors.
            sent: X, ``(B or 1, n, D)``, or ``(B, targets, n, D)`` if each target has sources of its own.
            vectors: b, ``(B, targets, D)``, or None.
            activation: the name of the function after the layer.
        """
        if weights is None or sent is None:
            assert vectors is not None
            # m and m' are 0, so their columns of O would add nothing.
            columns = self.out.weight[:, -vectors.shape[-1] :]
            return F.linear(self.mixture(vectors, activation), columns, self.out.bias) + vectors
        both = torch.matmul(weights, sent)
        signed, absolute = both.chunk(2, dim=-2)
        if both.ndim == 4:
            signed, absolute = signed.flatten(1, 2), absolute.flatten(1, 2)
        inner = signed if vectors is None else signed + vectors
        arrived: Tensor = self.out(torch.cat([signed, absolute, self.mixture(inner, activation)], dim=-1))
        return arrived if vectors is None else arrived + vectors

    def update(self, codes: list[Tensor], slots: SlotTensors, arrived: Tensor) -> None:
        """Update the codes of the nodes that the targets hold.

        Args:
            codes: the codes ``(B, n, D)`` of every node set, replaced in place.
            slots: the targets.
            arrived: u ``(B, slots, D)``.
        """
        arrived = _scaled(arrived, slots.waves, self.written_waves).to(codes[slots.nodes[0].node_set].dtype)
        if slots.slot_of_node is not None:
            arrived = arrived.index_select(1, slots.slot_of_node)
        split = arrived.split([held.size for held in slots.nodes], dim=1)
        for held, messages in zip(slots.nodes, split, strict=True):
            updated = codes[held.node_set] + held.gather(messages)
            codes[held.node_set] = updated + self.block(updated)


class Round(nn.Module):
    """One round: messages along all edges of a graph in the order of the layers, and then back.

    Args:
        width: D.
        recorded: see :class:`Mixture`.
    """

    def __init__(self, width: int, *, recorded: bool) -> None:
        super().__init__()
        self.forth = Messages(width, recorded=recorded)
        self.back = Messages(width, recorded=recorded)

    def forward(
        self,
        codes: list[Tensor],
        tensors: GraphTensors,
        weights: Sequence[EdgeWeights],
        input_code: Tensor,
        *,
        is_last: bool,
    ) -> None:
        """Update the codes of every node set.

        Args:
            codes: the codes ``(B, n, D)`` of every node set, replaced in place.
            tensors: the graph of the architecture.
            weights: the edge weights of every parameter, in the order of ``tensors.edges``.
            input_code: ``(D,)``, the code of the network's input.
            is_last: whether no round follows. Then messages back to nodes that are not pooled are left out.
        """
        for edges, own in zip(tensors.edges, weights, strict=True):
            sent = self._sent(codes, edges, input_code) if own.forth is not None else None
            arrived = self.forth.incoming(own.forth, sent, own.vectors, edges.edges.activation)
            self.forth.update(codes, edges.targets, arrived)
        for edges, own in zip(reversed(tensors.edges), reversed(weights), strict=True):
            if edges.sources is not None and own.back is not None and (edges.pooled or not is_last):
                sent = self.back.outgoing(codes, edges.targets)
                if edges.edges.own_sources:
                    sent = rearrange(sent, "b t d -> b t 1 d")
                arrived = self.back.incoming(own.back, sent, None, edges.edges.activation)
                self.back.update(codes, edges.sources, arrived)

    def _sent(self, codes: list[Tensor], edges: EdgesTensors, input_code: Tensor) -> Tensor:
        """Return X, the codes that leave the sources, ``(B or 1, n, D)``.

        If each target has its own sources, the shape is ``(B, targets, n, D)``.
        """
        if not edges.returns:
            return self.forth.outgoing_input(input_code, edges.sources)
        assert edges.sources is not None
        sent = self.forth.outgoing(codes, edges.sources)
        return (
            rearrange(sent, "b (t n) d -> b t n d", t=edges.targets.size) if edges.edges.own_sources else sent
        )


def _with_absolute(weights: Tensor) -> Tensor:
    """Return W / √n stacked above |W| / √n, ``(…, 2 · targets, n)``, for weights W ``(…, targets, n)``."""
    scaled = weights / weights.shape[-1] ** 0.5
    return torch.cat([scaled, scaled.abs()], dim=-2)


def _scaled(codes: Tensor, waves: Tensor | None, linear: nn.Linear) -> Tensor:
    """Return the codes of slots times 1 + a linear map of the slots' waves.

    If there are no waves, return the codes unchanged.
    """
    return codes if waves is None else codes * (1 + linear(waves))
