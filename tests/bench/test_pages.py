"""HTML, CSV and Markdown of a table: word by word, and safe whatever names come from outside."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest
from attrs import evolve

from sneframe.bench import pages
from sneframe.bench.pages import Table
from sneframe.bench.table import Difference, Line, Spread

HOSTILE = "</title><script>alert(1)</script>|`{{ 7 * 7 }}*_\n=1+1"

BEST = Line(
    row="sne/fair",
    recipe="sne/fair",
    column="",
    done=3,
    seeds=3,
    networks=500,
    scores={
        "mse": Spread(mean=0.0367, std=0.0021, interval=(0.031, 0.0423)),
        "r2": Spread(mean=0.9951, std=0.0004),
        "tau": Spread(mean=0.957, std=0.002),
    },
    best=True,
    size=150321,
    passes=12.4,
    planned=40,
    cut=3,
    best_epoch=12.0,
    train_seconds=600.4,
    step_seconds=0.1234,
    seconds_to_best=590.0,
    peak_memory=600 * 2**20,
)
SECOND = Line(
    row="stats",
    recipe="stats/boosting",
    column="",
    done=1,
    seeds=3,
    networks=500,
    scores={"mse": Spread(mean=0.325, interval=(0.29, 0.36)), "r2": Spread(mean=-0.1), "tau": None},
    against=Difference(mean=0.2883, interval=(0.25, 0.3215)),
    size=0,
    passes=0.0,
    planned=30,
    best_epoch=0.0,
    train_seconds=2.0,
    peak_memory=400 * 2**20,
)
FAILED = Line(
    row="nfn",
    recipe="nfn/np",
    column="",
    done=0,
    seeds=3,
    scores=dict.fromkeys(("mse", "r2", "tau")),
    failed=("no",),
)


def table(*lines, **options):
    return Table(
        **{"title": "Methods", "property": "f", "metric": "mse", "budget": 600.0, **options}, lines=lines
    )


def test_markdown_word_by_word():
    assert pages.markdown(table(FAILED, SECOND, BEST)).splitlines()[:9] == [
        "# Methods",
        "",
        "|  | MSE | 95 % interval | against the best | R² | τ | size | epochs | a step | training | to best | "
        "memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| sne/fair | **0.03670 ± 0.00210** | 0.0310 … 0.0423 | best | 0.995 ± 0.000 | 0.957 ± 0.002 | 150\u202f321 | "
        "12.4 of 40 † (12) | 123 ms | 10 min 0 s | 9 min 50 s | 600 MiB |",
        "| stats | 0.3250 | 0.290 … 0.360 | +0.288 (+0.250 … +0.322) | −0.100 | – | 0 | – | – | 2 s | – | 400 MiB |",
        "| nfn | failed |  |  |  |  |  |  |  |  |  |  |",
        "",
        "- stats: 1 of 3 seeds are finished",
    ]


def test_csv_word_by_word():
    assert pages.csv(table(SECOND)).splitlines() == [
        "column,row,recipe,seeds,of,networks,mse_mean,mse_std,mse_low,mse_high,r2_mean,r2_std,r2_low,r2_high,tau_mean,"
        "tau_std,tau_low,tau_high,accuracy_mean,accuracy_std,accuracy_low,accuracy_high,best,against_mean,against_low,against_high,size,epochs,of_epochs,cut,"
        "best_epoch,step_seconds,train_seconds,seconds_to_best,peak_memory,failed",
        ",stats,stats/boosting,1,3,500,0.325,,0.29,0.36,-0.1,,,,,,,,,,,,0,0.2883,0.25,0.3215,0,0.0,30,0,0.0,,2.0,,419430400,",
    ]


def test_several_columns_have_an_overview():
    def line(row, column, mean, **more):
        return Line(
            row=row,
            recipe=row,
            column=column,
            done=1,
            seeds=1,
            **more,
            scores={"mse": Spread(mean=mean) if mean else None, "r2": None, "tau": None},
        )

    shown = pages.markdown(
        table(
            line("a", "10%", 2.0),
            line("b", "10%", 1.0, best=True),
            line("a", "50%", 0.5, best=True),
            line("b", "50%", None, failed=("no",), applicable=False),
        )
    )
    assert shown.splitlines()[2:8] == [
        "MSE",
        "",
        "|  | 10% | 50% |",
        "| --- | --- | --- |",
        "| a | 2.000 | **0.5000** |",
        "| b | **1.000** | not applicable |",
    ]
    assert re.findall("^## (.*)$", shown, re.MULTILINE) == ["10%", "50%"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Difference(mean=0.5, interval=(0.25, 0.75)), "+0.500 (+0.250 … +0.750)"),
        (Difference(mean=0.5, interval=(-0.25, 0.75)), "≈ +0.500 (−0.250 … +0.750)"),
        (Difference(mean=0.5, interval=None), "+0.500"),
        (None, "–"),
    ],
)
def test_a_difference_that_may_be_none_is_marked(value, said):
    assert pages.difference("mse", value) == said


def test_the_best_comes_first_whatever_the_metric():
    assert [line.row for line in table(FAILED, SECOND, BEST).columns[""]] == ["sne/fair", "stats", "nfn"]
    assert table(FAILED, SECOND, BEST, metric="r2").columns[""][0].row == "sne/fair"


def test_what_is_missing_is_said():
    assert pages.reason(BEST) == ""
    assert pages.reason(SECOND) == "1 of 3 seeds are finished"
    assert pages.reason(FAILED) == "failed: no"


class Elements(HTMLParser):
    """The elements of a page and its text."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)

    def handle_data(self, data):
        self.text += data


