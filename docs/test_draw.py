"""The committed pictures are what the scripts draw."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "benchmarks")]

import chart  # noqa: E402  # scripts beside the pages, in no package
import curve  # noqa: E402  # the same
import draw  # noqa: E402  # the same
import size_chart  # noqa: E402  # the same
import sources  # noqa: E402  # the same

DRAWINGS = {
    **draw.drawings(),
    chart.CHART: chart.chart(),
    **curve.drawings(),
    size_chart.CHART: size_chart.chart(),
    sources.CHART: sources.sources(),
}


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.name)
def test_a_committed_picture_is_what_the_script_draws(path):
    """After a change of a script, run it and commit the picture."""
    assert path.read_text(encoding="utf-8") == str(DRAWINGS[path])


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.name)
def test_a_picture_is_xml_with_a_label(path):
    """A screen reader says the label, and a dark page gets dark colours."""
    root = ET.fromstring(path.read_text(encoding="utf-8"))  # our own file
    assert root.get("aria-label")
    assert "prefers-color-scheme: dark" in path.read_text(encoding="utf-8")


def test_every_weight_of_the_network_is_in_a_chunk():
    """The picture of the concept shows one network: its weights, and as many values in its chunks."""
    measured = draw.json.loads(draw.VALUES.read_text(encoding="utf-8"))
    weights = [value for rows in measured["weights"].values() for row in rows for value in row]
    filled = [value for row in measured["chunks"] for value in row if value is not None]
    assert len(weights) == len(filled) == 321


def test_the_table_below_the_chart_has_the_numbers_of_the_cells():
    """Each method's mean error over seeds stands in its row."""
    lines = (HERE / "benchmarks.md").read_text(encoding="utf-8").splitlines()
    for recipe, seeds in chart.cells().items():
        row = next(line for line in lines if f"`{recipe}`" in line and " ± " in line)
        shown = float(
            next(cell for cell in row.split("|") if "±" in cell).split("±")[0].strip(" *").replace("−", "-")
        )
        assert shown == pytest.approx(chart.fmean(seed["mse"] for seed in seeds), rel=1e-3)


def test_the_table_of_sources_has_the_numbers_of_the_cells():
    """Each row of the ablation has the means over seeds that the picture shows."""
    page = (HERE / "experiments.md").read_text(encoding="utf-8")
    page = page[page.index("## Messages, statistics, probes") :]
    inrs, cnns = (page[page.index(f"<!-- table: pivot {name}") :] for name in ("probe-", "cnn-probe-"))
    for number, (text, column) in enumerate(((inrs, 1), (cnns, 1), (cnns, 3))):
        for row, seeds in sources.values(sources.PANELS[number]).items():
            line = next(line for line in text.splitlines() if line.startswith(f"| {row} |"))
            shown = float(line.split("|")[1 + column].split("±")[0].replace("−", "-").strip(" *"))
            assert len(seeds) == 3
            assert shown == pytest.approx(chart.fmean(seeds), rel=0.05 if shown < 0.001 else 2e-3)
