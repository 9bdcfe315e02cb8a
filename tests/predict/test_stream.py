"""Networks encoded parameter by parameter: what one pass over all of them gives, in bounded memory."""

import time
from itertools import accumulate

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

import sneframe
from sneframe.architecture import Architecture
from sneframe.config.byte_size import shown
from sneframe.errors import PartError
from sneframe.predict.lazy_network import LazyNetwork
from sneframe.predict.stream import least, obstacle, stream
from sneframe.symmetry.describe import from_modules


def transformer(width=32, blocks=2):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(width, 4, 2 * width, batch_first=True, dropout=0.0)
    return nn.Sequential(
        nn.Linear(6, width),
        nn.TransformerEncoder(layer, blocks, enable_nested_tensor=False),
        nn.Linear(width, 3),
    )


def cnn():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 5), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


NETWORKS = {"transformer": (transformer, torch.randn(2, 5, 6)), "cnn": (cnn, torch.randn(2, 1, 16, 16))}


def described(name):
    """A network's architecture, its tensors, and a batch of it alone."""
    make, example = NETWORKS[name]
    module = make()
    architecture = Architecture.from_module(module, example)
    weights = torch.cat([module.state_dict()[p.name].reshape(-1) for p in architecture.parameters])
    from sneframe.batch import join

    return architecture, module.state_dict(), join({architecture: weights[None]}, {architecture: [0]})


def fitted(architecture, batch, name, *words):
    torch.manual_seed(1)
    encoder = sneframe.encoder(name, [architecture], *words).eval()
    encoder.normalise.fit([batch])
    return encoder


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    "words",
    [
        (),
        ("tokenizer.chunk_size=24",),
        ("tokenizer.conv_view=kernel", "tokenizer.chunk_size=4"),
        ("tokenizer.conv_view=out_channel",),
        ("tokenizer.linear_view=row", "tokenizer.chunk_size=24"),
        ("layer_encoder.attention=sab",),
        ("layer_encoder.unit=layer",),
        ("layer_encoder.scale_encoding=false",),
        ("layer_encoder.blocks=2",),
        ("layer_encoder.set_functions=false",),
        ("normalise.part=normalise/none",),
        ("layer_encoder.chunks_per_pass=7",),
        ("tokenizer.max_chunks=5", "tokenizer.chunk_size=8"),
        ("tokenizer.max_chunks=3", "tokenizer.conv_view=kernel", "tokenizer.linear_view=row"),
    ],
    ids=lambda words: "+".join(words) or "default",
)
def test_streaming_equals_one_pass(network, words, monkeypatch):
    """Encoding layer by layer gives the embedding of one pass over the whole network."""
    monkeypatch.setattr("sneframe.predict.stream.BLOCK", 700)
    monkeypatch.setattr("sneframe.predict.stream.least", lambda _: 1)
    architecture, state, batch = described(network)
    encoder = fitted(architecture, batch, "sne", *words)
    with torch.no_grad():
        expected = encoder(batch)
    # Once with chunk codes that are kept, once with so little memory that every pass computes them again.
    for memory in (1 << 30, 5 << 20 if "layer_encoder.attention=sab" in words else 1):
        found = stream(encoder, architecture, state.__getitem__, memory=memory)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_weights_are_read_once_with_progress():
    """Each parameter is read once, and progress counts weights."""
    architecture, state, batch = described("cnn")
    encoder = fitted(architecture, batch, "sne")
    read, told = [], []
    stream(
        encoder,
        architecture,
        lambda name: read.append(name) or state[name],
        memory=1 << 30,
        progress=lambda done, total: told.append((done, total)),
    )
    assert read == [p.name for p in architecture.parameters]
    assert told[0] == (0, architecture.num_weights)
    assert told[-1] == (architecture.num_weights, architecture.num_weights)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.fixture
