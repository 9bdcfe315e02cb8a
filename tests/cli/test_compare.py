"""``sneframe compare``: its options, its errors, what it prints."""

import pytest

from sneframe.bench import schedule
from sneframe.cli import main
from sneframe.testing import toy_zoo


@pytest.fixture
def asked(monkeypatch):
    """Fail every cell at once, and remember it."""
    found = []

    def run(cell, note, *, threads):
        found.append(cell)
        return {"failed": "not run"}

    monkeypatch.setattr(schedule, "run_cell", run)
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    toy_zoo(tmp_path / "toy.zarr")
    toy_zoo(tmp_path / "other.zarr", seed=1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as left:
        main(["compare", *arguments])
    out, err = capsys.readouterr()
    return left.value.code, out, err


def test_recipes_seeds_budget_and_keys(capsys, here, asked):
    """The options of compare become a suite."""
    words = ("--recipes", "stats,sne", "--zoo", "toy.zarr", "--property", "scale", "--budget", "1.5m")
    call(capsys, *words, "--seeds", "2", "--set", "train.epochs=7", "--set", "zoo.split_seed=4")
    assert [(cell.recipe, cell.config.seed) for cell in asked] == [
        ("stats/default", 0),
        ("sne/default", 0),
        ("stats/default", 1),
        ("sne/default", 1),
    ]
    config = asked[0].config
    assert (config.train.budget, config.train.epochs, config.zoo.split_seed) == (90.0, 7, 4)
    assert config.zoo.property == "scale"
    assert (here / "compare" / "recipes.html").exists()


def test_markdown_is_all_that_standard_output_holds(capsys, here, asked):
    """--markdown prints the page recipes.md to standard output, and messages to standard error."""
    words = ("--recipes", "stats/mean", "--zoo", "toy.zarr", "--property", "scale", "--seeds", "1")
    _, out, err = call(capsys, *words, "--markdown")
    assert out == (here / "compare" / "recipes.md").read_text()
    assert out.startswith("# stats/mean\n")
    assert "recipes.html" in " ".join(err.split())


def test_finished_cells_are_shown_without_their_zoo(capsys, here, asked):
    """--finished runs nothing, writes nothing, and needs no zoo."""
    words = ("--recipes", "stats/mean", "--property", "scale", "--seeds", "1")
    call(capsys, *words, "--zoo", "toy.zarr")
    before = sorted(path.name for path in here.rglob("*"))
    (here / "toy.zarr").rename(here / "away")
    for more in ((), ("--recipes", "stats/mean")):
        code, out, _ = call(capsys, "--finished", "--markdown", *more)
        assert (code, len(asked)) == (0, 1)
        assert "- stats/mean: " in out
        assert "not run" in out
    assert "toy.zarr" in before
    assert len(sorted(here.rglob("*"))) == len(before)
    code, _, err = call(capsys, "--finished", "--out", "nowhere")
    assert (code, err.strip()) == (2, "error: nowhere: holds no finished cells")


@pytest.mark.parametrize(
    "words", [("--zoo", "toy.zarr"), ("--seeds", "2"), ("--retry",), ("--set", "seed=1")], ids=" ".join
)
def test_finished_refuses_what_it_would_ignore(capsys, here, asked, words):
    """Options that run cells or choose zoos do not go together with --finished."""
    code, _, err = call(capsys, "--finished", *words)
    assert code == 2
    assert f"--finished runs nothing and reads no zoo; leave out {words[0]}" in err


def test_a_suite_of_several_zoos_takes_no_single_zoo(capsys, here, asked):
    """--zoo cannot replace the zoos of a suite that trains on several."""
    code, _, err = call(capsys, "--suite", "paper-table-5", "--zoo", "toy.zarr")
    assert code == 2
    assert "suite 'paper-table-5' trains on several zoos; name yours with --train and --test" in err


@pytest.mark.parametrize(("word", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("0.5h", 1800)])
def test_a_budget_has_a_unit(capsys, here, asked, word, seconds):
    """--budget takes seconds, minutes and hours."""
    call(capsys, "--recipes", "stats", "--zoo", "toy.zarr", "--budget", word)
    assert asked[0].config.train.budget == seconds


def test_train_and_test_are_zoos(capsys, here, asked):
    """--train and --test take zoos."""
    words = ("--recipes", "stats", "--train", "toy.zarr,other.zarr", "--test", "other.zarr", "--seeds", "1")
    call(capsys, *words, "--no-references")
    assert [(cell.zoo.label, [t.zoo.label for t in cell.targets]) for cell in asked] == [
        ("toy", ["other"]),
        ("other", []),
    ]


@pytest.mark.parametrize(
    ("words", "recipes"),
    [
        (("--zoo", "toy.zarr"), ["stats/default"]),
        (("--zoo", "toy.zarr", "--references"), ["stats/default", "stats/pooled", "stats/mean"]),
        (("--train", "toy.zarr"), ["stats/default", "stats/pooled", "stats/mean"]),
        (("--train", "toy.zarr", "--no-references"), ["stats/default"]),
    ],
)
def test_references_are_added_when_zoos_differ(capsys, here, asked, words, recipes):
    """Reference methods are added when training and test zoos differ."""
    call(capsys, "--recipes", "stats", *words, "--seeds", "1")
    assert [cell.recipe for cell in asked] == recipes


def test_a_reference_that_is_a_row_already_is_not_run_twice(capsys, here, asked):
    """A reference that is already a row is not run twice."""
    call(capsys, "--recipes", "stats/mean,stats", "--train", "toy.zarr", "--seeds", "1")
    assert [cell.recipe for cell in asked] == ["stats/mean", "stats/default", "stats/pooled"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--recipes", "stats,sne,stats"), "to compare: 'stats' is named twice"),
        (("--recipes", "stats,stats/default"), "to compare: 'stats/default' and 'stats' are the same"),
        (("--suite", "sne-chunk-size", "--recipes", "C = 8,C = 8"), "to compare: 'C = 8' is named twice"),
        (
            ("--recipes", "stats", "--train", "toy.zarr,./toy.zarr"),
            "to train on: './toy.zarr' and 'toy.zarr' are the same",
        ),
        (
            ("--recipes", "stats", "--train", "toy.zarr", "--test", "other.zarr,other.zarr"),
            "to test on: 'other.zarr' is named twice",
        ),
        (
            ("--recipes", "stats", "--zoo", "toy.zarr", "--rerun", "stats", "--rerun", "stats/default"),
            "to run again: 'stats/default' and 'stats' are the same",
        ),
    ],
)
def test_what_is_named_twice_is_refused(capsys, here, asked, words, said):
    """A row or a zoo that comes twice is rather a slip, as another may be missing; nothing is run."""
    code, _, err = call(capsys, *words)
    assert (code, asked) == (2, [])
    assert said in err


