from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sneframe.errors import MachineError, RunError
from sneframe.report import write_report
from sneframe.report.bootstrap import interval, resampled
from sneframe.report.words import limits
from sneframe.run_folder.load import read_folder

Edit = Callable[[Path, Callable[[dict[str, Any]], object]], None]
HOSTILE = "</title></style><script>alert('zoo')</script>\"'&{{ 7 * 7 }}"


class Page(HTMLParser):
    """The elements of a page, the rows of its tables, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.text += data
        if "th" in self._open or "td" in self._open:
            self.rows[-1][-1] += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def read(folder: Path) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_results_are_compared_with_the_mean(write_run: Callable[..., Path], edit: Edit) -> None:
    """The table has the scores of the test networks, the mean predictor and the validation networks."""
    folder = write_run(networks=12)

    def change(data: dict[str, Any]) -> None:
        data["test"] = {"n": 12, "mse": 0.123456, "r2": 0.98765, "tau": -0.5}
        data["baseline"]["test"] = {"n": 12, "mse": 1234567.0, "r2": -0.0004, "tau": None}
        data["val"] = {"n": 12345, "mse": 1.5e-7, "r2": -123456.0, "tau": 1.0}

    edit(folder / "metrics.json", change)
    rows = read(folder).rows
    assert ["Networks", "MSE", "R²", "τ", "ρ", "n"] in rows
    assert ["Test", "0.1235", "0.988", "−0.500", "–", "12"] in rows
    assert [row[0] for row in rows].count("Test, 95 % interval") == 1
    assert ["Test, predicting the training mean", "1.235e+06", "0.000", "–", "–", "12"] in rows
    assert ["Validation", "1.500e−07", "−1.235e+05", "1.000", "–", "12\u202f345"] in rows


def test_intervals_are_those_of_the_resamples(write_run: Callable[..., Path]) -> None:
    """MSE, R² and τ have the 95 % interval of their resamples; ρ has none."""
    folder = write_run(networks=12)
    (found,) = read_folder(folder).predictions
    expected = [
        limits(interval(resampled(metric, found.true, found.predicted, 2000)), written)
        for metric, written in (("mse", "number"), ("r2", "ratio"), ("tau", "ratio"))
    ]
    page = read(folder)
    assert ["Test, 95 % interval", *expected, "", ""] in page.rows
    assert f"(95 % interval {expected[1]})" in page.text


COVERED = {
    "level": 0.9,
    "networks": 11,
    "groups": 11,
    "left_out": 1,
    "calibration_groups": 1234,
    "coverage": 0.90909,
    "chance": [0.72727, 1.0],
    "width": 1.23456,
    "reason": None,
}


def test_the_coverage_of_intervals_is_reported(write_run: Callable[..., Path], edit: Edit) -> None:
    """The page has the coverage, the limits of chance, the mean width, and a band in the scatter plot."""
    folder = write_run(networks=12)
    plain = write_report(folder).read_text(encoding="utf-8")
    assert "The run has no calibration, so its predictions have no intervals." in plain
    edit(folder / "metrics.json", lambda data: data.update(intervals=COVERED))
    drawn = write_report(folder).read_text(encoding="utf-8")
    text = Page(drawn).text
    assert "an interval that contains the true frequency with a probability of 90 %." in text
    assert "Of 11 test networks, 90.9 % are covered; by chance it is between 72.7 % and 100.0 %" in text
    assert "The mean width is 1.23. 1\u202f234 run groups of validation networks calibrate" in text
    assert "1 test network is unlike the training networks, and without an interval." in text
    assert "The band is as high as a 90 % interval is on average." in text
    assert drawn.count('id="scatter-FillBetweenPolyCollection') > plain.count("FillBetweenPolyCollection")


def test_run_groups_of_the_coverage_are_said(write_run: Callable[..., Path], edit: Edit) -> None:
    """If a run group has several test networks, the weights are explained."""
    folder = write_run(networks=12)
    edit(folder / "metrics.json", lambda data: data.update(intervals={**COVERED, "groups": 5, "left_out": 0}))
    text = read(folder).text
    assert "Of 11 test networks in 5 run groups, each with the same weight, 90.9 % are covered" in text
    assert "unlike the training networks" not in text


def test_a_run_without_intervals_says_why(write_run: Callable[..., Path], edit: Edit) -> None:
    """Too few validation networks, for example."""
    folder = write_run(networks=12)
    found = {**COVERED, "coverage": None, "chance": None, "width": None, "reason": "there are <few>"}
    edit(folder / "metrics.json", lambda data: data.update(intervals=found))
    assert "Predictions have no 90 % intervals: there are <few>." in read(folder).text


@pytest.mark.parametrize(("networks", "warnings"), [(29, 1), (30, 0)])
def test_few_test_networks_are_warned_of(
    write_run: Callable[..., Path], networks: int, warnings: int
) -> None:
    """With fewer than 30 test networks the page has a warning."""
    assert read(write_run(networks=networks)).text.count("Few test networks.") == warnings


def test_the_ten_worst_predictions_are_listed(write_run: Callable[..., Path]) -> None:
    """The largest errors come first, with the name of the network, both values and the signed error."""
    folder = write_run(networks=12)
    path = folder / "predictions.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1:13] = [
        f"{number},test,5b1d0c6f9a7e4432,nets/{number}.pt,{number},2.0,{2.0 + number * (-1) ** number}"
        for number in range(12)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "embeddings.safetensors").unlink()
    rows = read(folder).rows
    first = rows.index(["nets/11.pt", "2.000", "−9.000", "−11.00"])
    assert [row[0] for row in rows[first : first + 10]] == [f"nets/{11 - rank}.pt" for rank in range(10)]
    assert rows[first + 1] == ["nets/10.pt", "2.000", "12.00", "+10.00"]
    assert "nets/1.pt" not in {row[0] for row in rows}


def test_a_category_has_classes_and_probabilities(write_run: Callable[..., Path], edit: Edit) -> None:
    """Classes have recall and precision; the worst predictions are the least probable true classes."""
    folder = write_run(networks=4)
    scores = {"n": 4, "mse": 0.5, "accuracy": 0.5, "balanced_accuracy": 0.5}

    def change(data: dict[str, Any]) -> None:
        data.update(task="category", test=scores, val=scores, baseline={"val": scores, "test": scores})
        data["by_architecture"] = {"5b1d0c6f9a7e4432": scores}

    edit(folder / "metrics.json", change)
    (folder / "embeddings.safetensors").unlink()
    rows = ("cat,cat,0.9", "cat,dog,0.125", "cat,dog,0.25", "dog,dog,0.75")
    lines = ["id,split,architecture,source,group,true,predicted,probability"]
    lines += [f"{number},test,5b1d0c6f9a7e4432,n{number}.pt,g,{row}" for number, row in enumerate(rows)]
    (folder / "predictions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = read(folder).rows
    assert ["cat", "3", "1", "0.333", "1.000"] in found
    assert ["dog", "1", "3", "1.000", "0.333"] in found
    first = found.index(["n1.pt", "cat", "dog", "0.125"])
    assert [row[0] for row in found[first : first + 4]] == ["n1.pt", "n2.pt", "n3.pt", "n0.pt"]


def test_the_curve_has_the_mean_predictor(write_run: Callable[..., Path], edit: Edit) -> None:
    """The learning curve has the validation score of predicting the training mean."""
    folder = write_run(networks=12)
    edit(folder / "metrics.json", lambda d: d["baseline"]["val"].update(mse=3.25))
    page = read(folder)
    assert "mean predictor" in page.text
    labels = [attrs.get("aria-label") or "" for _, attrs in page.elements]
    assert any("that of the mean predictor is 3.250" in label for label in labels)


def test_invariance_size_epochs_and_time_are_shown(write_run: Callable[..., Path]) -> None:
    """The page shows e_g, e_noise, model size, epochs and times."""
    text = re.sub(r"\s+", " ", read(write_run(networks=12)).text)
    assert "e_g 0.01230. Mean squared change" in text
    assert "e_noise 0.5700. The same under random noise" in text
    assert "Model size158 001 trainable weights" in text.replace("\u202f", " ")
    assert "Epochs30; the best is epoch 28" in text
    assert "Time57.3 s of training, 1 h 7 min in all" in text


def test_an_invariance_that_was_not_measured_is_left_out(write_run: Callable[..., Path], edit: Edit) -> None:
    """Without a measured invariance the page has no e_g, no nan and no None."""
    folder = write_run(networks=12)
    edit(folder / "metrics.json", lambda d: d.update(invariance=None))
    page = read(folder)
    assert "e_g" not in page.text
    assert "nan" not in page.text.lower()
    assert "None" not in page.text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.1234, "0.123 s"), (119.7, "2 min 0 s"), (7259, "2 h 0 min")],
)
def test_times_are_in_readable_units(
    write_run: Callable[..., Path], edit: Edit, seconds: float, shown: str
) -> None:
    """Times are in seconds, minutes or hours."""
    folder = write_run(networks=4)
    edit(folder / "metrics.json", lambda d: d["seconds"].update(train=seconds, total=1e5))
    assert f"Time{shown} of training, 27 h 46 min in all" in read(folder).text


def test_an_undefined_tau_is_a_dash(write_run: Callable[..., Path], edit: Edit) -> None:
    """An undefined score is a dash in the table and left out of the sentence."""
    folder = write_run(networks=12)
    edit(folder / "metrics.json", lambda d: d["test"].update(r2=None, tau=None))
    page = read(folder)
    (row,) = [row for row in page.rows if row[0] == "Test"]
    assert row[2:4] == ["–", "–"]
    assert "R² is" not in page.text
    assert "Kendall’s τ –" not in page.text


def test_a_mixed_zoo_has_a_table_by_architecture(write_run: Callable[..., Path], edit: Edit) -> None:
    """Each architecture has a row with its networks and scores."""
    folder = write_run(networks=40, architectures=3)
    scores = {"n": 13, "mse": 0.25, "r2": 0.5, "tau": None}
    edit(folder / "metrics.json", lambda d: d["by_architecture"].update({"90aa17c3be2d6f08": scores}))
    edit(folder / "metrics.json", lambda d: d["architectures"]["test"].update({"90aa17c3be2d6f08": 13}))
    edit(folder / "metrics.json", lambda d: d["architectures"]["val"].update({"90aa17c3be2d6f08": 7}))
    page = read(folder)
    name = "conv2d 1×8×3×3 · conv2d 8×16×3×3 · linear 16×10 (1418 weights)"
    assert [name, "300", "7", "13", "0.2500", "0.500", "–", "–"] in page.rows
    table = [row for row in page.rows if "weights)" in row[0]]
    assert len(table) == 3
    assert sum(int(row[3]) for row in table) == sum(
        json.loads((folder / "metrics.json").read_text())["architectures"]["test"].values()
    )


def test_many_architectures_are_cut(write_run: Callable[..., Path], edit: Edit) -> None:
    """The twenty architectures with the most networks are listed; one line has the sums of the others."""
    folder = write_run(networks=12)
    counts = {f"{number:016x}": 100 - number for number in range(25)}
    edit(folder / "metrics.json", lambda d: d["architectures"]["train"].update(counts))
    rows = read(folder).rows
    assert ["and 6 more", str(76 + 77 + 78 + 79 + 80 + 81), "0", "0", ""] in rows
    assert ["0" * 15 + "0", "100", "0", "0", "–", "–", "–", "–"] in rows


def test_architectures_of_one_summary_have_their_id(write_run: Callable[..., Path], edit: Edit) -> None:
    """Architectures with the same summary are distinguished by the first digits of their ids."""
    folder = write_run(networks=40, architectures=2)
    edit(
        folder / "environment.json",
        lambda d: d["zoo"].update(architectures=dict.fromkeys(d["zoo"]["architectures"], "same")),
    )
    assert {"5b1d0c: same", "c02e8f: same"} <= {row[0] for row in read(folder).rows}


def test_a_mixed_zoo_has_one_colour_per_architecture(write_run: Callable[..., Path]) -> None:
    """The colours of the table are those of the points."""
    html = write_report(write_run(networks=40, architectures=3)).read_text(encoding="utf-8")
    swatches = re.findall(r'class="swatch" style="background: (#[0-9a-f]{6})"', html)
    assert len(set(swatches)) == 3
    scatter = html[html.index('id="scatter-') : html.index("Predicted against true frequency, ")]
    assert 'id="residuals-' in html
    assert set(swatches) <= set(re.findall(r"fill: (#[0-9a-f]{6})", scatter))


def test_an_architecture_without_summary_has_its_id(write_run: Callable[..., Path], edit: Edit) -> None:
    """An architecture without a summary is shown by its id."""
    folder = write_run(networks=40, architectures=2)
    edit(folder / "environment.json", lambda d: d["zoo"].update(architectures={}))
    assert "5b1d0c6f9a7e4432" in {row[0] for row in read(folder).rows}


def test_one_architecture_has_no_table(write_run: Callable[..., Path]) -> None:
    """A zoo of one architecture has no table of architectures."""
    page = read(write_run(networks=12))
    assert "By architecture" not in page.text
    assert all("weights)" not in row[0] for row in page.rows)


def test_every_figure_is_described(write_run: Callable[..., Path]) -> None:
    """Each of the five figures has a description and a caption."""
    page = read(write_run(networks=12))
    described = [attrs["aria-label"] or "" for tag, attrs in page.elements if tag == "svg"]
    assert [label.split(" ")[0] for label in described] == ["Predicted", "Errors", "Over", "PCA", "t-SNE"]
    assert page.count("figcaption") == 5
    assert "perplexity 3.67, seed 0" in page.text


def test_a_method_without_epochs_has_no_learning_curves(write_run: Callable[..., Path]) -> None:
    """Without epochs the page says that there are no learning curves."""
    page = read(write_run(networks=12, epochs=0))
    assert page.count("svg") == 4
    assert "there are no learning curves" in page.text
    assert "best" not in page.text


def test_a_run_without_embeddings_says_so(write_run: Callable[..., Path]) -> None:
    """Without embeddings the page has a sentence instead of maps."""
    folder = write_run(networks=12)
    (folder / "embeddings.safetensors").unlink()
    page = read(folder)
    assert page.count("svg") == 3
    assert "The run kept no embeddings" in page.text


def test_the_configuration_versions_and_command_are_shown(write_run: Callable[..., Path]) -> None:
    """The page shows how to run again, the configuration and the versions."""
    folder = write_run(networks=12)
    page = read(folder)
    assert (folder / "config.toml").read_text(encoding="utf-8") in page.text
    assert "sneframe run --config config.toml" in page.text
    assert ["torch", "2.13.0"] in page.rows
    assert ["plugin sne", "sneframe 0.1.0"] in page.rows
    assert "2026-03-01 09:30:00 UTC" in page.text


def test_every_session_is_shown(write_run: Callable[..., Path], edit: Edit) -> None:
    """A resumed run shows when and where each session ran."""
    folder = write_run(networks=12)
    later = {"started": "2026-03-02T10:00:00+00:00", "device": "cuda"}
    edit(folder / "environment.json", lambda d: d.update(resumed=[{**d, **later}]))
    assert "2026-03-02 10:00:00 UTC, cuda" in read(folder).text


def test_a_run_without_recipe_is_custom(write_run: Callable[..., Path], edit: Edit) -> None:
    """A run without a recipe is called a custom configuration."""
    folder = write_run(networks=12)
    edit(folder / "environment.json", lambda d: d.update(recipe=None))
    assert "custom configuration · zoo sine" in read(folder).text


def test_names_are_text_and_never_markup(write_run: Callable[..., Path], edit: Edit) -> None:
    """Names from files are text, whatever they contain."""
    folder = write_run(networks=40, architectures=2)
    plain = read(folder)

    def hostile(data: dict[str, Any]) -> None:
        data.update(
            recipe=HOSTILE, platform=HOSTILE, device=HOSTILE, started=HOSTILE, packages={HOSTILE: HOSTILE}
        )
        data["plugins"] = {HOSTILE: {"distribution": HOSTILE, "version": HOSTILE}}
        data["zoo"].update(name=HOSTILE, path=HOSTILE, digest=HOSTILE)
        data["zoo"]["architectures"] = dict.fromkeys(data["zoo"]["architectures"], HOSTILE)

    edit(folder / "environment.json", hostile)
    edit(folder / "metrics.json", lambda d: d.update(property=HOSTILE))
    page = read(folder)
    assert page.count("script") == 0
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in plain.elements}
    assert page.text.count(HOSTILE) >= 15


def test_a_configuration_is_text_and_never_markup(write_run: Callable[..., Path]) -> None:
    """The configuration is text, whatever it contains."""
    folder = write_run(networks=12)
    (folder / "config.toml").write_text('x = "</pre><script>alert(1)</script>"\n', encoding="utf-8")
    page = read(folder)
    assert page.count("script") == 0
    assert 'x = "</pre><script>alert(1)</script>"' in page.text


def test_a_lone_surrogate_is_a_question_mark(write_run: Callable[..., Path], edit: Edit) -> None:
    """A character that UTF-8 cannot encode is shown as a question mark."""
    folder = write_run(networks=12)
    edit(folder / "environment.json", lambda d: d["zoo"].update(name="half \ud83d"))
    assert "zoo half ?" in read(folder).text


def test_a_page_loads_nothing(write_run: Callable[..., Path]) -> None:
    """The page loads and runs nothing from outside."""
    page = read(write_run(networks=40, architectures=3))
    loads = [
        attrs[key] or ""
        for tag, attrs in page.elements
        for key in ("src", "href", "xlink:href", "srcset", "data", "action")
        if key in attrs
    ]
    assert loads
    assert all(target.startswith(("#", "data:image/png;base64,")) for target in loads)
    policies = [
        attrs["content"] for _, attrs in page.elements if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert page.count("link") == page.count("script") == page.count("iframe") == 0


def test_ids_are_unique_and_references_exist(write_run: Callable[..., Path]) -> None:
    """Every id occurs once, and every label refers to one."""
    page = read(write_run(networks=40, architectures=3))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    labels = {attrs["aria-labelledby"] for _, attrs in page.elements if "aria-labelledby" in attrs}
    assert labels <= set(ids)


def test_every_header_of_a_table_has_a_scope(write_run: Callable[..., Path]) -> None:
    """Every header cell says whether it heads a row or a column."""
    page = read(write_run(networks=40, architectures=3))
    assert {attrs.get("scope") for tag, attrs in page.elements if tag == "th"} == {"col", "row"}


def test_the_same_folder_gives_the_same_bytes(write_run: Callable[..., Path]) -> None:
    """Rendering twice gives the same bytes."""
    folder = write_run(networks=40, architectures=2)
    first = write_report(folder).read_bytes()
    assert write_report(folder).read_bytes() == first


def test_a_report_of_a_thousand_networks_is_small(write_run: Callable[..., Path]) -> None:
    """A report of a thousand networks stays below 700 kB."""
    assert write_report(write_run(networks=1000)).stat().st_size < 700_000


def test_a_failed_report_leaves_the_old_one(write_run: Callable[..., Path]) -> None:
    """A damaged folder leaves the old report as it was."""
    folder = write_run(networks=12)
    before = write_report(folder).read_bytes()
    (folder / "metrics.json").write_text('{"property": "fre', encoding="utf-8")
    with pytest.raises(RunError, match=r"metrics.json: not JSON"):
        write_report(folder)
    assert (folder / "report.html").read_bytes() == before


def test_an_unwritable_report_is_a_machine_error(write_run: Callable[..., Path]) -> None:
    """A report that cannot be written is a MachineError, and leaves nothing behind."""
    folder = write_run(networks=12)
    (folder / "report.html").mkdir()
    before = set(folder.iterdir())
    with pytest.raises(MachineError, match=r"report.html"):
        write_report(folder)
    assert set(folder.iterdir()) == before


def test_the_report_says_where_symmetry_comes_from(write_run: Callable[..., Path], edit: Edit) -> None:
    """The page counts the networks of each origin; without a record in the run there is no such line."""
    folder = write_run()
    assert "Symmetry" not in Page(write_report(folder).read_text()).text
    edit(folder / "environment.json", lambda d: d["zoo"].update(symmetry={"guessed": 1, "verified": 999}))
    assert "guessed for 1 network, verified for 999 networks" in Page(write_report(folder).read_text()).text
