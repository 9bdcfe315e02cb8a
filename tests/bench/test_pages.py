"""HTML, CSV and Markdown of a table: their exact text, and safety against hostile names."""

import csv
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from attrs import evolve

from sneframe.bench import charts, pages
from sneframe.bench.header import header
from sneframe.bench.outcome import Outcome, Test
from sneframe.bench.sheet import Table
from sneframe.bench.table import Line, PairedDifference, Spread
from sneframe.config.schema import ZooConfig
from sneframe.metrics import Scores, score

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
    against=PairedDifference(mean=0.2883, interval=(0.25, 0.3215)),
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
    """The Markdown of a table, word by word."""
    assert pages.markdown(table(FAILED, SECOND, BEST)).splitlines()[:9] == [
        "# Methods",
        "",
        "|  | MSE | 95 % interval | against the best | R² | τ | size | epochs | a step | training | "
        "to best | memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        "| sne/fair | **0.03670 ± 0.00210** | 0.0310 … 0.0423 | best | 0.995 ± 0.000 | 0.957 ± 0.002 | "
        "150\u202f321 | 12.4 of 40 † (12) | 123 ms | 10 min 0 s | 9 min 50 s | 600 MiB |",
        "| stats | 0.3250 | 0.290 … 0.360 | +0.288 (+0.250 … +0.322) | −0.100 | – | 0 | "
        "– | – | 2 s | – | 400 MiB |",
        "| nfn | failed |  |  |  |  |  |  |  |  |  |  |",
        "",
        "- stats: 1 of 3 seeds are finished",
    ]


def test_csv_word_by_word():
    """The CSV of a line, word by word."""
    line = evolve(SECOND, each={"r2": (-0.2, 0.0)})
    heads = [
        f"{metric}_{what}"
        for metric in ("mse", "r2", "tau", "accuracy")
        for what in ("mean", "std", "low", "high", "seeds")
    ]
    costs = "step_seconds,train_seconds,cpu_seconds,seconds_to_best,peak_memory,failed"
    against = "best,against_mean,against_low,against_high,coverage,size,epochs,of_epochs,cut,best_epoch"
    assert pages.csv(table(line)).splitlines() == [
        f"column,row,recipe,seeds,of,networks,{','.join(heads)},{against},{costs}",
        ",stats,stats/boosting,1,3,500,0.325,,0.29,0.36,,-0.1,,,,-0.2 0.0,,,,,,,,,,,0,0.2883,"
        "0.25,0.3215,,0,0.0,30,0,0.0,,2.0,,,419430400,",
    ]


def test_the_coverage_of_intervals_has_a_column():
    """It stands before the costs, and only if a line has it."""
    covered = evolve(BEST, coverage=0.91234)
    lines = pages.markdown(table(covered, SECOND)).splitlines()
    assert "| R² | τ | coverage | size |" in lines[2]
    assert "| 0.957 ± 0.002 | 91.2 % | 150" in lines[4]
    assert "| −0.100 | – | – | 0 |" in lines[5]
    note = (
        "The coverage is the fraction of test networks whose 90 % prediction interval holds the true value."
    )
    assert note in lines
    assert note in pages.html(table(covered, SECOND))
    assert pages.csv(table(covered)).splitlines()[1].count(",0.91234,") == 1
    assert "overage" not in pages.markdown(table(BEST, SECOND)) + pages.html(table(BEST, SECOND))


def test_cpu_seconds_have_a_column():
    """CPU seconds stand beside the seconds of training, and only if a line has them."""
    measured = evolve(BEST, cpu_seconds=432.1)
    lines = pages.markdown(table(measured, SECOND)).splitlines()
    assert "| a step | training | CPU | to best |" in lines[2]
    assert "| 123 ms | 10 min 0 s | 7 min 12 s | 9 min 50 s |" in lines[4]
    assert "| – | 2 s | – | – |" in lines[5]
    note = (
        "CPU is the time that the cores worked for the training, which other work on the machine does not "
        "change."
    )
    assert note in lines
    assert note in pages.html(table(measured, SECOND))
    assert "CPU" not in pages.markdown(table(BEST, SECOND)) + pages.html(table(BEST, SECOND))


def test_several_columns_have_an_overview():
    """With several columns there is one table of all of them first."""

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
        (PairedDifference(mean=0.5, interval=(0.25, 0.75)), "+0.500 (+0.250 … +0.750)"),
        (PairedDifference(mean=0.5, interval=(-0.25, 0.75)), "≈ +0.500 (−0.250 … +0.750)"),
        (PairedDifference(mean=0.5, interval=None), "+0.500"),
        (None, "–"),
    ],
)
def test_a_difference_that_may_be_zero_is_marked(value, said):
    """A difference whose interval holds 0 begins with ≈."""
    assert pages.difference("mse", value) == said


