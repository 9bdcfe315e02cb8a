"""Draws the pictures of the pages: ``python docs/draw.py`` writes three of them into docs/images.

The values in concept.svg are those of a network and a run. They lie in docs/images/concept.json, which
``python docs/draw.py RUN NETWORK_ID`` measures again; RUN is a folder of ``sneframe run --plugin sne``.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from svg import Drawing, write

IMAGES = Path(__file__).parent / "images"
VALUES = IMAGES / "concept.json"


def largest(values: Sequence[float]) -> float:
    """Return the value that gets the full colour: only one in twenty is larger."""
    return sorted(map(abs, values))[int(0.95 * (len(values) - 1))]


# -- from a network to a number -------------------------------------------------------------------------


def concept(measured: Mapping[str, Any]) -> Drawing:
    """Draw a network, its tokens, its codes, and its embedding with the prediction."""
    drawing = Drawing(600, 640, "A network becomes tokens, codes, an embedding and a number")
    heads = (
        ("zoo", "A network", "P = 321 weights"),
        ("normalise, tokenizer", "Tokens", "Q = 13 chunks of C = 32"),
        ("layer encoder", "Codes", "L = 6 codes, D = 64 numbers"),
        ("aggregator, head", "Embedding, number", "E = 64 numbers, then one"),
    )
    corners = ((10, 10), (310, 10), (10, 330), (310, 330))
    for place, ((x, y), (part, title, words)) in enumerate(zip(corners, heads, strict=True)):
        drawing.rectangle(x, y, 280, 300, "card", radius=8)
        drawing.text(x + 12, y + 26, part, "mono accent")
        drawing.text(x + 12, y + 50, f"{place + 1}  {title}", "title")
        drawing.text(x + 12, y + 72, words, "quiet")
    drawing.arrow([(291, 150), (309, 150)])
    drawing.arrow([(450, 311), (450, 320), (150, 320), (150, 329)])
    drawing.arrow([(291, 480), (309, 480)])
    draw_network(drawing, measured["weights"], 22, 100)
    draw_tokens(drawing, measured["chunks"], measured["parameters"], 322, 94)
    draw_codes(drawing, measured["codes"], measured["parameters"], 22, 424)
    draw_answer(drawing, measured, 322, 418)
    return drawing


def draw_network(
    drawing: Drawing, weights: Mapping[str, Sequence[Sequence[float]]], x: float, y: float
) -> None:
    """Draw each parameter as a matrix, in which one cell is one weight."""
    size = 8
    full = largest([value for rows in weights.values() for row in rows for value in row])
    corners = (
        (x, y + 18),
        (x + 24, y + 18),
        (x + 76, y + 18),
        (x + 220, y + 18),
        (x + 76, y + 176),
        (x + 220, y + 176),
    )
    for (left, top), rows in zip(corners, weights.values(), strict=True):
        cells = [
            (left + size * j, top + size * i, v) for i, row in enumerate(rows) for j, v in enumerate(row)
        ]
        drawing.cells(cells, size - 1, size - 1, full)
    drawing.text(x, y + 8, "layer 0", "")
    drawing.text(x + 76, y + 8, "layer 1: 16 × 16", "")
    drawing.text(x, y + 184, "layer 2", "")
    drawing.text(x + 212, y + 8, "bias", "quiet")


def draw_tokens(
    drawing: Drawing, chunks: Sequence[Sequence[float | None]], names: Sequence[str], x: float, y: float
) -> None:
    """Draw each chunk as a row; the padding of the last chunk of a parameter is empty."""
    size, full = 8, largest([value for row in chunks for value in row if value is not None])
    for place, row in enumerate(chunks):
        top = y + 12 * place + 8 * len({*names[: place + 1]})
        drawing.cells([(x + size * j, top, v) for j, v in enumerate(row) if v is not None], size - 1, 9, full)
        filled = sum(value is not None for value in row)
        if filled < len(row):
            left = x + size * filled
            drawing.rectangle(left + 0.5, top + 0.5, size * (len(row) - filled) - 2, 8, "empty")


def draw_codes(
    drawing: Drawing, codes: Sequence[Sequence[float]], names: Sequence[str], x: float, y: float
) -> None:
    """Draw the code of each parameter as a row, with the parameter's name above it."""
    full = largest([value for code in codes for value in code])
    for place, (name, code) in enumerate(zip(dict.fromkeys(names), codes, strict=True)):
        top = y + 33 * place
        drawing.text(x, top, name, "mono quiet")
        drawing.cells([(x + 4 * j, top + 5, v) for j, v in enumerate(code)], 3.4, 11, full)


