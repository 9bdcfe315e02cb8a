"""Columns of tables: what is missing, what is a fraction, and what is said of a column that became text."""

import json
import warnings

import factories
import pytest
import torch
from sneframe_importers.table import read_table

from sneframe.errors import ZooError


def read(tmp_path, *words, ending="csv"):
    """The values of column x of a table with these texts, and what was warned of."""
    path = tmp_path / f"t.{ending}"
    if ending == "jsonl":
        rows = [json.dumps({"file": f"{n}.pt", "x": word}) for n, word in enumerate(words)]
    else:
        rows = ["file\tx", *(f"{n}.pt\t{word}" for n, word in enumerate(words))]
        path = tmp_path / "t.tsv"
    path.write_text("\n".join(rows) + "\n")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        values = [entry.properties["x"] for entry in read_table(path)]
    return values, [str(each.message).removeprefix(f"{path}: ") for each in said]


@pytest.mark.parametrize(
    "word", ["", "NA", "na", "N/A", "n/a", "nan", "NaN", "null", "-", "–", "#N/A", "None"]
)
def test_words_for_nothing_are_missing_among_numbers(tmp_path, word):
    """A column of numbers stays one, whatever way of writing a missing value stands in it."""
    assert read(tmp_path, "0.5", word, "0.91") == ([0.5, None, 0.91], [])


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_none_among_texts_is_a_value(tmp_path, ending):
    """An augmentation called none is a category, and a dash is still a missing value."""
    assert read(tmp_path, "none", "-", "mixup", ending=ending) == (["none", None, "mixup"], [])


def test_words_for_nothing_are_missing_among_truth_values(tmp_path):
    """A column of true and false stays one."""
    assert read(tmp_path, "true", "n/a", "False") == ([True, None, False], [])


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_percent_signs_make_fractions_and_are_said(tmp_path, ending):
    """91.37% is the float 0.9137, and a line says that the column was read so."""
    values, said = read(tmp_path, "91.37%", "7 %", "N/A", "100%", ending=ending)
    assert values == [0.9137, 0.07, None, 1.0]
    assert said == ["column 'x': 3 values with % are read as fractions"]


@pytest.mark.parametrize(("ending", "number"), [("csv", "0.91"), ("jsonl", 0.91), ("jsonl", "0.91")])
def test_percent_signs_among_plain_numbers_are_refused(tmp_path, ending, number):
    """Whether 0.91 is a percentage too is nobody's guess; both lines are named."""
    with pytest.raises(
        ZooError, match=r"line [34]: 'x' is '0.91', but '91%' in line [12]; write all values with %"
    ):
        read(tmp_path, "91%", "-", number, ending=ending)


@pytest.mark.parametrize(("ending", "line", "numbers"), [("csv", 4, ("1", "2")), ("jsonl", 3, (1, 2.5))])
def test_the_value_that_makes_a_column_text_is_named(tmp_path, ending, line, numbers):
    """One word among numbers makes them text, and the warning says which one, and in which line."""
    values, said = read(tmp_path, *numbers, "crashed", "n.a.", ending=ending)
    assert values == [*map(str, numbers), "crashed", "n.a."]
    assert said == [
        f"column 'x' is read as text because of 'crashed' in line {line} (2 of 4 values are numbers)",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("1.5", "007"), "'007' in line 3 (1 of 2 values are numbers); as a number it would lose digits"),
        (("91%", "crashed"), "'crashed' in line 3 (1 of 2 values are numbers)"),
        (("true", "false", "maybe"), "'maybe' in line 4 (2 of 3 values are true or false)"),
        (("1", "true"), "'true' in line 3 (1 of 2 values are numbers)"),
        (("0.5", "1e400"), "'1e400' in line 3 (1 of 2 values are numbers)"),
        (
            ("0,91", "0,5"),
            "'0,91' in line 2; write numbers with a decimal point and without thousands separators",
        ),
        (
            ("12", "1,234"),
            "'1,234' in line 3 (1 of 2 values are numbers); numbers are written with a point, and without "
            "thousands separators",
        ),
        (
            ("1_000", "2 000"),
            "'1_000' in line 2; write numbers with a decimal point and without thousands separators",
        ),
    ],
)
def test_numbers_that_cannot_be_read_are_said(tmp_path, words, said):
    """Lost digits, decimal commas and mixed kinds never become text without a word."""
    values, found = read(tmp_path, *words)
    assert values == list(words)
    assert found == [f"column 'x' is read as text because of {said}"]


