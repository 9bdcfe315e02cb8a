"""Draws images, the INRs that represent them, and these INRs on a finer grid.

Run ``python docs/benchmarks/image_inrs.py ZOO.zarr FILE.png [--data npz:FILE]``. The zoo is one of ``sneframe
zoo build images``, and ``--data`` names the images that it was built of. Each column is a network; the
columns are sorted by the number of steps. The networks are evaluated from their descriptions in the zoo,
without the code that trained them.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sneframe_zoos.classifiers.image_sources import read_images
from sneframe_zoos.image_inrs import pixel_coordinates

import sneframe
from sneframe.architecture.evaluate import evaluate
from sneframe.batch import Networks

COLUMNS = 8
FINER = 6  #: the finer grid has so many times as many rows and columns


def chosen(steps: np.ndarray, labels: np.ndarray) -> list[int]:
    """Return networks of different classes, whose numbers of steps are spread over the whole range."""
    found: list[int] = []
    for wanted in np.linspace(steps.min(), steps.max(), COLUMNS):
        free = np.flatnonzero(~np.isin(labels, labels[found]))
        found.append(int(free[np.abs(steps[free] - wanted).argmin()]))
    return found


def computed(networks: Networks, row: int, height: int, width: int) -> np.ndarray:
    """Return the image ``(height, width, channels)`` that a network computes."""
    points = pixel_coordinates(height, width).mT
    values = evaluate(networks.architecture, networks.weights[[row]], points)[0]
    return values.reshape(height, width, -1).numpy()


def panel(axes: Axes, image: np.ndarray, words: str = "") -> None:
    """Draw an image with values from 0 to 1, and words below it."""
    axes.imshow(image.clip(0, 1), cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(words, fontsize=9)
    axes.spines[:].set_visible(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", default="digits")
    given = parser.parse_args()
    zoo = sneframe.open_zoo(given.zoo)
    options = zoo.attributes["builder"]["config"]
    images = read_images(given.data, size=options["size"], grey=options["grey"])
    assert images.digest == options["data_digest"], "the zoo was built of other images"
    (networks,) = zoo.load().networks
    columns = {name: zoo.column(name) for name in ("label", "image", "steps", "learning_rate", "psnr")}
    _, height, width = images.shape
    figure = Figure(figsize=(1.25 * COLUMNS, 4.6), layout="constrained")
    grid = figure.subplots(3, COLUMNS)
    for place, row in enumerate(chosen(columns["steps"], columns["label"])):
        original = images.images[columns["image"][row]] / 255
        drawn = computed(networks, row, height, width)
        pictured = original if original.ndim == 3 else original[..., None]
        psnr = 10 * math.log10(1 / np.square(drawn - pictured).mean())
        assert abs(psnr - columns["psnr"][row]) < 0.01, "the network does not have the PSNR in the zoo"
        panel(grid[0, place], original, f"class {columns['label'][row]}")
        panel(
            grid[1, place],
            drawn,
            f"{columns['steps'][row]} steps at\n{columns['learning_rate'][row]:.1e}: {psnr:.1f} dB",
        )
        panel(grid[2, place], computed(networks, row, FINER * height, FINER * width))
    for axes, words in zip(grid[:, 0], ("image", "INR", f"INR, {FINER} times finer"), strict=True):
        axes.set_ylabel(words, fontsize=9)
    figure.savefig(given.file, dpi=110)


if __name__ == "__main__":
    main()