def draw_answer(drawing: Drawing, measured: Mapping[str, Any], x: float, y: float) -> None:
    """Draw the embedding, the predicted number, and the sine of the true and of the predicted frequency."""
    embedding, true, predicted = measured["embedding"], measured["true"], measured["predicted"]
    drawing.cells([(x + 4 * j, y, v) for j, v in enumerate(embedding)], 3.4, 16, largest(embedding))
    drawing.arrow([(x + 128, y + 22), (x + 128, y + 44)])
    drawing.text(x + 128, y + 72, f"frequency {predicted:.2f}", "large middle")
    drawing.text(x, y + 104, f"true: sin({true:.2f} x)", "accent")
    drawing.text(x + 256, y + 104, "predicted", "minus end")
    for value, style in ((true, "curve"), (predicted, "curve other dashed")):
        inputs = [math.pi * t / 150 for t in range(-150, 151)]
        drawing.path(
            [(x + 128 + 128 * t / math.pi, y + 156 - 34 * math.sin(value * t)) for t in inputs], style
        )


# -- the flow -------------------------------------------------------------------------------------------

STEPS = (
    ("zoo", "zarr", ("weights,", "properties"), "card"),
    ("batch", "by architecture", ("Batch", "(B, P)"), "card"),
    ("normalise", "fitted on train", ("Batch", "(B, P)"), "part"),
    ("tokenizer", "views weights", ("ChunkTokens", "(B, Q, C)"), "part"),
    ("layer encoder", "encodes layers", ("LayerCodes", "(B, L, D)"), "part"),
    ("aggregator", "pools layers", ("Embedding", "(B, E)"), "part"),
    ("head", "predicts", ("values", "(B, T)"), "part"),
    ("loss, metrics", "+ invariance", ("scores", ""), "card"),
    ("report", "report.html", (), "card"),
)