def hostile():
    line = Line(
        row=HOSTILE,
        recipe=HOSTILE,
        column=HOSTILE,
        done=0,
        seeds=1,
        scores=dict.fromkeys(("mse", "r2", "tau")),
        failed=(HOSTILE,),
    )
    return table(line, title=HOSTILE, property=HOSTILE)


def test_names_are_text_in_html():
    page = Elements(pages.html(hostile()))
    assert "script" not in page.elements
    assert page.elements.count("title") == 1
    assert "{{ 7 * 7 }}" in page.text
    assert "49" not in page.text


def test_names_are_text_in_markdown():
    shown = pages.markdown(hostile())
    assert "<script" not in shown
    grid = [line for line in shown.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in grid} == {13}
    assert "\\`{{ 7 \\* 7 }}\\*\\_ =1+1" in shown


def test_names_are_text_in_csv():
    rows = list(csv.reader(io.StringIO(pages.csv(hostile()))))
    assert rows[1][:3] == [HOSTILE] * 3
    formula = Line(
        row="=1+1", recipe="a/b", column="", done=0, seeds=1, scores=dict.fromkeys(("mse", "r2", "tau"))
    )
    assert list(csv.reader(io.StringIO(pages.csv(table(formula)))))[1][1] == "'=1+1"


def test_a_page_loads_nothing():
    page = pages.html(table(BEST, SECOND, FAILED))
    assert not re.search(r"(src|href)=", page)
    assert "default-src 'none'" in page
    assert "0.03670 ± 0.00210" in page
    assert "failed: no" in page


# -- from zoo to zoo -----------------------------------------------------------------------------------------------


def crossed(row, source, target, mean, **more):
    scores = {"mse": None if mean is None else Spread(mean=mean), "r2": None, "tau": None}
    return Line(
        row=row,
        recipe=row,
        column=f"{source} → {target}",
        source=source,
        target=target,
        done=0 if mean is None else 1,
        seeds=1,
        scores=scores,
        **more,
    )


MATRIX = Table(
    title="t",
    property="p",
    metric="mse",
    budget=None,
    lines=(
        crossed("sne", "a", "a", 0.01, best=True),
        crossed("sne", "a", "b", 0.1, best=True),
        crossed("sne", "b", "a", 1.0),
        crossed("sne", "b", "b", 0.01),
        crossed("nfn", "a", "a", 0.1),
        crossed("nfn", "a", "b", None, failed=("other layers",), applicable=False),
        crossed("nfn", "b", "a", None, failed=("other layers",), applicable=False),
        crossed("nfn", "b", "b", 0.001, best=True),
    ),
)


def test_a_matrix_of_each_row_is_sources_by_targets():
    assert [matrix.name for matrix in MATRIX.matrices] == ["sne", "nfn"]
    assert MATRIX.matrices[0].sources == MATRIX.matrices[0].targets == ("a", "b")
    expected = """sne: MSE

| trained on ↓, tested on → | a | b |
| --- | --- | --- |
| a | **0.01000** | **0.1000** |
| b | 1.000 | 0.01000 |

nfn: MSE

| trained on ↓, tested on → | a | b |
| --- | --- | --- |
| a | 0.1000 | not applicable |
| b | not applicable | **0.001000** |
"""
    assert expected in pages.markdown(MATRIX)


def test_a_cell_is_shaded_from_the_worst_to_the_best_of_all_methods():
    shades = [MATRIX.shade(line) for line in MATRIX.lines]
    thirds = [2 / 3, 1 / 3, 0, 2 / 3, 1 / 3, None, None, 1]  # in the logarithm of the error
    assert shades == [None if each is None else pytest.approx(each) for each in thirds]
    page = pages.html(MATRIX)
    assert page.count('class="heat"') == 2
    assert re.findall(r"--part: (\d+)%", page) == ["67", "33", "0", "67", "33", "100"]
    assert '<td class="n failed" title="not applicable: other layers">not applicable</td>' in page


def test_greater_is_better_in_a_correlation():
    lines = tuple(
        Line(
            row="a",
            recipe="a",
            column="",
            done=1,
            seeds=1,
            scores={"tau": Spread(mean=mean), "mse": None, "r2": None},
        )
        for mean in (-0.5, 0.5)
    )
    table = Table(title="t", property="p", metric="tau", budget=None, lines=lines)
    assert [table.shade(line) for line in lines] == [0, 1]


def test_one_zoo_has_no_matrix():
    table = Table(title="t", property="p", metric="mse", budget=None, lines=(BEST, SECOND))
    assert table.matrices == ()
    assert "matrices" not in pages.html(table).partition("<body>")[2]


def test_columns_of_a_suite_have_a_matrix_each():
    lines = tuple(
        evolve(line, column=f"{column}, {line.column}", within=column)
        for column in ("10 %", "all")
        for line in MATRIX.lines[:4]
    )
    table = evolve(MATRIX, lines=lines)
    assert [matrix.name for matrix in table.matrices] == ["sne, 10 %", "sne, all"]
