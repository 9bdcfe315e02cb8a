"""``scale-gmn/layers`` encodes the graph of a network so that scales and signs of neurons do not matter."""

from __future__ import annotations

from typing import Literal, final

from attrs import frozen
from attrs.validators import and_, ge, le

from sneframe.architecture import Architecture
from sneframe.batch import Networks
from sneframe.config.schema import option
from sneframe.nn.graph.node_codes import NodeCodes
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec
from sneframe_scale_gmn.maps import MapOptions
from sneframe_scale_gmn.network import GraphOptions, ScaleGraphNetwork


@final
class ScaleLayers(LayerEncoder):
    """ScaleGMN: messages that keep scales and signs of neurons (Kalogeropoulos et al., NeurIPS 2024).

    A network with ReLU computes the same if the weights into a neuron are doubled and those out of it halved;
    one with tanh or sine, if both are multiplied by −1. The codes of neurons here are multiplied by the same
    factors, and what is read from them in the end does not depend on the factors.

    What is kept is what the architecture of each layer declares, so one zoo can mix activations. Neurons for
    which no such action is known are only permuted, and the run says so.

    Raises:
        PartError: a network has something that no training network has: a larger kernel, more inputs or
            outputs, a type of parameter, or a kind of neuron.
    """

    name = "scale-gmn/layers"
    takes = (Networks,)
    keeps = frozenset({"permute", "scale", "sign"})

    @frozen(kw_only=True)
    class Config:
        """Options."""

        width: int = option(40, "D, the width of node codes and edge codes", check=ge(2))
        layers: int = option(3, "number of layers", check=ge(1))
        back: bool = option(True, "messages also go back along every edge")
        symmetry: Literal["known", "permutation"] = option(
            "known",
            "known: scales and signs that an architecture declares are kept; permutation: neurons are only "
            "permuted, and messages go forth only",
        )
        sign: Literal["symmetrise", "absolute"] = option(
            "symmetrise",
            "how a sign is removed: symmetrise sums a perceptron of x and −x; absolute takes |x|",
        )
        ends: Literal["perceptron", "factor"] = option(
            "perceptron",
            "how inputs and outputs are mapped, which have no symmetry: by a perceptron alone, or by a "
            "linear map with a perceptron as a factor",
        )
        edge_vectors: bool = option(False, "edges have learned vectors of their kind, as nodes do")
        vectors_in_messages: bool = option(False, "messages and updates also read the vectors of nodes")
        skip: bool = option(False, "each layer adds a linear map of the codes that it was given")
        input_value: float = option(1.0, "the number from which inputs start, in place of a bias")
        dropout: float = option(
            0.0, "dropout rate of node codes after each layer", check=and_(ge(0), le(0.9))
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        self.out = spec.gives(NodeCodes, config.width)
        self.network = ScaleGraphNetwork(
            spec.architectures,
            GraphOptions(
                width=config.width,
                layers=config.layers,
                back=config.back and config.symmetry == "known",
                symmetry=config.symmetry,
                edge_vectors=config.edge_vectors,
                vectors_in_messages=config.vectors_in_messages,
                skip=config.skip,
                input_value=config.input_value,
                dropout=config.dropout,
                maps=MapOptions(
                    perceptron_at_ends=config.ends == "perceptron",
                    symmetrised=config.sign == "symmetrise",
                ),
            ),
        )

    def leaves_out(self, architecture: Architecture) -> str | None:
        """Return which neurons are treated as permuted only, or None."""
        return self.network.unseen(architecture)

    def forward(self, tokens: tuple[Networks, ...]) -> tuple[NodeCodes, ...]:
        """Return the codes of all nodes, for each architecture."""
        return tuple(self._encode(networks) for networks in tokens)

    def _encode(self, networks: Networks) -> NodeCodes:
        state = self.network(networks)
        scaled = self.config.symmetry == "known"
        return NodeCodes.of(networks.architecture, state.graph, state.nodes, scaled=scaled)
