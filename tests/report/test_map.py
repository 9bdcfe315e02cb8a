"""The interactive map, in a browser."""

from __future__ import annotations

import json
import re
import subprocess
from html import escape
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, SWITCHES

from sneframe.errors import RunError
from sneframe.predict.embedding_table import EmbeddingTable
from sneframe.report import write_map

HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"


def some(networks: int = 40, **more: object) -> EmbeddingTable:
    generator = np.random.default_rng(0)
    properties: dict[str, object] = {
        "accuracy": [None if n == 3 else n / networks for n in range(networks)],
        "kind": [("cnn", "mlp", HOSTILE)[n % 3] for n in range(networks)],
        **more,
    }
    sources = [f"net{n}.pt" for n in range(networks - 1)] + [HOSTILE]
    return EmbeddingTable(
        sources=sources, values=generator.standard_normal((networks, 4)), properties=properties
    )  # type: ignore[arg-type]


def driven(page: Path, tmp_path: Path, script: str, width: int = 900) -> dict[str, object]:
    """Open a page in a frame, run a script on its ``document`` and ``window``, and return the JSON result."""
    frame = tmp_path / "frame.html"
    run = f"const found = ((document, window) => {{ {script} }})(contentDocument, contentWindow);"
    source = escape(page.read_text(encoding="utf-8"))
    done = f"setTimeout(() => {{ {run} window.top.document.title = JSON.stringify(found); }}, 300)"
    frame.write_text(
        f'<iframe style="border: 0; width: {width}px; height: 1200px" srcdoc="{source}" '
        f'onload="{escape(f"const {{ contentDocument, contentWindow }} = this; {done}")}"></iframe>',
        encoding="utf-8",
    )
    command = [
        str(CHROMIUM),
        *SWITCHES,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=3000",
    ]
    out = subprocess.run(
        [*command, "--dump-dom", frame.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    title = re.search(r"<title>(.*?)</title>", out.stdout, re.DOTALL)
    assert title is not None, out.stderr[-2000:]
    text = title[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return dict(json.loads(text))


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
HOVER = """
const canvas = document.getElementById("canvas"), box = canvas.getBoundingClientRect();
const tip = document.getElementById("tip");
const seen = [];
for (let y = 4; y < box.height; y += 8) for (let x = 4; x < box.width; x += 8) {
  const at = { clientX: box.left + x, clientY: box.top + y };
  canvas.dispatchEvent(new window.PointerEvent("pointermove", at));
  if (!tip.hidden) seen.push(tip.querySelector("strong").textContent);
}
"""


@needs_browser
def test_hovering_shows_names_and_properties_as_text(tmp_path: Path) -> None:
    """Hovering over a point shows its name and properties, as text."""
    page = write_map(some(), "run", tmp_path / "map.html", colour="kind")
    found = driven(
        page,
        tmp_path,
        HOVER + "return { seen: [...new Set(seen)], images: document.images.length, title: document.title, "
        'terms: [...tip.querySelectorAll("dt")].map((each) => each.textContent) };',
    )
    seen = set(found["seen"])  # type: ignore[call-overload]
    assert len(seen) > 30
    assert HOSTILE in seen
    assert found["images"] == 0
    assert found["title"] == "Map of 40 networks · run"
    assert found["terms"] == ["accuracy", "kind"]


@needs_browser
def test_a_search_lists_networks(tmp_path: Path) -> None:
    """A search lists the matching networks and their number."""
    page = write_map(some(), "run", tmp_path / "map.html")
    script = """
    const box = document.getElementById("search"), result = {};
    for (const words of ["net1", "kind=mlp", "nothing like it", "accuracy=0.5"]) {
      box.value = words;
      box.dispatchEvent(new window.Event("input"));
      const count = document.getElementById("count").textContent;
      result[words] = [count, document.getElementById("found").children.length];
    }
    box.value = "net17";
    box.dispatchEvent(new window.Event("input"));
    document.querySelector("#found button").click();
    result.tip = document.querySelector("#tip strong").textContent;
    return result;
    """
    found = driven(page, tmp_path, script)
    assert found == {
        "net1": ["11 of 40 networks found", 11],
        "kind=mlp": ["13 of 40 networks found", 13],
        "nothing like it": ["0 of 40 networks found", 0],
        "accuracy=0.5": ["1 of 40 networks found", 1],
        "tip": "net17.pt",
    }


@needs_browser
def test_colours_are_a_ramp_or_a_legend(tmp_path: Path) -> None:
    """A number is coloured by a ramp, a label by a legend."""
    page = write_map(some(), "run", tmp_path / "map.html", colour="accuracy")
    script = """
    const legend = document.getElementById("legend"), colour = document.getElementById("colour");
    const bars = legend.querySelectorAll(".ramp").length;
    const result = { first: colour.value, ramp: legend.textContent, bars };
    colour.value = "kind";
    colour.dispatchEvent(new window.Event("change"));
    result.kinds = [...legend.children].map((each) => each.textContent);
    result.options = [...colour.options].map((each) => each.textContent);
    return result;
    """
    found = driven(page, tmp_path, script)
    assert found["first"] == "accuracy"
    assert found["ramp"] == "00.9751 missing"
    assert found["bars"] == 1
    assert found["kinds"] == [f"{HOSTILE} (13)", "cnn (14)", "mlp (13)"]
    assert found["options"] == ["nothing", "accuracy", "kind"]


@needs_browser
@pytest.mark.parametrize("width", [340, 1300])
def test_a_map_is_never_wider_than_its_window(tmp_path: Path, width: int) -> None:
    """The page has no horizontal scroll bar."""
    page = write_map(some(**{"p" * 120: ["v" * 300] * 40}), "r" * 200, tmp_path / "map.html")
    script = HOVER + "return { wide: document.documentElement.scrollWidth, seen: seen.length };"
    found = driven(page, tmp_path, script, width=width)
    assert width - 20 <= found["wide"] <= width  # type: ignore[operator]  # without the scroll bar
    assert found["seen"] != 0


def test_names_cannot_end_the_data(tmp_path: Path) -> None:
    """A name that holds </script> does not end the data."""
    page = write_map(some(), "run", tmp_path / "map.html").read_text(encoding="utf-8")
    assert page.count("<script") == 2
    assert page.count("</script>") == 2
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    assert data["source"][-1] == HOSTILE


def test_numbers_that_are_not_finite_are_missing(tmp_path: Path) -> None:
    """NaN and infinity are missing values."""
    page = write_map(some(loss=[float("inf"), float("nan")] + [1.0] * 38), "run", tmp_path / "map.html")
    text = page.read_text(encoding="utf-8")
    data = json.loads(text.partition('id="data">')[2].partition("</script>")[0])
    assert data["properties"]["loss"][:3] == [None, None, 1.0]


def test_too_few_networks_are_one_line(tmp_path: Path) -> None:
    """Too few networks are an error of one line."""
    with pytest.raises(RunError, match="A map needs at least 5 networks"):
        write_map(some(4), "run", tmp_path / "map.html")
    assert not (tmp_path / "map.html").exists()


def test_a_random_subset_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With very many networks the page shows a random subset, and says how many."""
    monkeypatch.setattr("sneframe.report.projection.MOST_NETWORKS", 20)
    page = write_map(some(), "run", tmp_path / "map.html").read_text(encoding="utf-8")
    assert "The map shows 20 of them, drawn at random" in page
