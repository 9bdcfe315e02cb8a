"""One layer of the relational transformer: attention between all pairs of nodes, and new edge codes."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


@final
class RelationalLayer(nn.Module):
    """Attention of every node over all nodes, modulated by edges (Diao & Loynd, 2023; Kofinas et al., 2024).

    With the code e of the edge from node i to node j, of a head with the width h,

        q = q_i + q_e,  k = k_j + k_e,  v = v_j ⊙ m_e + v_e,  a_ij = softmax_j(q · k / √d),

    where d is the width of all heads together, as in the original. Then LayerNorm follows each of two sums
    with the input, as in a transformer. Edge codes are changed in the same way by their two nodes and by the
    edge back.

    Args:
        width: width of node codes.
        edge_width: width of edge codes.
        attention: d.
        heads: number of heads.
        hidden: width of the hidden layer for nodes.
        edge_hidden: width of the hidden layers for edges.
        dropout: dropout rate of what is added.
        is_last: whether no layer follows, so that edges are not changed.
    """

    def __init__(
        self,
        width: int,
        edge_width: int,
        *,
        attention: int,
        heads: int,
        hidden: int,
        edge_hidden: int,
        dropout: float,
        is_last: bool,
    ) -> None:
        super().__init__()
        self.heads, self.attention = heads, attention
        self.from_nodes = nn.Linear(width, 3 * attention, bias=False)
        self.from_edges = nn.Linear(edge_width, 4 * attention, bias=False)
        self.heads_out = nn.Linear(attention, width)
        self.after = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden, bias=False), nn.GELU(), nn.Linear(hidden, width))
        self.mlp_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.edges = None if is_last else EdgeLayer(width, edge_width, edge_hidden, dropout)

    def forward(self, nodes: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Return new codes of nodes ``(B, V, D)`` and of edges ``(B, V, V, D')``, from node to node."""
        nodes = self.norm(nodes + self.dropout(self.after(self._attended(nodes, edges))))
        nodes = self.mlp_norm(nodes + self.dropout(self.mlp(nodes)))
        return nodes, edges if self.edges is None else self.edges(nodes, edges)

    def _attended(self, nodes: Tensor, edges: Tensor) -> Tensor:
        pattern = "b v (h three d) -> three b h v d"
        queries, keys, values = rearrange(self.from_nodes(nodes), pattern, h=self.heads, three=3)
        pattern = "b v w (h four d) -> four b h v w d"
        by_edge = rearrange(self.from_edges(edges), pattern, h=self.heads, four=4)
        query, key, value, factor = by_edge
        query = query + queries.unsqueeze(3)
        key = key + keys.unsqueeze(2)
        weights = ((query * key).sum(-1) / self.attention**0.5).softmax(-1)
        # Σ_j a_ij (v_j ⊙ m_ij + v_ij), without a tensor of both terms.
        summed = (weights.unsqueeze(-1) * torch.addcmul(value, factor, values.unsqueeze(2))).sum(3)
        attended: Tensor = self.heads_out(rearrange(summed, "b h v d -> b v (h d)"))
        return attended


@final
class EdgeLayer(nn.Module):
    """New codes of edges, from the codes of the edge, of the edge back, and of both nodes.

    Args:
        width: width of node codes.
        edge_width: width of edge codes.
        hidden: width of the hidden layers.
        dropout: dropout rate of what is added.
    """

    def __init__(self, width: int, edge_width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.both = nn.Linear(2 * edge_width, hidden)
        self.source = nn.Linear(width, hidden)
        self.target = nn.Linear(width, hidden)
        self.out = nn.Linear(hidden, edge_width)
        self.norm = nn.LayerNorm(edge_width)
        self.mlp = nn.Sequential(
            nn.Linear(edge_width, hidden, bias=False), nn.GELU(), nn.Linear(hidden, edge_width)
        )
        self.mlp_norm = nn.LayerNorm(edge_width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """Return new codes ``(B, V, V, D')`` for nodes ``(B, V, D)`` and edges ``(B, V, V, D')``."""
        there, back = self.both.weight.chunk(2, dim=1)
        hidden = F.linear(edges, there, self.both.bias) + F.linear(edges, back).transpose(1, 2)
        hidden = hidden + (self.source(nodes).unsqueeze(2) + self.target(nodes).unsqueeze(1))
        edges = self.norm(edges + self.dropout(self.out(F.gelu(hidden))))
        changed: Tensor = self.mlp_norm(edges + self.dropout(self.mlp(edges)))
        return changed
