"""Make architectures with one mistake, and decide in plain loops whether an architecture is false."""

import copy

import numpy as np
import torch

from sneframe.architecture import Architecture
from sneframe.errors import ArchitectureError


def kinds():
    return {
        "axis left out": leave_out,
        "groups exchanged": exchange,
        "group too large": merge,
        "action added": add_action,
        "power changed": change_power,
    }


def parameters(description):
    return [p for layer in description["layers"] for p in layer["parameters"]]


def occurrences(description, *, where=lambda _group: True):
    """Return all occurrences of groups: parameter, axis, number of the segment, number of the factor."""
    return [
        (p, axis, number, position)
        for p in parameters(description)
        for axis, segments in enumerate(p["axes"])
        for number, segment in enumerate(segments)
        for position, factor in enumerate(segment)
        if isinstance(factor, str) and where(factor)
    ]


def pick(rng, values):
    return values[rng.integers(len(values))] if values else None


def leave_out(description, rng):
    """Fix one axis of a group."""
    chosen = pick(rng, occurrences(description))
    if chosen is None:
        return None
    p, axis, number, position = chosen
    group = p["axes"][axis][number][position]
    p["axes"][axis][number][position] = sizes(description)[group]
    for action in ("scale", "sign"):
        if action in p:
            p[action][axis][number] = 0
    return [group]


def exchange(description, rng):
    """Replace a group on one axis by another group of the same size."""
    size = sizes(description)
    plain = [g["name"] for g in description["groups"] if g["parent"] is None]
    pairs = [(a, b) for a in plain for b in plain if a != b and size[a] == size[b]]
    if not pairs:
        return None
    a, b = pick(rng, pairs)
    chosen = pick(rng, occurrences(description, where=lambda group: group == a))
    if chosen is None:
        return None
    p, axis, number, position = chosen
    p["axes"][axis][number][position] = b
    return [a, b]


def merge(description, rng):
    """Replace a segment of several factors by one large group, wherever the segment occurs."""
    size = sizes(description)
    segments = {
        tuple(segment)
        for p in parameters(description)
        for axis in p["axes"]
        for segment in axis
        if len(segment) > 1 or isinstance(segment[0], int)
    }
    many = sorted((s for s in segments if np.prod([size.get(f, f) for f in s]) > 1), key=str)
    chosen = pick(rng, many)
    if chosen is None:
        return None
    count = int(np.prod([size.get(f, f) for f in chosen]))
    description["groups"].append({"name": "merged", "size": count, "actions": ["permute"], "parent": None})
    for p in parameters(description):
        for axis, row in enumerate(p["axes"]):
            for number, segment in enumerate(row):
                if tuple(segment) == chosen:
                    p["axes"][axis][number] = ["merged"]
    return ["merged"]


def add_action(description, rng):
    """Allow one more action for a group: power 1 for rows, and −1 for columns."""
    action = pick(rng, ["scale", "sign"])
    lacking = [g for g in description["groups"] if action not in g["actions"] and g["parent"] is None]
    group = pick(rng, lacking)
    if group is None:
        return None
    group["actions"].append(action)
    if rng.random() < 0.8:  # otherwise the action moves no weight
        for p, axis, number, _ in occurrences(description, where=lambda name: name == group["name"]):
            powers = p.setdefault(action, [[0] * len(segments) for segments in p["axes"]])
            powers[axis][number] = 1 if axis == 0 or action == "sign" else -1
    return [group["name"]]


def change_power(description, rng):
    """Change one power of a scale."""
    nonzero = [
        (p, axis, number)
        for p in parameters(description)
        for axis, powers in enumerate(p.get("scale", ()))
        for number, power in enumerate(powers)
        if power
    ]
    chosen = pick(rng, nonzero)
    if chosen is None:
        return None
    p, axis, number = chosen
    p["scale"][axis][number] = pick(rng, [-p["scale"][axis][number], 0])
    return [factor for factor in p["axes"][axis][number] if isinstance(factor, str)]


def sizes(description):
    return {group["name"]: group["size"] for group in description["groups"]}


