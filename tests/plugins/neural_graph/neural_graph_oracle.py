"""Builds models with the weights of the original implementation, and runs them on its inputs."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import torch
from sneframe_neural_graph.aggregator import Readout
from sneframe_neural_graph.gnn_layer_encoder import GraphNetwork
from sneframe_neural_graph.transformer_layer_encoder import GraphTransformer
from torch import nn

from sneframe.architecture import Architecture, Layer, NeuronGroup, Parameter
from sneframe.batch import Batch, Networks
from sneframe.parts.part import Spec

ORACLES = Path(__file__).parent / "oracles"
NAMES = {
    r"construct_graph\.proj_weight\.0\.b": "features.weights.KEY.frequencies",
    r"construct_graph\.proj_weight\.1\.": "features.weights.KEY.linear.",
    r"construct_graph\.proj_bias\.0\.b": "features.vectors.bias.frequencies",
    r"construct_graph\.proj_bias\.1\.": "features.vectors.bias.linear.",
    r"construct_graph\.proj_node_in\.": "features.node_in.",
    r"construct_graph\.proj_edge_in\.": "features.edge_in.",
    r"gnn\.convs\.(\d+)\.aggr_module\.avg_deg_log": r"layers.\1.mean_log_degree",
    r"gnn\.convs\.(\d+)\.edge_encoder\.": r"layers.\1.modulate.",
    r"gnn\.convs\.(\d+)\.pre_nns\.0\.0\.": r"layers.\1.message.",
    r"gnn\.convs\.(\d+)\.post_nns\.0\.0\.": r"layers.\1.post.",
    r"gnn\.convs\.(\d+)\.lin\.": r"layers.\1.out.",
    r"gnn\.norms\.": "norms.",
    r"gnn\.edge_update\.(\d+)\.lin_e\.": r"updates.\1.edge.",
    r"gnn\.edge_update\.(\d+)\.lin_s\.": r"updates.\1.source.",
    r"gnn\.edge_update\.(\d+)\.lin_t\.": r"updates.\1.target.",
    r"gnn\.edge_update\.(\d+)\.lin1\.": r"updates.\1.out.",
    r"layers\.(\d+)\.self_attn\.qkv_node": r"layers.\1.from_nodes",
    r"layers\.(\d+)\.self_attn\.qkv_edge": r"layers.\1.from_edges",
    r"layers\.(\d+)\.self_attn\.proj_out": r"layers.\1.heads_out",
    r"layers\.(\d+)\.lin0\.": r"layers.\1.after.",
    r"layers\.(\d+)\.node_ln0\.": r"layers.\1.norm.",
    r"layers\.(\d+)\.node_ln1\.": r"layers.\1.mlp_norm.",
    r"layers\.(\d+)\.node_mlp\.": r"layers.\1.mlp.",
    r"layers\.(\d+)\.edge_updates\.edge_mlp0\.lin0_e\.": r"layers.\1.edges.both.",
    r"layers\.(\d+)\.edge_updates\.edge_mlp0\.lin0_s\.": r"layers.\1.edges.source.",
    r"layers\.(\d+)\.edge_updates\.edge_mlp0\.lin0_t\.": r"layers.\1.edges.target.",
    r"layers\.(\d+)\.edge_updates\.edge_mlp0\.lin1\.": r"layers.\1.edges.out.",
    r"layers\.(\d+)\.edge_updates\.edge_mlp1\.": r"layers.\1.edges.mlp.",
    r"layers\.(\d+)\.edge_updates\.eln0\.": r"layers.\1.edges.norm.",
    r"layers\.(\d+)\.edge_updates\.eln1\.": r"layers.\1.edges.mlp_norm.",
}


def load(name):
    """Return the arrays of a file as float64 tensors, and its description."""
    with np.load(ORACLES / f"{name}.npz", allow_pickle=False) as found:
        meta = json.loads(str(found["meta"]))
        return {key: torch.from_numpy(found[key]) for key in found.files if key != "meta"}, meta


def chain(layout, kernels=(), activation="sine"):
    """Return the architecture of convolutions with these kernels, and then linear layers."""
    groups = [NeuronGroup(name=f"hidden{number}", size=size) for number, size in enumerate(layout[1:-1])]
    factors = [layout[0], *(group.name for group in groups), layout[-1]]
    layers = []
    for number, (fan_in, fan_out) in enumerate(itertools.pairwise(layout)):
        rows, columns = ((factors[number + 1],),), ((factors[number],),)
        kernel = (kernels[number],) * 2 if number < len(kernels) else ()
        layers.append(
            Layer(
                kind="conv2d" if kernel else "linear",
                parameters=(
                    Parameter(
                        name=f"{number}.weight",
                        shape=(fan_out, fan_in, *kernel),
                        axes=(rows, columns, *(((size,),) for size in kernel)),
                    ),
                    Parameter(name=f"{number}.bias", shape=(fan_out,), role="bias", axes=(rows,)),
                ),
                inputs=(number - 1,) if number else (),
                activation=activation if number < len(groups) else "none",
            )
        )
    return Architecture(layers=layers, groups=groups)


class Original(nn.Module):
    """Layer encoder, readout and last linear layer, with the weights of the original."""

    def __init__(self, stored, meta):
        super().__init__()
        config, layout = meta["config"], meta["layout"]
        self.architecture = chain(layout, meta.get("kernels") or ())
        state = {
            key.removeprefix("state/"): value for key, value in stored.items() if key.startswith("state/")
        }
        spec = Spec(carrier=Networks, width=1, architectures=(self.architecture,))
        constructor = config["graph_constructor"]
        options = {
            "frequencies": constructor["sin_emb_dim"],
            "scale": float(constructor["inp_factor"]),
            "reverse": config["rev_edge_features"],
            "activations": False,
        }
        if "gnn_backbone" in config:
            layers = config["gnn_backbone"]["num_layers"]
            options |= {"width": config["d_hid"], "layers": layers}
            self.encoder = GraphNetwork(GraphNetwork.Config(**options), spec)
        else:
            options |= {
                "width": config["d_node"],
                "edge_width": config["d_edge"],
                "attention": config["d_attn_hid"],
                "heads": config["n_heads"],
                "hidden": config["d_node_hid"],
                "edge_hidden": config["d_edge_hid"],
                "layers": config["n_layers"],
            }
            self.encoder = GraphTransformer(GraphTransformer.Config(**options), spec)
        linear = [state[key] for key in sorted(state) if re.fullmatch(r"proj_out\.\d+\.weight", key)]
        hidden = tuple(len(weight) for weight in linear[:-1])
        self.readout = Readout(Readout.Config(read="outputs", hidden=hidden), self.encoder.out)
        self.head = nn.Linear(hidden[-1], len(linear[-1]))
        self.double().eval()
        self._fill(state, layout)

    def _fill(self, state, layout):
        """Copy the weights of the original to ours."""
        (key,) = self.encoder.features.weights
        mine, left = dict(self.encoder.state_dict()), set(self.encoder.state_dict())
        for name, value in state.items():
            for pattern, ours in NAMES.items():
                if re.match(pattern, name):
                    found = re.sub(pattern, ours, name).replace("KEY", key)
                    mine[found].copy_(value.reshape(mine[found].shape))
                    left.discard(found)
        first, last = layout[0], layout[-1]
        vectors = state["construct_graph.pos_embed"]
        kinds = self.encoder.features.kinds
        kinds.inputs.data.copy_(vectors[:first])
        kinds.hidden.data.copy_(vectors[first : first + len(layout) - 2])
        kinds.outputs.data.copy_(vectors[len(vectors) - last :])
        names = ("kinds.inputs", "kinds.hidden", "kinds.outputs", "activations", "positions.weight")
        assert left == {f"features.{name}" for name in names}, left
        numbers = sorted({int(name.split(".")[1]) for name in state if name.startswith("proj_out.")})
        maps = [next(iter(self.readout.first.values()))]
        maps += [each for each in self.readout.layers or () if isinstance(each, nn.Linear)]
        for number, ours in zip(numbers, [*maps, self.head], strict=True):
            ours.weight.data.copy_(state[f"proj_out.{number}.weight"])
            ours.bias.data.copy_(state[f"proj_out.{number}.bias"])

    def forward(self, weights):
        """Return the outputs for weights ``(B, P)``."""
        networks = Networks(architecture=self.architecture, weights=weights)
        (embedding,) = self.readout(self.encoder((networks,)))
        return self.head(embedding.values)


def inputs(stored, meta):
    """Return weights ``(B, P)``, normalised as the original does, and the tensors that they come from."""
    given, flat = [], []
    stats = meta.get("stats")
    for layer in range(len(meta["layout"]) - 1):
        for kind, short in (("weights", "w"), ("biases", "b")):
            tensor = stored[f"in/{short}{layer}"].clone().requires_grad_()
            given.append((f"{short}{layer}", tensor))
            if stats:
                flat.append(
                    ((tensor - stats[f"{kind}_mean"][layer]) / stats[f"{kind}_std"][layer]).flatten(1)
                )
            else:
                flat.append(tensor.flatten(1))
    return torch.cat(flat, dim=1), dict(given)


def batch_of(architecture, weights):
    """Return a batch of networks of one architecture."""
    ids = np.arange(len(weights))
    return Batch(networks=[Networks(architecture=architecture, weights=weights)], order=ids, ids=ids)