def test_the_best_comes_first_whatever_the_metric():
    """Lines are ordered from the best to the worst, failed ones last."""
    assert [line.row for line in table(FAILED, SECOND, BEST).columns[""]] == ["sne/fair", "stats", "nfn"]
    assert table(FAILED, SECOND, BEST, metric="r2").columns[""][0].row == "sne/fair"


def test_missing_seeds_and_failures_are_said():
    """A line says how many seeds are missing, or why it failed."""
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
    """Names that look like markup or templates are text in HTML."""
    page = Elements(pages.html(hostile()))
    assert "script" not in page.elements
    assert page.elements.count("title") == 1
    assert "{{ 7 * 7 }}" in page.text
    assert "49" not in page.text


def test_names_are_text_in_markdown():
    """Names that look like markup are text in Markdown."""
    shown = pages.markdown(hostile())
    assert "<script" not in shown
    grid = [line for line in shown.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in grid} == {13}
    assert "\\`{{ 7 \\* 7 }}\\*\\_ =1+1" in shown


def test_names_are_text_in_csv():
    """Names that look like formulas are text in CSV."""
    rows = list(csv.reader(io.StringIO(pages.csv(hostile()))))
    assert rows[1][:3] == [HOSTILE] * 3
    formula = Line(
        row="=1+1", recipe="a/b", column="", done=0, seeds=1, scores=dict.fromkeys(("mse", "r2", "tau"))
    )
    assert list(csv.reader(io.StringIO(pages.csv(table(formula)))))[1][1] == "'=1+1"


def test_a_page_loads_nothing():
    """A page has no link to anything outside it."""
    page = pages.html(table(BEST, SECOND, FAILED))
    loads = re.findall(r"""(?:src|href)=["']([^"']*)""", page)
    assert all(target.startswith(("#", "data:image/png;base64,")) for target in loads)
    assert "default-src 'none'" in page
    assert "0.03670 ± 0.00210" in page
    assert "failed: no" in page


# -- charts and header -----------------------------------------------------------------------------


def with_test(line, predicted, **more):
    """Return a line with one outcome, whose test networks have the values 0, 1, 2."""
    true = np.arange(3.0)
    test = Test(
        digest="z", ids=np.arange(3), true=true, predicted=np.array(predicted), scores=score(true, true)
    )
    outcome = Outcome(seed=0, tests=(test,), **more)
    return evolve(line, test=test, outcomes=(outcome,))


