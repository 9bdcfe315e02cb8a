"""Define ``sne/probe``, which reads messages, statistics, and the values of the layers at probes."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Final, Literal, final

import torch
from attrs import evolve, frozen
from attrs.validators import and_, deep_iterable, ge, in_, le
from einops import rearrange
from torch import Tensor, nn

from sneframe.architecture import Architecture
from sneframe.architecture.low_rank import is_adapter
from sneframe.batch import Networks
from sneframe.config.schema import option
from sneframe.config.validators import as_tuple, check_heads
from sneframe.errors import PartError
from sneframe.nn.bounded import bounded
from sneframe.nn.graph.graph import Graph
from sneframe.nn.graph.places import Place, output_set, places_of
from sneframe.nn.neuron_values import LARGEST
from sneframe.nn.probed_layers import ProbedLayers
from sneframe.nn.weight_statistics import COUNT, statistics
from sneframe.parts.carriers import LayerCodes
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.part import Spec
from sneframe_sne.message.layer_encoder import Message
from sneframe_sne.message.statistics_layer_encoder import SMALL
from sneframe_sne.probe.readings import LAYER, OUTPUT, neuron_readings, output_readings
from sneframe_sne.probe.slots import PLACES, Slot, mixing

#: Names of the views.
VIEWS: Final = ("output", "groups", "probes", "answers", "layers", "statistics")
EVALUATED: Final = ("probes", "answers", "layers")  #: views of values at the probes
CODES: Final = ("output", "groups")  #: views of the codes after the messages
EXACT: Final = ("output", "probes")  #: views that are read without dropout if outputs are no classes
ACTIVATION: Final = 8  #: width of the vector that says which activations a network has
#: The raw numbers of a view are multiplied by this, so that most lie in [−1, 1].
SCALE: Final = 0.5
CLASSES: Final = (
    "networks with several outputs are taken for classifiers, and the order of their outputs is not seen; "
    "if the outputs are numbers, such as the colours of an INR, set layer_encoder.order = 'given'"
)


@frozen(kw_only=True, eq=False)
class ProbePlan:
    """What is known about an architecture.

    Args:
        graph: its graph.
        places: its layers with parameters for which it is known along which axis of their value neurons lie.
        outputs: the index of the node set of the outputs.
        obstacle: why its networks cannot be evaluated, in one line, or None.
        layers: the matrix that takes means of the numbers of layers, by kind and place.
        parameters: the matrix that takes means of the statistics of parameters, by type and place.
        activations: ``(A,)``, the fraction of its activations that each known activation has.
    """

    graph: Graph
    places: tuple[Place, ...]
    outputs: int
    obstacle: str | None
    layers: Tensor
    parameters: Tensor
    activations: Tensor


@final
class Probe(LayerEncoder):
    """Encodes a network in up to six views, each of which becomes one code of D numbers.

    A *probe* is a learned input at which the described layers are evaluated, with the weights as stored,
    which are cut at ±10⁶. The K values of a neuron are added to the first code of its node, by a linear map.
    So messages start from what the neuron computes. The views are:

    ``output``
        the pooled codes of the output's nodes, after all messages.
    ``groups``
        the mean over neuron groups of their pooled codes.
    ``probes``
        the values of each output at the K probes, by a perceptron, and then their mean over outputs.
    ``answers``
        numbers that describe the outputs together, such as entropy, margin and agreement
        (:func:`~sneframe_sne.probe.readings.output_readings`).
    ``layers``
        numbers that describe the values of each layer, such as the fraction of dead neurons
        (:func:`~sneframe_sne.probe.readings.neuron_readings`).
    ``statistics``
        mean, variance and quantiles of each normalised parameter, on a logarithmic scale.

    The views ``layers`` and ``statistics`` hold some numbers for each layer or parameter. There is one linear
    map for each type of layer or parameter at each place: first, hidden or last. The map of hidden layers
    changes linearly with their relative depth. So an architecture of any depth can be read. A network that
    cannot be evaluated has the views of its codes and statistics only.

    If every training network has one output, or if the order of the outputs is given, the views ``output``
    and ``probes`` are read without dropout, so that the function is known exactly. Otherwise the outputs are
    taken for classes. What a classifier answers to one input depends on its data set, and would mislead for
    another data set. So ``probes`` is not read, and all views have dropout.

    Raises:
        PartError: a network cannot be evaluated, and no other view is read.
    """

    name = "sne/probe"
    takes = (Networks,)
    keeps = frozenset({"permute"})

    @frozen(kw_only=True)
    class Config(Message.Config):
        """Options of the messages, and of the probes. The code of each view has the same width D."""

        probes: int = option(32, "K, the number of learned inputs", check=ge(2))
        size: tuple[int, ...] = option(
            (),
            "height and width of images, or length of texts, where a description does not tell it; "
            "empty: that of the other networks",
            converter=as_tuple,
            check=deep_iterable(ge(1)),
        )
        order: Literal["hidden", "given"] = option(
            "hidden",
            "hidden: nothing depends on the order of the outputs, such as classes; given: the order is seen",
        )
        views: tuple[str, ...] = option(
            (),
            f"which views are read: {', '.join(VIEWS)}; empty: all of them, "
            "but no probes if there are several outputs whose order is hidden",
            converter=as_tuple,
            check=deep_iterable(in_(VIEWS)),
        )
        neuron_values: bool = option(
            True, "add the values of each neuron at the probes to the first code of its node"
        )
        dropout: float = option(
            0.2,
            "fraction of the numbers of a view that is dropped; none are dropped in the views output and "
            "probes if networks have one output, or if the order of the outputs is given",
            check=and_(ge(0), le(0.9)),
        )
        code_dropout: float = option(
            0.5,
            "the same for the views output and groups, in place of dropout, if there are several outputs "
            "whose order is hidden",
            check=and_(ge(0), le(0.9)),
        )

    def __init__(self, config: Config, spec: Spec) -> None:
        super().__init__(config, spec)
        width, probes = config.width, config.probes
        check_heads(f"{self.slot} {self.name!r}", width, config.heads)
        self.out = spec.gives(LayerCodes, width)
        self.message = Message(
            Message.Config(
                width=width, heads=config.heads, rounds=config.rounds, activation=config.activation
            ),
            spec,
        )
        self.probed = ProbedLayers(spec.architectures, probes=probes, size=config.size)
        self.neurons = nn.Linear(2 * probes, width)
        self.answer = nn.Linear(2 * probes, width)
        self.kinds = sorted(
            {layer.kind for a in spec.architectures for layer in a.layers if layer.parameters}
        )
        self.types = sorted({kind for a in spec.architectures for kind in a.types})
        self.known = sorted({layer.activation for a in spec.architectures for layer in a.layers} - {"none"})
        self.activations = nn.Linear(len(self.known), ACTIVATION, bias=False) if self.known else None
        widths = {
            "output": width,
            "groups": width,
            "probes": 2 * probes,
            "answers": OUTPUT,
            "layers": len(self.kinds) * PLACES * LAYER,
            "statistics": len(self.types) * PLACES * COUNT,
        }
        exact = EXACT if config.order == "given" or self._have_one_output(spec.architectures) else ()
        rates = dict.fromkeys(VIEWS, config.dropout)
        rates |= dict.fromkeys(exact, 0.0) if exact else dict.fromkeys(CODES, config.code_dropout)
        chosen = config.views or [view for view in VIEWS if view in exact or view != "probes"]
        self.views = nn.ModuleDict(
            {view: _reader(widths[view] + ACTIVATION, width, rates[view]) for view in VIEWS if view in chosen}
        )
        self._evaluates = self._reads(EVALUATED) or (config.neuron_values and self._reads(CODES))
        self._plans: dict[str, ProbePlan] = {}
        assumed = list(self.probed.said)
        if self.probed.inputs.free and not exact:
            # Classifiers of images need no such line, but INRs of colour images have three outputs, too.
            assumed.append(CLASSES)
        self._assumed = assumed if self._evaluates else []

    def forward(self, tokens: tuple[Networks, ...]) -> tuple[LayerCodes, ...]:
        """Return one code for each view, ``(B, L, D)``, for each architecture."""
        for line in self._assumed:
            warnings.warn(f"{self.slot} {self.name!r}: {line}", stacklevel=2)
        self._assumed.clear()
        codes = [self._encode(networks) for networks in tokens]
        if torch.is_grad_enabled():
            # With several processes, every trainable tensor needs a gradient, also one that was not used.
            zero = torch.stack([parameter.flatten()[0] for parameter in self.parameters()]).sum() * 0
            codes[0] = evolve(codes[0], codes=codes[0].codes + zero)
        return tuple(codes)

    def _have_one_output(self, architectures: Sequence[Architecture]) -> bool:
        # An adapter has no outputs: the modules that it changes write into the middle of a network.
        graphs = [self.message.graph(each) for each in architectures if not is_adapter(each)]
        return all(graph.node_sets[output_set(graph)].size == 1 for graph in graphs)

    def _reads(self, views: Sequence[str]) -> bool:
        return any(view in self.views for view in views)

    def leaves_out(self, architecture: Architecture) -> str | None:
        """Return why the networks of an architecture have codes and statistics only, or None."""
        why = self._plan(architecture).obstacle if self._evaluates else None
        return None if why is None else f"codes and statistics only, not evaluated at the probes: {why}"

    def _encode(self, networks: Networks) -> LayerCodes:
        architecture = networks.architecture
        found = self._plan(architecture)
        raw: dict[str, Tensor] = {}
        added: dict[int, Tensor] = {}
        if found.obstacle is None and self._evaluates:
            # The numbers of layers and outputs need more digits than bfloat16 has, so autocast is off.
            with torch.autocast(networks.weights.device.type, enabled=False):
                added = self._probed(networks, found, raw)
        if self._reads(CODES):
            hidden = {found.outputs} if self.config.order == "hidden" else set()
            graph, nodes = self.message.node_codes(networks, added, hidden)
            groups = [n for n, each in enumerate(graph.node_sets) if each.parameters and n != found.outputs]
            pooled = self.message.pooled([nodes[n] for n in (found.outputs, *groups)])
            raw["output"] = pooled[:, 0]
            if groups:
                raw["groups"] = pooled[:, 1:].mean(1)
        if "statistics" in self.views:
            values = torch.stack([statistics(v.flatten(1)) for v in networks.parameters().values()], dim=1)
            raw["statistics"] = _mixed(found.parameters, torch.asinh(values / SMALL) * SCALE)
        codes = [self._read(view, raw[view], found) for view in self.views if view in raw]
        if not codes:
            raise PartError(
                f"{self.slot} {self.name!r} has only views of networks that can be evaluated, "
                f"{' and '.join(self.views)}, but {architecture.summary} cannot: {found.obstacle}"
            )
        every = tuple(range(len(architecture.parameters)))
        return LayerCodes(
            architecture=architecture, codes=torch.stack(codes, dim=1), units=(every,) * len(codes)
        )

    def _read(self, view: str, numbers: Tensor, found: ProbePlan) -> Tensor:
        """Return the code ``(B, D)`` of a view from its numbers ``(B, F)``.

        Numbers ``(B, O, F)`` are those of each output. Then the code is the mean over outputs.
        """
        if self.activations is None:
            kinds = numbers.new_zeros(ACTIVATION)
        else:
            kinds = self.activations(found.activations.to(numbers))
        code: Tensor = self.views[view](torch.cat([numbers, kinds.expand(*numbers.shape[:-1], -1)], dim=-1))
        return code.mean(1) if code.ndim == 3 else code

    def _probed(self, networks: Networks, found: ProbePlan, raw: dict[str, Tensor]) -> dict[int, Tensor]:
        """Evaluate networks at the probes; fill in the numbers of views, and return what nodes start from."""
        values = self.probed(networks).layers
        read: list[Tensor] = []
        added: dict[int, Tensor] = {}
        count: Counter[int] = Counter()
        for place in found.places:
            value = values[place.layer]
            assert value is not None
            neurons = place.values(value, len(networks))
            read.append(neuron_readings(neurons))
            nodes = None if place.node_set is None else found.graph.node_sets[place.node_set].size
            if place.node_set is None or neurons.means.shape[-1] != nodes or not self.config.neuron_values:
                continue
            first = neurons.first_codes(self.neurons)
            added[place.node_set] = first + added.get(place.node_set, 0)
            count[place.node_set] += 1
        added = {number: each / count[number] ** 0.5 for number, each in added.items()}
        if read:
            raw["layers"] = _mixed(found.layers, torch.stack(read, dim=1) * SCALE)
        outputs = self._outputs(networks.architecture, values, found, len(networks))
        raw["answers"] = output_readings(outputs) * SCALE
        each = torch.cat([outputs.asinh(), outputs.softmax(-1)], dim=1).mT
        raw["probes"] = each
        if self.config.neuron_values and each.shape[1] == found.graph.node_sets[found.outputs].size:
            added[found.outputs] = self.answer(each)
        return added

    def _outputs(
        self, architecture: Architecture, values: Sequence[Tensor | None], found: ProbePlan, networks: int
    ) -> Tensor:
        """Return the outputs ``(B, K, O)``, averaged over positions such as tokens if there are any."""
        number = architecture.outputs[0] if architecture.outputs else None
        final = next(v for v in reversed(values) if v is not None) if number is None else values[number]
        assert final is not None
        if final.ndim > 3 and found.places:
            return found.places[-1].values(final, networks).means
        return bounded(final.expand(networks, *[-1] * (final.ndim - 1)).flatten(2), LARGEST)

    def _plan(self, architecture: Architecture) -> ProbePlan:
        if architecture.id not in self._plans:
            self._plans[architecture.id] = self._look(architecture)
        return self._plans[architecture.id]

    def _look(self, architecture: Architecture) -> ProbePlan:
        graph = self.message.graph(architecture)
        places = places_of(architecture, graph)
        why = self.probed.obstacle(architecture)
        if why is None:
            reached = self.probed.reached(architecture)
            places = tuple(place for place in places if place.layer in reached)
        layers, levels, depth = architecture.layers, architecture.levels, architecture.depth
        of_layers = [Slot(type=layers[p.layer].kind, level=levels[p.layer], depth=depth) for p in places]
        of_parameters = [
            Slot(type=kind, level=levels[layer], depth=depth)
            for kind, layer in zip(architecture.types, architecture.layer_of_parameter, strict=True)
        ]
        used = [layer.activation for layer in layers if layer.activation != "none"]
        return ProbePlan(
            graph=graph,
            places=places,
            outputs=output_set(graph),
            obstacle=why,
            layers=mixing(of_layers, self.kinds),
            parameters=mixing(of_parameters, self.types),
            activations=torch.tensor([used.count(name) / max(1, len(used)) for name in self.known]),
        )


def _mixed(matrix: Tensor, numbers: Tensor) -> Tensor:
    """Return means of numbers ``(B, L, F)`` over the L entries of each type and place, ``(B, S · F)``."""
    return rearrange(matrix.to(numbers) @ numbers, "b s f -> b (s f)")


def _reader(given: int, width: int, dropout: float) -> nn.Sequential:
    """Return the perceptron that makes a view's code from its numbers.

    With dropout, the codes are 0 at first. So training starts from the views without dropout, and the views
    with dropout add only what those miss. Without dropout, the first hidden layer is normalised, which brings
    the values of a function much closer to its property.
    """
    layers: list[nn.Module] = [nn.Dropout(dropout)] if dropout else []
    for number, size in enumerate((given, width)):
        layers.append(nn.Linear(size, width))
        layers += [nn.LayerNorm(width)] if not dropout and number == 0 else []
        layers += [nn.SiLU(), *([nn.Dropout(dropout)] if dropout else [])]
    last = nn.Linear(width, width)
    if dropout:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)
