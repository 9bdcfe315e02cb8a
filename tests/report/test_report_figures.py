from __future__ import annotations

import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from attrs import evolve

from sneframe.report import drawing, figures
from sneframe.report.projection import Projection
from sneframe.run_folder.history import Epoch, EpochScores, Losses
from sneframe.run_folder.predictions import Predictions

SVG = "{http://www.w3.org/2000/svg}"
ELEMENTS = {"svg", "g", "defs", "path", "use", "text", "clipPath", "rect", "image"}
# Names, and the text that a figure shows for each.
HOSTILE = {
    "</text></svg><script>alert(1)</script>": "</text></svg><script>alert(1)</script>",
    r"$\frac{$": r"$\frac{$",
    'id="x" href="#y" url(#z)': 'id="x" href="#y" url(#z)',
    "val_loss & <b>": "val_loss & <b>",
    "ступінь 度 🙂": "ступінь 度 🙂",
    "a\nb\x00\x1b[31mc": "a b[31mc",
    "x" * 500: "x" * 500,
    "": "",
}


def named(n: int) -> dict[str, np.ndarray]:
    """Return the columns of predictions that figures do not draw."""
    label = np.full(n, "a")
    return {"ids": np.arange(n), "architecture": label, "source": label, "group": label}


def predictions(n: int = 30) -> Predictions:
    rng = np.random.default_rng(0)
    true = rng.normal(size=n)
    return Predictions(**named(n), true=true, predicted=true + rng.normal(size=n) / 9)


