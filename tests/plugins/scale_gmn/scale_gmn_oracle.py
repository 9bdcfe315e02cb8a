"""Builds models with the weights of the original implementation, and runs them on its inputs."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import torch
from sneframe_scale_gmn.aggregator import ScaleReadout
from sneframe_scale_gmn.editing import WeightChanges
from sneframe_scale_gmn.layer_encoder import ScaleLayers
from torch import nn

from sneframe.architecture import Architecture
from sneframe.batch import Batch, Networks, join
from sneframe.parts.part import Spec

ORACLES = Path(__file__).parent / "oracles"
PERCEPTRON = {"fc.0": "first", "ln.0": "norm", "fc.1": "last"}
#: patterns of the original's names, and ours; KIND is the kind of the neurons, and KEY that of kernels
NAMES = {
    r"construct_graph\.proj_bias\.": "vectors.bias.",
    r"construct_graph\.proj_weight\.": "weights.KEY.",
    r"gnn\.skip_layers\.(\d+)\.": r"layers.\1.skip.",
    r"gnn\.fw_layers\.(\d+)\.message_fn\.rho\.": r"layers.\1.message.",
    r"gnn\.fw_layers\.(\d+)\.update_node_feats_fn\.rho\.": r"layers.\1.update.",
    r"gnn\.fw_layers\.(\d+)\.message_fn\.": r"layers.\1.forth.map.",
    r"gnn\.bw_layers\.(\d+)\.message_fn\.": r"layers.\1.back.product.map.",
    r"gnn\.fw_layers\.(\d+)\.update_node_feats_fn\.": r"layers.\1.update.",
    r"gnn\.update_node_feats_fn\.(\d+)\.": r"layers.\1.update.",
    r"gnn\.fw_layers\.(\d+)\.update_edge_attr_fn\.": r"layers.\1.edges.",
    r"gnn\.fw_update_edge_attr_fn\.(\d+)\.": r"layers.\1.edges.",
    r"gnn\.fw_layers\.(\d+)\.w_v\.": r"layers.\1.forth.from_nodes.",
    r"gnn\.fw_layers\.(\d+)\.w_e\.": r"layers.\1.forth.from_edges.",
    r"gnn\.bw_layers\.(\d+)\.w_v\.": r"layers.\1.back.product.from_nodes.",
    r"gnn\.bw_layers\.(\d+)\.w_e\.": r"layers.\1.back.product.from_edges.",
}
INSIDE = {
    r"eq_layers\.0\.W": "linear",
    r"eq_layers\.0\.g\.g1\.phi": "factors.KIND",
    r"eq_layers\.0\.g\.g_(sign|scale)\.phi": r"factors.\1",
    r"eq_layers\.0\.g\.g1\.rho": "invariant.signs.KIND",
    r"eq_layers\.0\.g\.phi_in": "inputs",
    r"eq_layers_in\.0\.rho": "inputs",
    r"eq_layers_last\.0\.rho": "outputs",
    r"edges\.phi": "edges.factor",
    r"edges\.W": "edges.linear",
    r"edges\.g1\.rho": "edges.invariant.signs.KIND",
}


def load(name):
    """Return the arrays of a file as tensors, and its description."""
    with np.load(ORACLES / f"{name}.npz", allow_pickle=False) as found:
        meta = json.loads(str(found["meta"]))
        return {key: torch.from_numpy(found[key]) for key in found.files if key != "meta"}, meta


def architecture_of(meta, activation):
    """Return the architecture of the networks, whose groups have the actions of their activation."""
    layout, layers = meta["layout"], []
    if meta["kernel"]:
        for fan_in, fan_out in itertools.pairwise(layout[:-1]):
            layers += [nn.Conv2d(fan_in, fan_out, meta["kernel"]), activation()]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(*layout[-2:])]
        return Architecture.from_module(nn.Sequential(*layers), torch.zeros(1, layout[0], 16, 16))
    for fan_in, fan_out in itertools.pairwise(layout):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return Architecture.from_module(nn.Sequential(*layers[:-1]), torch.zeros(1, layout[0]))


class Original(nn.Module):
    """Layer encoder, readout and head with the weights of the original; or a map to changes of weights."""

    def __init__(self, stored, meta):
        super().__init__()
        args = meta["scalegmn_args"]
        gnn, symmetry = args["gnn_args"], args["symmetry"]
        found = {
            "sign": [nn.Tanh],
            "scale": [nn.ReLU],
            "hetero": [nn.Tanh, nn.ReLU],
            "permutation": [nn.Tanh],
        }
        self.architectures = tuple(architecture_of(meta, each) for each in found[symmetry])
        spec = Spec(carrier=Networks, width=1, architectures=self.architectures)
        width, back = args["d_hid"], args["direction"] == "bidirectional"
        if args["equivariant"]:
            self.model = WeightChanges(
                self.architectures[0],
                width=width,
                layers=args["num_layers"],
                symmetrised=gnn["sign_symmetrization"],
                skip=args["gnn_skip_connections"],
            )
            self.network = self.model.network
        else:
            options = {
                "width": width,
                "layers": args["num_layers"],
                "back": back,
                "symmetry": "permutation" if symmetry == "permutation" else "known",
                "sign": "symmetrise" if gnn["sign_symmetrization"] else "absolute",
                "ends": "perceptron" if gnn["mlp_on_io"] else "factor",
                "edge_vectors": args["edge_pos_embed"],
                "vectors_in_messages": gnn["pos_embed_msg"],
                "skip": args["gnn_skip_connections"],
                "input_value": meta["input_node_value"],
            }
            self.encoder = ScaleLayers(ScaleLayers.Config(**options), spec)
            self.network = self.encoder.network
            read = "ends" if back else "outputs"
            rho = args["readout_args"]
            self.readout = ScaleReadout(ScaleReadout.Config(read=read, width=rho["d_rho"]), self.encoder.out)
            self.head = nn.Linear(rho["d_rho"], rho["d_out"])
        self.double().eval()
        self._fill(stored, meta)

    def _fill(self, stored, meta):
        """Copy the weights of the original to ours; each of ours must be filled."""
        state = {
            key.removeprefix("state/"): value for key, value in stored.items() if key.startswith("state/")
        }
        kind = meta["scalegmn_args"]["symmetry"]
        (key,) = self.network.weights
        mine = self.network.state_dict()
        left = set(mine)
        for name, value in state.items():
            ours = translated(name, kind, key)
            if ours is not None:
                mine[ours].copy_(value)
                left.discard(ours)
        layout = meta["layout"]
        for ours, name, middle in (
            (self.network.node_vectors, "positional_embeddings.pos_embed", len(layout) - 2),
            (self.network.edge_vectors, "positional_embeddings_edge.pos_embed", len(layout) - 3),
        ):
            if ours is not None:
                vectors, first = state[name], layout[0]
                ours.inputs.data.copy_(vectors[:first])
                ours.hidden.data[:middle].copy_(vectors[first : first + middle])
                ours.outputs.data.copy_(vectors[first + middle :])
        left = {name for name in left if not name.startswith(("node_vectors", "edge_vectors", "positions"))}
        self.new = {name for name in left if ".back.ratio." in name}  # ours, which the original lacks
        assert left == self.new, left
        if hasattr(self, "readout"):
            pairs = {"readout.rho.fc.0": self.readout.first, "readout.rho.ln.0": self.readout.norm}
            pairs["readout.rho.fc.1"] = self.head
            if self.readout.from_outputs is not None:
                pairs |= {
                    "project_last": self.readout.from_outputs,
                    "project_first": self.readout.from_inputs,
                }
            for name, ours in pairs.items():
                ours.weight.data.copy_(state[f"gnn.{name}.weight"])
                ours.bias.data.copy_(state[f"gnn.{name}.bias"])
        else:
            count = len(layout) - 1
            factors = [
                state[f"{kind}_scale.{layer}"] for layer in range(count) for kind in ("weight", "bias")
            ]
            self.model.factors.data.copy_(torch.stack(factors))

    def forward(self, batch):
        """Return the outputs for a batch, in its order."""
        if not hasattr(self, "readout"):
            return self.model(batch.networks[0])
        found = self.readout(self.encoder(batch.networks))
        return self.head(batch.restore([entry.values for entry in found]))


def translated(name, kind, key):
    """Return our name for a name of the original's state dict, or None if it belongs elsewhere."""
    for pattern, ours in NAMES.items():
        if re.match(pattern, name):
            found = re.sub(pattern, ours, name, count=1).replace("KEY", key)
            if kind == "permutation":
                found = found.replace("edges.phi.", "edges.")
            else:
                for inside, own in INSIDE.items():
                    found = re.sub(inside, own, found)
            for theirs, own in PERCEPTRON.items():
                found = found.replace(theirs, own)
            return found.replace("KIND", kind)
    return None


