"""Fingerprints differ if modules may compute different functions, and agree if only weights differ."""

import functools
import types

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from sneframe.architecture.identity import fingerprint


class Plain(nn.Module):
    """A module with the given settings and buffers."""

    def __init__(self, **settings):
        super().__init__()
        self.layer = nn.Linear(3, 4)
        for name, value in settings.items():
            if name.startswith("buffer"):
                self.register_buffer(name, value, persistent=name != "buffer_unsaved")
            else:
                setattr(self, name, value)

    def forward(self, x):
        return self.layer(x)


def closure(function):
    class Local(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x):
            return function(self.layer(x))

    return Local()


def with_default(function):
    class Local(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x, act=function):
            return act(self.layer(x))

    return Local()


def typed_in(source):
    """Return a network whose class was defined as in a notebook: its Python module has no file."""
    module = types.ModuleType("__main__")
    exec(source, vars(module))  # the text is our own
    return module.Net()


def notebook(line):
    return typed_in(
        "import torch\nfrom torch import nn\nclass Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.layer = nn.Linear(3, 4)\n"
        f"    def forward(self, x):\n        return {line}\n"
    )


def with_global(value):
    return typed_in(
        f"from torch import nn\nSETTING = {{'act': {value!r}}}\nclass Net(nn.Linear):\n"
        "    def __init__(self):\n        super().__init__(3, 4)\n"
        "    def forward(self, x):\n        return getattr(super().forward(x), SETTING['act'])()\n"
    )


def hooked(function):
    module = nn.Linear(3, 4)
    module.register_forward_hook(lambda module, args, out: function(out))
    return module


def replaced(function):
    module = nn.Linear(3, 4)
    module.forward = functools.partial(function, 1)
    return module


def twice(tied):
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    if tied:
        module[1].weight = module[0].weight
    return module


PAIRS = {
    "closure": (lambda: closure(torch.relu), lambda: closure(torch.tanh)),
    "lambda": (lambda: closure(lambda x: x), lambda: closure(lambda x: x.cumsum(-1))),
    "default argument": (lambda: with_default(torch.relu), lambda: with_default(torch.tanh)),
    "code": (lambda: notebook("self.layer(x).relu()"), lambda: notebook("self.layer(x).tanh()")),
    "constant": (lambda: notebook("self.layer(x) * 2"), lambda: notebook("self.layer(x) * 3")),
    "global": (lambda: with_global("relu"), lambda: with_global("tanh")),
    "setting": (lambda: Plain(power=2), lambda: Plain(power=3)),
    "settings in a dict": (lambda: Plain(all={"act": "relu"}), lambda: Plain(all={"act": "tanh"})),
    "lambda as a setting": (lambda: Plain(act=lambda x: x + 1), lambda: Plain(act=lambda x: x - 1)),
    "object": (
        lambda: Plain(config=types.SimpleNamespace(act="relu")),
        lambda: Plain(config=types.SimpleNamespace(act="tanh")),
    ),
    "tensor": (lambda: Plain(mask=torch.ones(4)), lambda: Plain(mask=torch.zeros(4))),
    "unsaved buffer": (
        lambda: Plain(buffer_unsaved=torch.ones(4)),
        lambda: Plain(buffer_unsaved=torch.zeros(4)),
    ),
    "bool buffer": (
        lambda: Plain(buffer=torch.tensor([True, False])),
        lambda: Plain(buffer=torch.tensor([True, True])),
    ),
    "hook": (lambda: hooked(torch.relu), lambda: hooked(torch.tanh)),
    "forward of its own": (lambda: replaced(max), lambda: replaced(min)),
    "parametrization": (lambda: nn.Linear(3, 4), lambda: parametrizations.weight_norm(nn.Linear(3, 4))),
    "tied weights": (lambda: twice(tied=True), lambda: twice(tied=False)),
    "shape": (lambda: nn.Linear(3, 4), lambda: nn.Linear(3, 5)),
    "order": (
        lambda: nn.Sequential(nn.ReLU(), nn.Tanh()),
        lambda: nn.Sequential(nn.Tanh(), nn.ReLU()),
    ),
}


@pytest.mark.parametrize(("one", "other"), PAIRS.values(), ids=PAIRS)
def test_different_modules_have_different_fingerprints(one, other):
    """Two modules that compute different functions differ, and two equal modules do not."""
    first, again, second = fingerprint(one()), fingerprint(one()), fingerprint(other())
    assert first is not None
    assert first == again
    assert first != second


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.BatchNorm1d(3),
        lambda: nn.LSTM(2, 3),
        lambda: nn.TransformerEncoderLayer(4, 2, batch_first=True),
        lambda: parametrizations.spectral_norm(nn.Linear(3, 4)),
        lambda: Plain(buffer=torch.randn(3)),
    ],
    ids=["batch norm", "recurrence", "transformer", "spectral norm", "saved buffer"],
)
def test_weights_do_not_change_the_fingerprint(make):
    """Modules that differ only in their weights have the same fingerprint."""
    first, second = make(), make()
    with torch.no_grad():
        for tensor in second.state_dict().values():
            tensor.add_(1)
    assert fingerprint(first) is not None
    assert fingerprint(first) == fingerprint(second)


def test_batch_counter_does_not_change_the_fingerprint():
    """The number of batches that a batch norm has seen does not change the fingerprint."""
    module = nn.BatchNorm1d(3)
    before = fingerprint(module)
    module.num_batches_tracked.add_(7)
    assert fingerprint(module) == before


@pytest.mark.parametrize(
    "value", [torch.Generator(), nn.Linear(2, 2).forward, iter([1]), torch.ones(2).to_sparse()]
)
def test_objects_without_a_text_give_no_fingerprint(value):
    """A random generator, another module, an iterator or a sparse tensor gives no fingerprint."""
    assert fingerprint(Plain(thing=[value])) is None


def test_cyclic_settings_have_a_fingerprint():
    """A setting that contains itself, or the module, does not loop forever."""
    ring = []
    ring.append(ring)
    module = Plain(ring=ring)
    module.all = {"me": [module]}
    assert fingerprint(module) is not None