@pytest.mark.parametrize(
    "words", [("mlp", "cnn"), ("007", "012"), ("16,16,16", "32,32"), ("yes", "no"), ("-", "")]
)
def test_a_column_of_text_is_not_warned_of(tmp_path, words):
    """Names, codes and lists are text, and nothing is said of them."""
    assert read(tmp_path, *words)[1] == []


def test_infinity_is_a_number(tmp_path):
    """inf is read as it is meant, for a diverged loss may be infinite."""
    assert read(tmp_path, "inf", "-Infinity", "0.5") == ([float("inf"), -float("inf"), 0.5], [])


def test_json_has_the_same_missing_values(tmp_path):
    """null, NaN and the words are missing in JSON lines too."""
    assert read(tmp_path, 1, None, float("nan"), "n/a", 3, ending="jsonl") == ([1, None, None, None, 3], [])


def test_numbers_in_quotes_are_said(tmp_path):
    """A JSON column of quoted numbers stays text; among numbers they are numbers; both are said."""
    assert read(tmp_path, "0.5", "0.25", ending="jsonl") == (
        ["0.5", "0.25"],
        ["column 'x' is read as text: its 2 values are numbers in quotes"],
    )
    assert read(tmp_path, 0.5, "0.25", ending="jsonl") == (
        [0.5, 0.25],
        ["column 'x': 1 of 2 values are numbers in quotes; they are read as numbers"],
    )


@pytest.mark.parametrize(
    ("values", "large"),
    [((1, 18446744073709551617, 3), "18446744073709551617"), ((0.5, 9007199254740993), "9007199254740993")],
)
def test_an_int_that_is_too_large_makes_its_column_text(tmp_path, values, large):
    """It would lose digits as a number; its line is named, as in a CSV."""
    for ending in ("jsonl", "csv"):
        found, (said,) = read(tmp_path, *values, ending=ending)
        assert found == [str(value) for value in values]
        assert f"column 'x' is read as text because of '{large}' in line " in said
        assert said.endswith("as a number it would lose digits")


def test_ints_that_are_all_too_large_are_said(tmp_path):
    """Beside them stands no number that is one."""
    ids = [(1 << 64) + 1, (1 << 64) + 3]
    found, said = read(tmp_path, *ids, ending="jsonl")
    assert found == [str(number) for number in ids]
    assert said == ["column 'x' is read as text: its 2 values are ints that do not fit into 64 bits"]


def test_an_int_that_is_too_large_leaves_other_columns(tmp_path, imported):
    """All networks come, with all other properties as numbers."""
    rows = [{"file": f"{n}.pt", "seed": n + (n << 70) + n % 2, "loss": n / 2} for n in range(3)]
    for row in rows:
        torch.save(factories.mlp().state_dict(), tmp_path / row["file"])
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.warns(UserWarning, match="column 'seed' is read as text because of"):
        zoo, skipped = imported("files", tmp_path, properties=tmp_path / "t.jsonl")
    assert (zoo.column("loss").tolist(), skipped) == ([0.0, 0.5, 1.0], {})


def test_a_missing_group_leaves_a_network_alone(tmp_path):
    """A dash for a training run is no run that networks share, and one for a split leaves the network unused."""
    (tmp_path / "t.csv").write_text("file,group,split\na.pt,-,train\nb.pt,n/a,NA\n")
    assert [(entry.group, entry.split) for entry in read_table(tmp_path / "t.csv")] == [(None, 0), (None, -1)]


def test_an_exported_text_comes_back_as_it_was(tmp_path):
    """An export leaves missing values empty: a dash, or a percentage, in it is a text."""
    head = "file,architecture,group,healthy,x,y"
    rows = ["a.pt,0123456789012345,g,true,-,91%", "b.pt,0123456789012345,g,true,NA,5%"]
    (tmp_path / "t.csv").write_text("\n".join([head, *rows]))
    found = [entry.properties for entry in read_table(tmp_path / "t.csv")]
    assert found == [{"x": "-", "y": "91%"}, {"x": "NA", "y": "5%"}]


def test_an_import_warns_of_a_column_that_became_text(tmp_path, imported):
    """The warning reaches whoever imports, and the column is text in the zoo."""
    torch.save(factories.mlp().state_dict(), tmp_path / "a.pt")
    torch.save(factories.mlp().state_dict(), tmp_path / "b.pt")
    (tmp_path / "t.csv").write_text("file,accuracy\na.pt,0.5\nb.pt,failed\n")
    with pytest.warns(UserWarning, match="column 'accuracy' is read as text because of 'failed' in line 3"):
        zoo, _ = imported("files", tmp_path, properties=tmp_path / "t.csv")
    assert zoo.typed_column("accuracy").kind == "string"