def flow() -> Drawing:
    """Draw the steps from zoo to report in three rows, with what each hands to the next."""
    drawing = Drawing(
        640,
        398,
        "From zoo to report: each step, and what it hands to the next",
    )
    wide, high, step, row = 138, 58, 241, 124
    for place, (name, words, gives, style) in enumerate(STEPS):
        x, y = 10 + step * (place % 3), 16 + row * (place // 3)
        drawing.rectangle(x, y, wide, high, style, radius=8)
        drawing.text(x + wide / 2, y + 25, name, "title middle")
        drawing.text(x + wide / 2, y + 46, words, "quiet middle")
        if not gives:
            continue
        if place % 3 < 2:
            drawing.arrow([(x + wide, y + 29), (x + step, y + 29)])
            for line, word in enumerate(gives):
                drawing.text(
                    x + (wide + step) / 2,
                    y + 49 + 18 * line,
                    word,
                    "mono middle" if line == 0 else "mono quiet middle",
                )
        else:
            lane = y + high + 33
            drawing.arrow([(x + 69, y + high), (x + 69, lane), (79, lane), (79, y + row)])
            drawing.rectangle(235, lane - 11, 170, 22, "page")
            drawing.text(320, lane + 5, " ".join(gives), "mono middle")
    drawing.rectangle(10, 366, 22, 16, "part", radius=4)
    drawing.text(42, 380, "a part: a plugin brings it, one line of configuration swaps it", "quiet")
    return drawing


# -- engines --------------------------------------------------------------------------------------------


def engines() -> Drawing:
    """Draw a command, its engine with the workers, and the folder that all of them share."""
    drawing = Drawing(640, 330, "A command gives work to an engine, whose workers use a shared folder")
    drawing.rectangle(10, 16, 170, 214, "card", radius=8)
    drawing.text(95, 46, "command", "title middle")
    for line, words in enumerate(
        ("divides the work,", "shows the time left,", "writes the zoo,", "table or page")
    ):
        drawing.text(95, 78 + 22 * line, words, "quiet middle")
    drawing.rectangle(262, 16, 368, 214, "part", radius=8)
    drawing.text(446, 46, "engine", "title middle")
    drawing.text(446, 68, "serial · process · ray", "mono quiet middle")
    for worker in range(3):
        x = 276 + 116 * worker
        drawing.rectangle(x, 84, 108, 72, "card", radius=6)
        drawing.text(x + 54, 112, "worker", "middle")
        drawing.text(x + 54, 134, "one call", "quiet middle")
        drawing.arrow([(x + 54, 156), (x + 54, 177)])
        drawing.rectangle(x, 178, 108, 38, "card", radius=6)
        drawing.text(x + 54, 202, "cell's process", "quiet middle")
    drawing.arrow([(180, 96), (262, 96)])
    drawing.text(221, 86, "paths", "mono middle")
    drawing.arrow([(262, 150), (180, 150)])
    drawing.text(221, 172, "results", "mono middle")
    drawing.rectangle(10, 266, 620, 48, "card", radius=8)
    drawing.text(320, 296, "shared folder: zoos, files of networks, runs, cells and their locks", "middle")
    drawing.arrow([(95, 230), (95, 266)])
    drawing.arrow([(446, 230), (446, 266)])
    return drawing


# -- the values of concept.svg --------------------------------------------------------------------------


def measure(run: Path, network_id: int) -> dict[str, Any]:
    """Return what a run makes of one test network of its zoo."""
    import torch

    import sneframe
    from sneframe.run_folder.checkpoint import load_model

    model, tasks, _ = load_model(run / "best.safetensors")
    zoo = sneframe.open_zoo(json.loads((run / "environment.json").read_text())["zoo"]["path"])
    batch = zoo.load()
    position = batch.ids.tolist().index(network_id)
    network = batch.select([position])
    encoder = model.eval().encoder
    with torch.no_grad():
        (tokens,) = encoder.tokenizer(encoder.normalise(network))
        (codes,) = encoder.layer_encoder((tokens,))
        output = model(network)
    names = [parameter.name for parameter in network.architectures[0].parameters]
    weights = {name: tensor[0] for name, tensor in network.networks[0].parameters().items()}
    return {
        "weights": {name: rounded(w if w.ndim == 2 else w[:, None]) for name, w in weights.items()},
        "parameters": [names[place] for place in tokens.parameter.tolist()],
        "chunks": [
            [value if full else None for value, full in zip(row, mask, strict=True)]
            for row, mask in zip(rounded(tokens.chunks[0]), tokens.mask.tolist(), strict=True)
        ],
        "codes": rounded(codes.codes[0]),
        "embedding": rounded(output.embedding[0]),
        "predicted": round(float(tasks.main.predict(output.value)[0]), 2),
        "true": round(float(zoo.column(tasks.main.name)[position]), 2),
    }


def rounded(values: Any) -> Any:
    """Return a tensor as lists of numbers with four decimals."""
    return json.loads(json.dumps(values.double().tolist()), parse_float=lambda text: round(float(text), 4))


def drawings() -> dict[Path, Drawing]:
    """Return each picture and the file that it belongs to."""
    measured = json.loads(VALUES.read_text(encoding="utf-8"))
    return {
        IMAGES / "concept.svg": concept(measured),
        IMAGES / "flow.svg": flow(),
        IMAGES / "engines.svg": engines(),
    }


if __name__ == "__main__":
    if len(sys.argv) == 3:
        VALUES.write_text(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))) + "\n", encoding="utf-8")
    write(drawings())
