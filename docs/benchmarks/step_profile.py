"""Says where the time of a training step of ``sne/default`` goes.

Run ``python docs/benchmarks/step_profile.py``.
"""

from __future__ import annotations

from collections import defaultdict

from step_speed import NETWORKS, prepared, step_gradients
from torch.profiler import ProfilerActivity, profile

STEPS = 10
#: Kinds of operations, by the beginnings of their names in PyTorch. The first that fits counts.
KINDS = {
    "products of matrices": "mm addmm bmm baddbmm matmul linear dot mv",
    "LayerNorm": "native_layer_norm layer_norm native_layer_norm_backward",
    "softmax and exponentials": "softmax exp scaled_dot log sigmoid",
    "copies and gathering": "copy cat clone contiguous index gather scatter fill zero empty new stack pad "
    "constant repeat where masked ones full slice_backward select_backward to_copy",
    "sums": "sum mean max amax min amin maximum minimum linalg cumsum var std any all",
    "views": "view reshape permute transpose expand as_strided slice select split chunk unsqueeze squeeze t "
    "detach alias unbind narrow flatten unsafe",
}
OTHER = "additions, multiplications, ReLU and other element by element"


def kind(name: str) -> str:
    """Return the kind of an operation."""
    if not name.startswith("aten::"):
        return "Python, autograd and dispatch"
    plain = name.removeprefix("aten::").strip("_")
    for each, names in KINDS.items():
        if any(plain == some or plain.startswith(f"{some}_") for some in names.split()):
            return each
    return OTHER


def profiled() -> None:
    """Print the time of each kind of operation."""
    encoder, batch = prepared()
    for _ in range(3):
        step_gradients(encoder, batch)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(STEPS):
            step_gradients(encoder, batch)
    spent: dict[str, float] = defaultdict(float)
    names: dict[str, dict[str, float]] = defaultdict(dict)
    for event in found.key_averages():
        spent[kind(event.key)] += event.self_cpu_time_total / 1000 / STEPS
        names[kind(event.key)][event.key.removeprefix("aten::")] = event.self_cpu_time_total / 1000 / STEPS
    total = sum(spent.values())
    print(f"profile: a step of sne/default, {NETWORKS} networks 1-32-32-1, one thread: {total:.0f} ms")
    for each, time_ in sorted(spent.items(), key=lambda item: -item[1]):
        most = sorted(names[each].items(), key=lambda item: -item[1])[:4]
        words = ", ".join(f"{name} {ms:.1f}" for name, ms in most)
        print(f"  {time_:6.1f} ms {100 * time_ / total:3.0f} %  {each} ({words})")


if __name__ == "__main__":
    profiled()