def two_threads(monkeypatch):
    """Let PyTorch have two threads, and take blocks and least memory of small networks."""
    monkeypatch.setattr("sneframe.predict.stream.BLOCK", 700)
    monkeypatch.setattr("sneframe.predict.stream.least", lambda _: 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_threads_encode_units_at_the_same_time(two_threads):
    """Two threads encode two units at once: with the same result, in order, and then there are two again."""
    architecture, state, batch = described("cnn")
    encoder = fitted(architecture, batch, "sne")
    with torch.no_grad():
        expected = encoder(batch)
    at_work, most, read = [], [], []
    encode_unit = encoder.layer_encoder.encode_unit

    def watched(*args, **options):
        at_work.append(torch.get_num_threads())
        time.sleep(0.05)
        most.append(len(at_work))
        try:
            return encode_unit(*args, **options)
        finally:
            at_work.pop()

    encoder.layer_encoder.encode_unit = watched
    found = stream(encoder, architecture, lambda name: read.append(name) or state[name], memory=1 << 30)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert max(most) == 2
    assert read == [p.name for p in architecture.parameters]
    assert torch.get_num_threads() == 2


def test_ctrl_c_does_not_wait_for_the_threads(two_threads):
    """After Ctrl-C the threads stop at their next block, instead of finishing their units."""
    architecture, state, batch = described("cnn")
    encoder = fitted(architecture, batch, "sne")

    def endless(architecture, unit, blocks, *, memory):
        while True:
            list(blocks())

    def interrupted(name):
        if name == architecture.parameters[1].name:
            raise KeyboardInterrupt
        return state[name]

    encoder.layer_encoder.encode_unit = endless
    with pytest.raises(KeyboardInterrupt):
        stream(encoder, architecture, interrupted, memory=1 << 30)


def test_a_unit_that_needs_more_than_its_share_is_encoded_alone(two_threads):
    """Two threads share the memory, but a unit that needs all of it is not refused."""
    architecture, state, batch = described("transformer")
    encoder = fitted(architecture, batch, "sne", "layer_encoder.attention=sab", "tokenizer.chunk_size=4")
    with torch.no_grad():
        expected = encoder(batch)
    found = stream(encoder, architecture, state.__getitem__, memory=4 * 768 * 768 * 4)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_sample_reads_only_the_chunks_that_are_encoded():
    """With a limit, the embedding is that of a tokenizer with this limit, and no other weight is read."""
    architecture, _, batch = described("transformer")
    encoder = fitted(architecture, batch, "sne", "tokenizer.chunk_size=4")
    limited = fitted(architecture, batch, "sne", "tokenizer.chunk_size=4", "tokenizer.max_chunks=7")
    limited.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        expected = limited(batch)
    places = limited.tokenizer(batch.replace([torch.arange(1.0, architecture.num_weights + 1)[None]]))[
        0
    ].chunks.unique()
    unread = torch.ones(architecture.num_weights, dtype=torch.bool)
    unread[places[places > 0].long() - 1] = False
    assert 0.5 < float(unread.float().mean()) < 1
    weights = batch.networks[0].weights.masked_fill(unread, torch.nan)
    damaged = {name: view[0] for name, view in architecture.views(weights).items()}
    found = stream(encoder, architecture, damaged.__getitem__, memory=1 << 30, chunks=7)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("chunks", [None, 7])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e30])
def test_weights_that_cannot_be_encoded_give_no_embedding(value, chunks):
    """If a weight that is read is not finite or too large, the embedding is NaN."""
    architecture, state, batch = described("cnn")
    encoder = fitted(architecture, batch, "sne")
    damaged = {name: each.clone() for name, each in state.items()}
    next(iter(damaged.values())).flatten()[:] = value
    assert stream(encoder, architecture, damaged.__getitem__, memory=1 << 30, chunks=chunks).isnan().all()


def test_half_precision_is_read_as_it_is():
    """Weights in half precision are read without a copy of the network."""
    architecture, state, batch = described("cnn")
    encoder = fitted(architecture, batch, "sne")
    half = {name: value.half() for name, value in state.items()}
    found = stream(encoder, architecture, half.__getitem__, memory=1 << 30)
    same = batch.replace(
        [torch.cat([half[p.name].float().reshape(-1) for p in architecture.parameters])[None]]
    )
    with torch.no_grad():
        torch.testing.assert_close(found, encoder(same), rtol=1e-5, atol=1e-5)