def mistaken(architecture, rng):
    """Return an architecture with one mistake, its kind and its groups; None if the mistake is impossible."""
    kind = pick(rng, list(kinds()))
    description = copy.deepcopy(architecture.to_json())
    about = kinds()[kind](description, rng)
    if about is None:
        return None
    try:
        return Architecture.from_json(description), kind, about
    except ArchitectureError:
        return None  # it contradicts itself


# -- a slow and plain way to move one group alone ------------------------------------------------------------


def moved(weight, parameter, architecture, group, action, values):
    """Return a parameter with one group moved by one action, by arithmetic on the indices of all entries."""
    size = {each.name: each.size for each in architecture.groups}
    parent = next(each.parent for each in architecture.groups if each.name == group)
    grid = np.indices(parameter.shape)
    source = [index.copy() for index in grid]
    factor = np.ones(parameter.shape)

    def coordinates(name):
        """Yield for each occurrence of a group: axis, segment, mask of it, stride, index in the group."""
        for axis, segments in enumerate(parameter.axes):
            start = 0
            for number, segment in enumerate(segments):
                lengths = [size.get(f, f) for f in segment]
                total = int(np.prod(lengths))
                inside = (grid[axis] >= start) & (grid[axis] < start + total)
                for position, f in enumerate(segment):
                    stride = int(np.prod(lengths[position + 1 :]))
                    if f == name:
                        at = (grid[axis] - start) // stride % lengths[position]
                        yield axis, number, inside, stride, at
                start += total

    outer = next((at for *_, at in coordinates(parent)), None) if parent else None
    for axis, number, inside, stride, at in coordinates(group):
        if action == "permute":
            to = values[outer, at] if parent else values[at]
            source[axis] = source[axis] + np.where(inside, (to - at) * stride, 0)
        else:
            powers = getattr(parameter, action)
            power = powers[axis][number] if powers else 0
            factor = factor * np.where(inside, values[at] ** float(power), 1.0)
    return weight[tuple(source)] * factor


def is_false(module, architecture, example, about, rng):
    """Whether moving one of these groups alone moves no weight, or changes an output by 1e-6 of its size."""
    twin = copy.deepcopy(module).double().eval()
    args = example if isinstance(example, tuple) else (example,)
    args = [a.double() if a.is_floating_point() else a for a in args]
    state = twin.state_dict()
    sizes_of = {group.name: group.size for group in architecture.groups}
    for group in architecture.groups:
        if group.name not in about and group.parent not in about:
            continue
        for action in group.actions:
            shape = (sizes_of[group.parent], group.size) if group.parent else (group.size,)
            still = True
            for draw in range(2):
                for name, value in state.items():
                    if value.is_floating_point():
                        drawn = (
                            rng.normal(size=value.shape)
                            / max(1, value[0].numel() if value.ndim > 1 else 1) ** 0.5
                        )
                        drawn = drawn**2 + 0.5 if name.endswith("running_var") else drawn
                        value.copy_(torch.as_tensor(drawn))
                with torch.no_grad():
                    before = twin(*args)
                values = {
                    "permute": rng.permuted(np.broadcast_to(np.arange(group.size), shape).copy(), axis=-1),
                    "scale": np.exp(rng.normal(size=shape)),
                    "sign": rng.choice([-1.0, 1.0], size=shape),
                }[action]
                if action == "permute" and draw == 0:
                    values = np.roll(np.broadcast_to(np.arange(group.size), shape), 1, axis=-1)
                if action == "sign" and draw == 0:
                    values = -np.ones(shape)
                for parameter in architecture.parameters:
                    old = state[parameter.name].numpy().copy()
                    new = moved(old, parameter, architecture, group.name, action, values)
                    still = still and np.array_equal(old, new)
                    state[parameter.name].copy_(torch.as_tensor(new))
                with torch.no_grad():
                    after = twin(*args)
                if float((before - after).abs().max()) > 1e-6 * float(before.abs().max()):
                    return True
            if still and group.size > 1:
                return True
    return False