def maps(n: int) -> Projection:
    points = np.random.default_rng(1).normal(size=(n, 2))
    return Projection(rows=np.arange(n), pca=points, fractions=(0.75, 0.125), tsne=points, perplexity=9.0)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def history(*losses: float) -> list[Epoch]:
    return [
        Epoch(
            epoch=number,
            step=number,
            seconds=1.0,
            lr=0.1,
            train=Losses(loss=loss, task=loss, invariance=None),
            val=EpochScores(mse=2 * loss),
        )
        for number, loss in enumerate(losses, start=1)
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_drawn_as_plain_text(name: str) -> None:
    """A name is neither markup nor mathematics, and is cut at 40 characters."""
    drawn = [
        figures.scatter(predictions(), name, [drawing.BLUE] * 30, name),
        figures.pca_map(maps(30), predictions().true, name, name),
    ]
    for svg, prefix in zip(drawn, ("true ", ""), strict=True):
        root = ElementTree.fromstring(svg)
        assert root.get("aria-label") == HOSTILE[name]
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= ELEMENTS
        shown = HOSTILE[name] if len(name) < 40 else "x" * 39 + "…"
        assert not name or f"{prefix}{shown}" in texts(svg)


def test_the_identity_line_joins_equal_values() -> None:
    """The dashed line has slope one."""
    svg = figures.scatter(predictions(), "loss", [drawing.BLUE] * 30, "")
    dashed = re.search(r'<path d="M ([\d.]+) ([\d.]+) ?\s*L ([\d.]+) ([\d.]+)[^>]*stroke-dasharray', svg)
    assert dashed is not None
    left, bottom, right, top = map(float, dashed.groups())
    # Equal limits on both axes and a square frame: the line of equal values has a slope of one.
    assert right - left == pytest.approx(bottom - top)


def test_a_confusion_counts_networks() -> None:
    """A row of the confusion matrix counts the networks of one true class."""
    true = np.array(["cat", "cat", "cat", "dog"], dtype=object)
    predicted = np.array(["cat", "dog", "dog", "dog"], dtype=object)
    given = Predictions(**named(4), true=true, predicted=predicted)
    shown = texts(figures.confusion(given, "animal", ""))
    assert [text for text in shown if text.isdigit()] == ["1", "2", "0", "1"]
    assert {"cat", "dog", "true animal", "predicted animal"} <= set(shown)


def test_a_constant_is_drawn() -> None:
    """A constant truth with a constant prediction is drawn."""
    same = np.full(3, 2.0)
    constant = Predictions(**named(3), true=same, predicted=same)
    assert "<svg" in figures.scatter(constant, "loss", [drawing.BLUE] * 3, "")


def test_few_points_are_vectors_and_many_are_one_image() -> None:
    """More than 2000 points become one image."""
    few = figures.scatter(predictions(2000), "loss", [drawing.BLUE] * 2000, "")
    many = figures.scatter(predictions(2001), "loss", [drawing.BLUE] * 2001, "")
    assert "<image" not in few
    assert few.count("<use") >= 2000
    assert many.count("<image") == 1
    assert many.count("<use") < 100


def test_the_largest_figures_fit_into_a_page() -> None:
    """The figures of 2000 networks stay below 1.2 MB."""
    value = predictions(2000).true
    svgs = [
        figures.scatter(predictions(2000), "loss", [drawing.BLUE] * 2000, ""),
        figures.pca_map(maps(2000), value, "loss", ""),
        figures.tsne_map(maps(2000).tsne, value, "loss", ""),
        figures.curves(history(*np.linspace(1, 0.1, 2000)), "MSE", 1, ""),
    ]
    assert sum(map(len, svgs)) < 1_200_000


def test_both_curves_are_named_and_the_best_epoch_is_marked() -> None:
    """Each curve has its name; the best epoch is a dashed line in each panel."""
    svg = figures.curves(history(1.0, 0.1, 0.01), "MSE", 2, "")
    assert {"training task loss", "validation MSE", "epoch"} <= set(texts(svg))
    unmarked = figures.curves(history(1.0, 0.1, 0.01), "MSE", None, "")
    assert svg.count("stroke-dasharray") == unmarked.count("stroke-dasharray") + 3  # two panels, the legend


def test_a_measured_e_g_has_a_panel() -> None:
    """The invariance error has a panel only if it was measured."""
    first, second, third = history(1.0, 0.1, 0.01)
    measured = [first, evolve(second, val=evolve(second.val, e_g=0.01)), third]
    assert "e_g" in texts(figures.curves(measured, "MSE", 2, ""))
    assert "e_g" not in texts(figures.curves(history(1.0, 0.1, 0.01), "MSE", 2, ""))


def test_curves_are_on_a_log_scale_with_plain_numbers() -> None:
    """Curves that span decades have a log scale with plain numbers."""
    assert {"0.001", "0.01", "0.1", "1"} <= set(
        texts(figures.curves(history(1.0, 0.1, 0.01, 0.001), "MSE", 4, ""))
    )


@pytest.mark.parametrize("losses", [(0.5,), (0.5, 0.0), (0.0, 0.0), (-1.0, 2.0), (0.5, 0.5)])
def test_curves_that_a_log_scale_cannot_show_are_drawn(losses: tuple[float, ...]) -> None:
    """Zeros, negative values and constants are drawn too."""
    assert {"training task loss", "validation MSE"} <= set(
        texts(figures.curves(history(*losses), "MSE", 1, ""))
    )


def test_pca_axes_say_their_variance() -> None:
    """The axes of the PCA map say which fraction of the variance they carry."""
    svg = figures.pca_map(maps(20), np.arange(20.0), "loss", "")
    assert {"first component (75% of the variance)", "second (12%)", "loss"} <= set(texts(svg))


def test_the_users_settings_do_not_count() -> None:
    """The matplotlib settings of the user change nothing, and stay as they are."""
    plain = figures.scatter(predictions(), "loss", [drawing.BLUE] * 30, "")
    with mpl.rc_context(
        {"font.size": 30, "axes.grid": True, "svg.fonttype": "path", "savefig.bbox": "tight"}
    ):
        assert figures.scatter(predictions(), "loss", [drawing.BLUE] * 30, "") == plain
        assert mpl.rcParams["font.size"] == 30


def test_a_figure_holds_no_date_no_style_and_its_own_ids() -> None:
    """A figure has no metadata and no style sheet, and its ids begin with its name."""
    svg = figures.curves(history(1.0, 0.5), "MSE", 2, "")
    assert "<metadata" not in svg
    assert "<style" not in svg
    ids = re.findall(r' id="([^"]*)"', svg)
    assert all(found.startswith("curves-") for found in ids)
    assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', svg)) <= set(ids)