def test_attention_that_does_not_fit_says_what_it_needs():
    """Full attention that does not fit into the bound says what it would need."""
    architecture, state, batch = described("transformer")
    words = ("layer_encoder.attention=sab", "tokenizer.chunk_size=4", "layer_encoder.chunks_per_pass=32")
    encoder = fitted(architecture, batch, "sne", *words)
    said = (
        r"is cut into 768 chunks, and full set attention over them .* would take 0\.0 GiB and "
        r"7\.5e\+07 multiplications"
    )
    with pytest.raises(PartError, match=said):
        stream(encoder, architecture, state.__getitem__, memory=4 * 768 * 768 * 4 - 1)
    stream(encoder, architecture, state.__getitem__, memory=4 * 768 * 768 * 4)


@pytest.mark.parametrize("name", ["sne/message", "stats/mlp", "deepsets", "mlp"])
def test_methods_that_take_no_part_of_a_network_say_so(name):
    """Methods that cannot encode layer by layer say why."""
    batch = from_modules([nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))])
    encoder = sneframe.encoder(name, batch.architectures)
    reason = obstacle(encoder)
    assert reason is not None
    with pytest.raises(PartError, match=r"so 17 weights cannot be encoded layer by layer"):
        stream(encoder, batch.architectures[0], {}.__getitem__, memory=1)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("layer_encoder.width=32",),
        ("tokenizer.chunk_size=8",),
        ("layer_encoder.blocks=2", "layer_encoder.scale_encoding=false"),
        ("layer_encoder.set_functions=false",),
    ],
    ids=lambda words: "+".join(words) or "default",
)
def test_the_least_memory_is_what_a_stream_takes(words):
    """The profiler sees no more memory than the least bound says, and no less than half of it."""
    batch = from_modules([nn.Linear(300, 300)])
    (architecture,) = batch.architectures
    encoder = sneframe.encoder("sne", batch, *words).eval()
    weights = dict(zip(("weight", "bias"), batch.networks[0].parameters().values(), strict=True))
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        stream(encoder, architecture, lambda name: weights[name][0], memory=least(encoder))
    events = [event for event in profiled.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    peak = max(accumulate(changes))
    assert peak <= least(encoder) <= 2 * peak


def test_a_bound_that_cannot_be_met_says_the_least_that_can():
    """With a byte less than the least a network is not encoded, and the error says what it takes."""
    batch = from_modules([nn.Linear(30, 30)])
    encoder = sneframe.encoder("sne", batch.architectures)
    said = "memory: 1 B is too little; this model needs at least 20 MiB"
    with pytest.raises(PartError, match=said):
        stream(encoder, batch.architectures[0], {}.__getitem__, memory=1)


def test_sizes_are_shown_so_that_they_suffice():
    """A size is rounded up: who gives what is shown gives enough."""
    assert [shown(size) for size in (1, 1023, 1025, 1 << 20, (37 << 20) + 1, 3 << 30)] == [
        "1 B",
        "1023 B",
        "2 KiB",
        "1 MiB",
        "38 MiB",
        "3 GiB",
    ]


def test_a_file_is_mapped_anew_after_some_bytes(monkeypatch):
    """Parameters are read from one mapping of a file until they take more than the bound."""
    monkeypatch.setattr("sneframe.predict.lazy_network.MAPPED", 100)
    architecture, state, _ = described("cnn")
    maps = []
    network = LazyNetwork(source="file", architecture=architecture, read=lambda: maps.append(1) or state)
    read = network.by_name()
    for bytes_before, parameter in zip(
        accumulate((4 * p.size for p in architecture.parameters), initial=0),
        architecture.parameters,
        strict=False,
    ):
        assert read(parameter.name) is state[parameter.name]
        assert bytes_before <= 100 or len(maps) > 1
    assert 1 < len(maps) < len(architecture.parameters)
