"""Describe low-rank adapters (LoRA, Hu et al., arXiv 2106.09685) from the names and shapes of their tensors.

An adapter changes the weight W of a module to W + s B A. A has the shape (r, in), B has the shape (out, r),
and r is the rank. Each module becomes a layer of the kind ``lora``, whose parameters have these roles:

=============  ==============================================================
role           meaning
=============  ==============================================================
``a``          A; of a convolution (r, in, height, width)
``b``          B; of a convolution (out, r, 1, 1)
``scaling``    s, which is α / r, or α / √r
``alpha``      α, in files that hold α in place of s
``bias``       an addition to the bias of the module
``magnitude``  the norms of DoRA (arXiv 2402.09353)
=============  ==============================================================

G A and B G⁻¹ make the same update for every invertible matrix G (r × r), so the ranks of a module are a group
with the action ``linear``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from sneframe.architecture.description import Architecture
from sneframe.architecture.layer import Axis, Layer, NeuronGroup, Parameter

KIND = "lora"
ROLES = ("a", "b", "scaling", "alpha", "bias", "magnitude")  #: the order of the parameters of a layer
PREFIX = "base_model.model."  #: what PEFT puts before the names of the modules
#: Names of tensors, and their roles. The names are those of sneframe and PEFT, of the scripts of kohya, and
#: of diffusers. ``adapter`` is the name that PEFT gives one of several adapters.
NAMES = (
    (re.compile(r"(?P<module>.+)\.lora_A(?:\.(?P<adapter>[^.]+))?\.weight"), "a"),
    (re.compile(r"(?P<module>.+)\.lora_B(?:\.(?P<adapter>[^.]+))?\.weight"), "b"),
    (re.compile(r"(?P<module>.+)\.lora_B(?:\.(?P<adapter>[^.]+))?\.bias"), "bias"),
    (re.compile(r"(?P<module>.+)\.lora_embedding_A(?:\.(?P<adapter>[^.]+))?"), "a"),
    (re.compile(r"(?P<module>.+)\.lora_embedding_B(?:\.(?P<adapter>[^.]+))?"), "b"),
    (re.compile(r"(?P<module>.+)\.lora_magnitude(?:_vector(?:\.(?P<adapter>[^.]+))?)?"), "magnitude"),
    (re.compile(r"(?P<module>.+)\.lora_magnitude_vector(?:\.(?P<adapter>[^.]+))?\.weight"), "magnitude"),
    (re.compile(r"(?P<module>.+)\.lora_scaling"), "scaling"),
    (re.compile(r"(?P<module>.+)\.lora_A"), "a"),
    (re.compile(r"(?P<module>.+)\.lora_B"), "b"),
    (re.compile(r"(?P<module>.+)\.lora_down\.weight"), "a"),
    (re.compile(r"(?P<module>.+)\.lora_up\.weight"), "b"),
    (re.compile(r"(?P<module>.+)\.alpha"), "alpha"),
    (re.compile(r"(?P<module>.+)\.dora_scale"), "magnitude"),
    (re.compile(r"(?P<module>.+_lora\d+)\.down\.weight"), "a"),
    (re.compile(r"(?P<module>.+_lora\d+)\.up\.weight"), "b"),
    (re.compile(r"(?P<module>.+?)(?:_lora|\.lora|\.lora_linear_layer)\.down\.weight"), "a"),
    (re.compile(r"(?P<module>.+?)(?:_lora|\.lora|\.lora_linear_layer)\.up\.weight"), "b"),
)
#: Names in adapters that are no product of two matrices: LoHa, LoKr, LoCon with a core, AdaLoRA, IA³, VeRA
#: and OFT; and a bias of A, between A and B.
OTHER_KINDS = re.compile(
    r"(.+\.)?(hada_\w+|lokr_\w+|lora_mid\.weight|"
    r"lora_A(\.[^.]+)?\.bias|(lora_E|ia3_l|vera_lambda_[bd]|oft_(r|R|s|blocks)|boft_(R|s))(\..+)?)"
)


@frozen(kw_only=True)
class AdapterPart:
    """What a tensor of an adapter is.

    Args:
        module: the module that the adapter changes, without the prefix of PEFT.
        role: one of ``ROLES``.
        adapter: the name of the adapter in a model that holds several; None if the file does not say it.
    """

    module: str
    role: str
    adapter: str | None = None


def part_of(name: str) -> AdapterPart | None:
    """Return what the tensor with this name is in an adapter, or None if it is no part of one."""
    for pattern, role in NAMES:
        if (match := pattern.fullmatch(name)) is not None:
            words = match.groupdict()
            module = words["module"].removeprefix(PREFIX)
            return AdapterPart(module=module, role=role, adapter=words.get("adapter"))
    return None


def is_other_kind(names: Iterable[str]) -> bool:
    """Return whether some names are those of an adapter that is no product of two matrices."""
    return any(OTHER_KINDS.fullmatch(name) is not None for name in names)


def parts_of_modules(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return by module the name of the tensor of each role, for modules that have A and B.

    Modules are in the order of their names, with ``layers.2`` before ``layers.10``. Names of a kind of
    adapter that is no product of two matrices give no modules.
    """
    known = list(names)
    if is_other_kind(known):
        return {}
    found: dict[str, dict[str, str]] = {}
    for name in known:
        if (part := part_of(name)) is not None:
            found.setdefault(part.module, {})[part.role] = name
    ordered = sorted((module for module, own in found.items() if {"a", "b"} <= own.keys()), key=_natural)
    return {module: found[module] for module in ordered}