def texts(chart):
    """Return the texts of a chart."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", chart)


def test_a_column_has_its_charts():
    """A column has charts of intervals, costs and predictions; a failed method is in none of them."""
    lines = (with_test(BEST, [0.0, 1.0, 2.0]), with_test(evolve(SECOND, size=10), [1.0, 1.0, 9.0]), FAILED)
    drawn = pages.figures(table(*lines), 1, lines)
    assert {"sne/fair", "stats", "MSE"} <= set(texts(drawn.intervals))
    assert len(drawn.costs) == len(drawn.predictions) == 2
    assert {"10 s", "1 min", "training time", "sne/fair", "stats"} <= set(texts(drawn.costs[0][0]))
    assert {"100 k", "trainable weights"} <= set(texts(drawn.costs[1][0]))
    assert "nfn" not in "".join([drawn.intervals, drawn.costs[0][0], *drawn.predictions])
    assert pages.figures(table(FAILED), 1, [FAILED]) is None


def test_seeds_and_the_mean_predictor_are_drawn():
    """Each of several seeds is a dot, and the score of the mean predictor is a line."""
    plain = charts.intervals([BEST], "mse", "MSE", charts.marks([BEST.row]), "")
    seeds = evolve(BEST, each={"mse": (0.032, 0.035, 0.04)})
    assert charts.intervals([seeds], "mse", "MSE", charts.marks([BEST.row]), "").count("<use") == (
        plain.count("<use") + 3
    )
    one = evolve(BEST, each={"mse": (0.032,)})
    assert charts.intervals([one], "mse", "MSE", charts.marks([BEST.row]), "").count("<use") == plain.count(
        "<use"
    )
    mean = with_test(BEST, [0.0, 1.0, 2.0], baseline=Scores(n=3, mse=0.04))
    drawn = charts.intervals([mean], "mse", "MSE", charts.marks([BEST.row]), "")
    assert drawn.count("stroke-dasharray") == plain.count("stroke-dasharray") + 1


def test_variations_are_drawn_in_their_order():
    """The overview has the variations along its axis, and a legend of methods."""
    lines = tuple(evolve(BEST, column=column) for column in ("50 %", "10 %"))
    shown = texts(pages.overview(table(*lines)))
    assert shown.index("50 %") < shown.index("10 %") < shown.index("sne/fair")
    assert pages.overview(table(BEST)) is None


def test_many_columns_have_no_charts_of_their_own():
    """With more than six columns the page says that there are no charts of each."""
    lines = tuple(evolve(BEST, column=f"c{number}") for number in range(7))
    page = pages.html(table(*lines))
    assert "Charts of each column are drawn only if there are at most 6 columns." in page
    assert page.count("<svg") == 1


def test_a_plus_minus_needs_several_seeds():
    """Scores of one seed have no ±, and the notes do not speak of seeds."""
    scores = {name: Spread(mean=spread.mean) for name, spread in BEST.scores.items()}
    one = pages.html(table(evolve(BEST, done=1, seeds=1, scores=scores)))
    assert "±" not in one
    assert "Scores are those of one seed." in one
    assert "0.03670 ± 0.00210" in pages.html(table(BEST))


def test_a_header_has_the_facts_of_the_comparison():
    """Zoo, split, seeds, versions, machine and dates are above the table in HTML and Markdown."""
    libraries = {
        "sneframe": "0.1.0",
        "torch": "2.13",
        "plugin a": "sneframe 0.1.0",
        "plugin b": "sneframe 0.1.0",
    }
    outcomes = [
        Outcome(
            seed=seed,
            libraries=libraries,
            machine="Linux, 2 cores",
            finished=f"2026-03-0{seed + 1}T09:00:00+00:00",
        )
        for seed in (0, 1)
    ]
    found = header(
        zoos=[("sine", "0123456789abcdef0")] * 2,
        configs=[
            ZooConfig(property="f", sizes=(0.7, 0.15, 0.15)),
            ZooConfig(property="f", split="given", where="a > 1"),
        ],
        outcomes=outcomes,
        seeds=2,
        budget=600.0,
        command="sneframe compare --recipes a",
    )
    assert found.facts == (
        ("Zoo", "sine, digest 0123456789abcdef"),
        ("Property", "f"),
        (
            "Split",
            "random: 70 % train, 15 % validation, 15 % test, zoo.split_seed 0; given, stored in the zoo",
        ),
        ("Networks", "zoo.where = a > 1"),
        ("Seeds", "0, 1"),
        ("Budget", "10 min 0 s of training a run"),
        ("Versions", "sneframe 0.1.0; torch 2.13; plugins of sneframe 0.1.0: a, b"),
        ("Machine", "Linux, 2 cores"),
        ("Finished", "2026-03-01 09:00:00 UTC to 2026-03-02 09:00:00 UTC"),
    )
    assert found.lacks == ()
    text = Elements(pages.html(table(BEST, header=found))).text
    assert "sneframe compare --recipes a" in text
    shown = pages.markdown(table(BEST, header=found))
    assert "- Zoo: sine, digest 0123456789abcdef\n" in shown
    assert "\n    sneframe compare --recipes a\n" in shown
    for _, fact in found.facts:
        assert fact in text


def test_what_old_cells_lack_is_said():
    """Cells without a date, and a comparison without a command, have a sentence each."""
    old, new = Outcome(seed=0), Outcome(seed=1, finished="2026-03-01T09:00:00+00:00")
    empty = {"zoos": [], "configs": [], "seeds": 2, "budget": None, "command": None}
    assert header(outcomes=[old, new], **empty).lacks == (
        "The date and the run groups are not recorded in 1 cell of 2. The test networks of such cells are "
        "resampled one by one.",
        "The command is not known: Python code made this comparison.",
    )


# -- from zoo to zoo -------------------------------------------------------------------------------


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


def test_a_matrix_is_sources_by_targets():
    """Each method has a matrix of zoos trained on by zoos tested on."""
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


def test_a_matrix_is_shaded_from_worst_to_best():
    """Shades are on one scale for all methods, in the logarithm of the error."""
    shades = [MATRIX.shade(line) for line in MATRIX.lines]
    thirds = [2 / 3, 1 / 3, 0, 2 / 3, 1 / 3, None, None, 1]  # in the logarithm of the error
    assert shades == [None if each is None else pytest.approx(each) for each in thirds]
    page = pages.html(MATRIX)
    assert page.count('class="heat"') == 2
    assert re.findall(r"--part: (\d+)%", page) == ["67", "33", "0", "67", "33", "100"]
    assert '<td class="n failed" title="not applicable: other layers">not applicable</td>' in page


def test_a_greater_correlation_is_shaded_more():
    """For τ the greater value is the better one."""
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
    """A comparison on one zoo shows no matrix."""
    table = Table(title="t", property="p", metric="mse", budget=None, lines=(BEST, SECOND))
    assert table.matrices == ()
    assert "matrices" not in pages.html(table).partition("<body>")[2]


def test_variations_have_a_matrix_each():
    """With variations each method has a matrix for each of them."""
    lines = tuple(
        evolve(line, column=f"{column}, {line.column}", within=column)
        for column in ("10 %", "all")
        for line in MATRIX.lines[:4]
    )
    table = evolve(MATRIX, lines=lines)
    assert [matrix.name for matrix in table.matrices] == ["sne, 10 %", "sne, all"]