def test_each_zoo_is_left_out_in_turn(capsys, here, asked):
    """--leave-one-out leaves each zoo out in turn."""
    words = ("--train", "toy.zarr,other.zarr", "--leave-one-out", "--seeds", "1", "--no-references")
    call(capsys, "--recipes", "stats", *words)
    assert [(cell.zoo.label, [t.zoo.label for t in cell.targets]) for cell in asked] == [
        ("all but toy", ["toy"]),
        ("all but other", ["other"]),
    ]


def test_a_suite_runs_on_an_existing_zoo(capsys, here, asked):
    """A suite runs on the zoo that is given."""
    words = (
        "--suite",
        "sne-chunk-size",
        "--zoo",
        "toy.zarr",
        "--property",
        "scale",
        "--set",
        "zoo.sizes=[0.6,0.2,0.2]",
    )
    call(capsys, *words, "--recipes", "C = 8,C = 16", "--out", "out")
    assert [cell.config.tokenizer.config.chunk_size for cell in asked] == [8, 16]
    assert [cell.config.train.budget for cell in asked] == [300, 300]
    assert (here / "out" / "sne-chunk-size.md").exists()


def test_when_every_cell_fails_the_command_does(capsys, here, asked):
    """The command fails if all cells fail."""
    code, out, err = call(capsys, "--recipes", "stats", "--zoo", "toy.zarr")
    assert code == 1
    assert err == "error: every cell failed, the first of stats/default: not run\n"
    assert "stats/default: failed: not run" in out
    assert (here / "compare" / "recipes.html").exists()