def _natural(module: str) -> list[tuple[int, str]]:
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", module)]


def is_adapter(architecture: Architecture) -> bool:
    """Return whether an architecture has a layer of a low-rank adapter."""
    return any(layer.kind == KIND for layer in architecture.layers)


def adapter(shapes: Mapping[str, tuple[int, ...]], others: Sequence[Layer] = ()) -> Architecture | None:
    """Return the architecture of an adapter, or None if no module has both factors of one rank.

    The layers follow each other in the order of the names, which tells an encoder their places. What a
    network computes between them is not known. The symmetry is ``stated``, because LoRA is defined in this
    way.

    Args:
        shapes: the shapes of the tensors by name.
        others: layers of other tensors in the file, such as a new classifier. Their axes are fixed.
    """
    layers: list[Layer] = []
    groups: list[NeuronGroup] = []
    for module, names in parts_of_modules(shapes).items():
        ranks = {shapes[names["a"]][:1], shapes[names["b"]][1:2]}
        if len(ranks) > 1 or () in ranks or (0,) in ranks:
            return None
        groups.append(NeuronGroup(name=f"{module}.rank", size=shapes[names["a"]][0], actions=("linear",)))
        parameters = [
            _parameter(names[role], shapes[names[role]], role, groups[-1].name)
            for role in ROLES
            if role in names
        ]
        layers.append(Layer(kind=KIND, parameters=parameters, inputs=_previous(layers), activation="other"))
    for other in others if layers else ():
        layers.append(
            Layer(kind=other.kind, parameters=other.parameters, inputs=_previous(layers), activation="other")
        )
    return Architecture(layers=layers, groups=groups) if layers else None


def _previous(layers: Sequence[Layer]) -> tuple[int, ...]:
    return (len(layers) - 1,) if layers else ()


def _parameter(name: str, shape: tuple[int, ...], role: str, group: str) -> Parameter:
    """Return a parameter of an adapter. The first axis of A and the second axis of B are the ranks."""
    axes: list[Axis] = [((size,),) for size in shape]
    if role not in ("a", "b"):
        return Parameter(name=name, shape=shape, role=role, axes=axes)
    powers = [[0] for _ in shape]
    number, power = (0, 1) if role == "a" else (1, -1)
    axes[number], powers[number] = ((group,),), [power]
    return Parameter(name=name, shape=shape, role=role, axes=axes, linear=powers)