def inputs(stored, meta, architectures):
    """Return a batch of the original's networks, and the tensors that it is made of, by name."""
    given, flat = {}, []
    for layer in range(len(meta["layout"]) - 1):
        for short in ("w", "b"):
            tensor = stored[f"in/{short}{layer}"].clone().requires_grad_()
            given[f"{short}{layer}"] = tensor
            is_last_weight = short == "w" and meta["kernel"] and layer == len(meta["layout"]) - 2
            flat.append((tensor[..., 0] if is_last_weight and tensor.ndim == 4 else tensor).flatten(1))
    weights = torch.cat(flat, dim=1)
    mask = stored.get("in/sign_mask")
    if mask is None:
        ids = np.arange(len(weights))
        networks = [Networks(architecture=architectures[0], weights=weights)]
        return Batch(networks=networks, order=ids, ids=ids), given
    odd, relu = architectures
    rows = {odd: torch.nonzero(mask)[:, 0], relu: torch.nonzero(~mask)[:, 0]}
    return join({a: weights[r] for a, r in rows.items()}, {a: r.numpy() for a, r in rows.items()}), given


def changes(stored, meta):
    """Return the changes of weights that the original gives, ``(B, P)`` in our order."""
    layout, start, found = meta["layout"], 0, []
    values = stored["out/y"]
    for fan_in, fan_out in itertools.pairwise(layout):
        weight = values[:, start : start + fan_in * fan_out].unflatten(1, (fan_in, fan_out))
        start += fan_in * fan_out
        found += [weight.transpose(1, 2).flatten(1), values[:, start : start + fan_out]]
        start += fan_out
    return torch.cat(found, dim=1)