def test_a_cell_that_fails_among_others_is_exit_code_1(capsys, here, monkeypatch):
    """The table is written, with the reason, and a script learns that it is not whole."""
    real = schedule.run_cell
    monkeypatch.setattr(
        schedule,
        "run_cell",
        lambda cell, note, **how: (
            {"failed": "no luck"} if cell.recipe == "stats/pooled" else real(cell, note, **how)
        ),
    )
    code, out, err = call(capsys, "--recipes", "stats/mean,stats/pooled", "--zoo", "toy.zarr", "--seeds", "1")
    assert (code, err) == (1, "error: cells failed, the first of stats/pooled: no luck\n")
    assert "stats/pooled: failed: no luck" in out
    assert out.splitlines()[-1] == "table: compare/recipes.html"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--recipes", "stats,snee"), "unknown plugin 'snee', did you mean 'sne'?"),
        (("--recipes", "stats,stats/best"), "unknown recipe 'stats/best'"),
        (
            ("--recipes", "stats", "--set", "train.epoch=3"),
            "unknown key 'train.epoch', did you mean 'epochs'?",
        ),
        (("--recipes", "stats", "--property", "nope"), "'nope'"),
        (("--recipes", "stats", "--property", ""), "'property' must not be empty"),
        (("--recipes", "stats", "--set", 'zoo.show=["nope"]'), "'nope'"),
        (("--recipes", "stats", "--set", "zoo.where=scale > 1e9"), "matches zoo.where"),
        (
            ("--recipes", "stats", "--rerun", "sne"),
            "there is no row 'sne' to run again, known: stats/default",
        ),
    ],
)
def test_what_would_end_every_cell_is_found_before_the_first(capsys, here, asked, words, said):
    """A typo is exit code 2, and nothing is run for it."""
    code, _, err = call(capsys, *words, "--zoo", "toy.zarr", "--seeds", "1")
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1
    assert asked == []


def test_quiet_prints_nothing(capsys, here, asked):
    """compare --quiet prints nothing."""
    assert call(capsys, "--recipes", "stats", "--zoo", "toy.zarr", "--quiet")[1] == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "error: name what to compare, with --suite inr-frequency or --recipes"),
        (
            ["--suite", "inr-frequenzy"],
            "error: unknown suite 'suites/inr-frequenzy', did you mean 'suites/inr-frequency'",
        ),
        (["--suite", "nowhere/x"], "error: unknown plugin 'nowhere'"),
        (
            ["--suite", "sne-ablation", "--recipes", "dwsnet"],
            "error: suite 'suites/sne-ablation' has no row 'dwsnet'",
        ),
        (["--recipes", "stats", "--zoo", "nowhere.zarr"], "error: "),
        (["--recipes", "stats", "--zoo", "a.zarr", "--train", "b.zarr"], "leave out --zoo"),
        (["--recipes", "stats", "--test", "b.zarr"], "--test needs something to train on"),
        (["--recipes", "stats", "--budget", "soon"], "'soon' is not a time such as 90s, 10m or 1h"),
        (["--recipes", "stats", "--budget", "0m"], "'0m' is not a time"),
        (["--recipes", ""], "the list is empty; leave the option out instead"),
        (["--suite", "sne-ablation", "--recipes", " , "], "the list is empty; leave the option out instead"),
        (["--recipes", "stats", "--train", ""], "the list is empty; leave the option out instead"),
        (["--recipes", "stats", "--seeds", "0"], "0 is not in the range x>=1"),
    ],
)
def test_wrong_input_is_one_line(capsys, tmp_path, monkeypatch, arguments, said):
    """Wrong input gives one line."""
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert said in err
    assert len(err.splitlines()) == 1
