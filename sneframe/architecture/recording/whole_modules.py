"""Record modules that run many operations as one step: attention, recurrent layers, and two norms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

if TYPE_CHECKING:
    from sneframe.architecture.recording.recorder import Recorder

RECURRENT: tuple[tuple[type[nn.Module], str], ...] = (
    *((nn.LSTM, "lstm"), (nn.GRU, "gru"), (nn.RNN, "rnn")),
    *((nn.LSTMCell, "lstm"), (nn.GRUCell, "gru"), (nn.RNNCell, "rnn")),
)
CELLS = (nn.LSTMCell, nn.GRUCell, nn.RNNCell)
NORMS = (nn.RMSNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
WHOLE = (nn.MultiheadAttention, *NORMS, *(cls for cls, _ in RECURRENT))


class _NotCovered(Exception):  # noqa: N818  # not an error: the module is recorded as unknown
    """Raised if a module is used in a form that no description covers."""


def is_whole(module: nn.Module) -> bool:
    """Whether a module is recorded as one step.

    This is so if the module runs the forward of one of torch's own classes, on parameters of its own.
    """
    cls = next((cls for cls in WHOLE if isinstance(module, cls)), None)
    return cls is not None and type(module).forward is cls.forward and not parametrize.is_parametrized(module)


def record(
    recorder: Recorder,
    path: str,
    module: nn.Module,
    given: Sequence[Any],
    named: Mapping[str, Any],
    made: Any,
) -> None:
    """Add the nodes of a module that has run, and note the nodes of the tensors that it returned.

    Args:
        recorder: the recorder.
        path: the path of the module.
        module: the module.
        given: the positional arguments of ``forward``.
        named: the keyword arguments of ``forward``.
        made: what ``forward`` returned.
    """
    try:
        if isinstance(module, nn.MultiheadAttention):
            _attention(recorder, path, module, _bound(module, given, named), made)
        elif isinstance(module, NORMS):
            _norm(recorder, path, module, given[0] if given else named["input"], made)
        else:
            _recurrent(recorder, path, module, _bound(module, given, named), made)
    except _NotCovered:
        inputs = [recorder.of(value) for value in _tensors((given, named))]
        weights = [recorder.of(value) for value in module.parameters()]
        node = recorder.not_recorded(type(module).__name__, [*inputs, *weights])
        for value in _tensors(made):
            recorder.set(value, node)


def _bound(module: nn.Module, given: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``forward`` by name."""
    code = type(module).forward.__code__
    names = code.co_varnames[1 : code.co_argcount]
    return {**dict(zip(names, given, strict=False)), **named}


def _attention(
    recorder: Recorder, path: str, module: nn.MultiheadAttention, named: Mapping[str, Any], made: Any
) -> None:
    """Record attention with several heads, and the linear layer behind it."""
    query, key, value = (named[name] for name in ("query", "key", "value"))
    if query.ndim != 3 or named.get("key_padding_mask") is not None or module.bias_k is not None:
        raise _NotCovered
    if module.add_zero_attn:
        raise _NotCovered
    inputs = [recorder.of(each) for each in (query, key, value)]
    mask = named.get("attn_mask")
    if mask is not None:
        inputs.append(recorder.of(mask))
        if recorder.is_stream(inputs[-1]) or recorder.parameters(inputs[-1]):
            raise _NotCovered
    names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias")
    attention = recorder.add(
        "multihead_attention",
        inputs,
        roles=_weights(recorder, module, names),
        owner=path,
        num_heads=int(module.num_heads),
        batch_first=bool(module.batch_first),
        **({"mask": True} if mask is not None else {}),
    )
    recorder.nodes[attention].shape = tuple(made[0].shape)
    out = _weights(recorder, module.out_proj, ("weight", "bias"))
    recorder.set(made[0], recorder.add("linear", [attention], roles=out))
    if made[1] is not None:
        recorder.set(made[1], recorder.not_recorded("the weights of an attention", [attention]))


def _norm(recorder: Recorder, path: str, module: nn.Module, value: Tensor, made: Tensor) -> None:
    """Record an RMS norm or an instance norm."""
    roles = _weights(recorder, module, ("weight", "bias"))
    if isinstance(module, nn.RMSNorm):
        eps = "dtype" if module.eps is None else float(module.eps)
        shape = [int(size) for size in module.normalized_shape]
        node = recorder.add("rms_norm", [recorder.of(value)], roles=roles, owner=path, shape=shape, eps=eps)
    else:
        assert isinstance(module, nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d)
        batched = {nn.InstanceNorm1d: 3, nn.InstanceNorm2d: 4, nn.InstanceNorm3d: 5}
        ndim = next(count for cls, count in batched.items() if isinstance(module, cls))
        if module.track_running_stats or value.ndim != ndim:
            raise _NotCovered
        inputs = [recorder.of(value)]
        node = recorder.add("instance_norm", inputs, roles=roles, owner=path, eps=float(module.eps))
    recorder.set(made, node)


def _recurrent(
    recorder: Recorder, path: str, module: nn.Module, named: Mapping[str, Any], made: Any
) -> None:
    """Record a recurrent layer, or one step of a recurrent cell.

    Each of the tensors that the module returns has its own node. Nodes that nobody reads are dropped later.
    """
    given: Any = module
    value, start = named["input"], named.get("hx")
    cell = isinstance(module, CELLS)
    if not isinstance(value, Tensor) or value.ndim != (2 if cell else 3):
        raise _NotCovered
    inputs = [recorder.of(value)]
    states = [] if start is None else [start] if isinstance(start, Tensor) else list(start)
    if any(recorder.is_stream(recorder.of(each)) or bool(each.any()) for each in states):
        inputs += [recorder.of(each) for each in states]
    attributes: dict[str, Any] = {"hidden_size": int(given.hidden_size)}
    if cell:
        attributes["cell"] = True
        names: Sequence[str] = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    else:
        attributes |= {
            "num_layers": int(given.num_layers),
            "bidirectional": bool(given.bidirectional),
            "batch_first": bool(given.batch_first),
        }
        if given.proj_size:
            attributes["proj_size"] = int(given.proj_size)
        names = given._flat_weights_names
    kind = next(kind for cls, kind in RECURRENT if isinstance(module, cls))
    if kind == "rnn":
        attributes["nonlinearity"] = str(given.nonlinearity)
    roles = _weights(recorder, module, names)
    returned: dict[str, Tensor] = {}
    if cell:
        returned = {"state": made} if isinstance(made, Tensor) else dict(zip(("state", "cell"), made))
    else:
        sequence, last = made
        last = (last,) if isinstance(last, Tensor) else last
        returned = {"sequence": sequence, **dict(zip(("state", "cell"), last, strict=False))}
    for returns, tensor in returned.items():
        node = recorder.add(kind, inputs, roles=roles, owner=path, returns=returns, **attributes)
        recorder.set(tensor, node)


def _weights(recorder: Recorder, module: nn.Module, names: Sequence[str]) -> dict[str, int]:
    """Return the nodes of the weights of a module that are not None, by name."""
    found = {name: getattr(module, name, None) for name in names}
    return {name: recorder.of(value) for name, value in found.items() if isinstance(value, Tensor)}


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(values) if isinstance(leaf, Tensor)]
