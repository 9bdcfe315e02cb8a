"""compare: which cells are run, on which zoos, and what happens to those that fail."""

import json
import os
import shutil

import numpy as np
import pytest
from attrs import evolve

import sneframe
from sneframe.bench import charts, compare
from sneframe.config.schema import ZooConfig
from sneframe.config.suite import Built, Variation
from sneframe.engine import SerialEngine
from sneframe.errors import ConfigError, Interrupted, RunError, ZooError
from sneframe.progress import Reporter
from sneframe.train.data import load_data


def cells_in(folder):
    return {path: json.loads(path.read_text()) for path in sorted((folder / "cells").iterdir())}


def test_every_row_has_every_seed_and_the_same_networks(suite, ran, tmp_path):
    """Each recipe is run with each seed, and all are tested on the same networks."""
    result = compare(suite, tmp_path / "out")
    found = list(cells_in(tmp_path / "out").values())
    assert sorted((each["recipe"], each["seed"]) for each in found) == [
        ("sne/default", 0),
        ("sne/default", 1),
        ("stats/default", 0),
        ("stats/default", 1),
    ]
    assert len({tuple(each["tests"][0]["ids"]) for each in found}) == 1
    assert [(line.row, line.done, line.networks) for line in result.lines] == [
        ("stats/default", 2, 6),
        ("sne/default", 2, 6),
    ]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"cells", "two.html", "two.csv", "two.md"}


def test_a_cell_has_the_scores_of_its_run(suite, ran, tmp_path):
    """A cell holds the scores that a run of its configuration gives."""
    compare(suite, tmp_path / "out")
    metrics = sneframe.run(ran[0].config, tmp_path / "run", report=False).metrics
    cell = next(each for each in cells_in(tmp_path / "out").values() if each["key"] == ran[0].key)
    assert cell["tests"][0]["scores"] == metrics["test"]
    assert cell["val"] == metrics["val"]


def test_the_first_seed_of_all_rows_comes_first(suite, ran, tmp_path):
    """The first seed of every row is run before any second seed."""
    compare(suite, tmp_path / "out")
    assert [(cell.recipe, cell.config.seed) for cell in ran] == [
        ("stats/default", 0),
        ("sne/default", 0),
        ("stats/default", 1),
        ("sne/default", 1),
    ]


def test_a_finished_cell_is_never_run_again(suite, ran, tmp_path):
    """The same comparison again runs nothing and changes no cell."""
    first = compare(suite, tmp_path / "out")
    before = cells_in(tmp_path / "out")
    ran.clear()
    again = compare(suite, tmp_path / "out")
    assert ran == []
    assert again == first
    assert cells_in(tmp_path / "out") == before


def test_only_added_cells_are_run(suite, ran, row, tmp_path):
    """A comparison with more rows and seeds runs only the new cells."""
    compare(suite, tmp_path / "out")
    ran.clear()
    more = evolve(suite, rows=[*suite.rows, row("stats/mlp")], seeds=3)
    compare(more, tmp_path / "out")
    assert sorted((cell.recipe, cell.config.seed) for cell in ran) == [
        ("sne/default", 2),
        ("stats/default", 2),
        ("stats/mlp", 0),
        ("stats/mlp", 1),
        ("stats/mlp", 2),
    ]


@pytest.mark.parametrize(
    "change",
    [{"budget": 60.0}, {"overrides": ("train.epochs=1", "head.part=head/linear")}],
    ids=["budget", "option"],
)
def test_a_changed_configuration_is_another_cell(suite, ran, tmp_path, change):
    """Another budget or option makes another cell."""
    one = evolve(suite, rows=suite.rows[1:], seeds=1)
    compare(one, tmp_path / "out")
    compare(evolve(one, **change), tmp_path / "out")
    assert len(ran) == len(cells_in(tmp_path / "out")) == 2


def test_rows_that_are_one_configuration_are_one_cell(suite, ran, row, tmp_path):
    """Two rows with the same configuration have one cell."""
    rows = [row("stats/default", label="this"), row("stats/default", label="that")]
    result = compare(evolve(suite, rows=rows, seeds=1), tmp_path / "out")
    assert len(ran) == 1
    assert [line.done for line in result.lines] == [1, 1]


def test_the_budget_cuts_the_run(suite, ran, tmp_path):
    """The budget of a suite ends the training of each run."""
    compare(evolve(suite, budget=0.001, seeds=1, overrides=("train.epochs=9",)), tmp_path / "out")
    cell = next(each for each in cells_in(tmp_path / "out").values() if each["recipe"] == "sne/default")
    assert (cell["stopped_by"], cell["epochs"], cell["planned"]) == ("budget", 1, 9)
    assert "of 9 †" in (tmp_path / "out" / "two.md").read_text()


def test_a_split_that_a_recipe_brings_is_not_taken(suite, ran, row, tmp_path, monkeypatch):
    """All rows have the networks and the splits of the suite."""
    from sneframe_stats import recipes

    real = recipes.boosting
    monkeypatch.setattr(
        "sneframe.plugins.Registry.recipe",
        lambda self, name: lambda: evolve(real(), zoo=ZooConfig(sizes=(0.2, 0.2, 0.6), split_seed=9)),
    )
    compare(evolve(suite, rows=[row("stats/default")], seeds=1), tmp_path / "out")
    assert ran[0].config.zoo == ZooConfig(path=ran[0].config.zoo.path, property="scale")


# -- finished cells --------------------------------------------------------------------------------


class Lines(Reporter):
    """Keeps the lines that are reported."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def say(self, line):
        self.lines.append(line)


def edit(folder, recipe, change):
    """Change the data in the cell files of a recipe."""
    for path, data in cells_in(folder).items():
        if data["recipe"] == recipe:
            change(data)
            path.write_text(json.dumps(data))


def again(suite, folder, **options):
    """Compare once more, and return the lines that were reported."""
    lines = Lines()
    compare(suite, folder, reporter=lines, **options)
    return lines.lines


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Return the folder for a finished comparison, which the first test that needs it makes."""
    return tmp_path_factory.mktemp("kept") / "out"


@pytest.fixture
def finished(suite, ran, kept, tmp_path):
    """Return the suite of a finished comparison, and a copy of its folder."""
    if not kept.exists():
        compare(suite, kept)
        ran.clear()
    shutil.copytree(kept, tmp_path / "out")
    return suite, tmp_path / "out"


@pytest.fixture
def unrun(monkeypatch):
    """Let every cell fail at once, for tests of pages."""
    monkeypatch.setattr("sneframe.bench.schedule.run_cell", lambda *_, **__: {"failed": "not run"})


@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        ("version", "0.0.9", f"stats/default: plugin stats 0.0.9 → {sneframe.__version__}, run again"),
        ("source", "0" * 16, f"stats/default: plugin stats {sneframe.__version__}, its source, run again"),
    ],
)
def test_a_cell_of_another_version_or_source_is_run_again(finished, ran, entry, value, said):
    """One line per row says what changed; only the cells of that row are run."""
    suite, out = finished
    edit(out, "stats/default", lambda data: data["source"]["plugin stats"].update({entry: value}))
    lines = again(suite, out)
    assert lines[:2] == ["4 cells, 2 of them finished before", said]
    assert {cell.recipe for cell in ran} == {"stats/default"}
    ran.clear()
    assert again(suite, out)[0] == "4 cells, 4 of them finished before"
    assert ran == []


def test_a_change_in_sneframe_itself_runs_all_again(finished, ran):
    """A change in sneframe itself runs all cells again."""
    suite, out = finished
    for recipe in ("stats/default", "sne/default"):
        edit(out, recipe, lambda data: data["source"]["sneframe"].update(version="0.0.9"))
    assert f"sne/default: sneframe 0.0.9 → {sneframe.__version__}, run again" in again(suite, out)
    assert len(ran) == 4


def test_a_cell_that_does_not_say_what_made_it_is_used(finished, ran):
    """Cells without a record of their source are used, and a line counts them."""
    suite, out = finished
    edit(out, "stats/default", lambda data: data.pop("source"))
    lines = again(suite, out)
    assert "2 finished cells are used, although it is not recorded which code made them" in lines
    assert ran == []


def test_reuse_takes_cells_whatever_made_them(finished, ran):
    """With reuse, a table is made of the cells as they are, and none is run."""
    suite, out = finished
    edit(out, "stats/default", lambda data: data["source"]["plugin stats"].update(version="0.0.9"))
    lines = again(suite, out, reuse=True)
    assert "2 finished cells are used, although the code that made them has changed" in lines
    assert ran == []


def test_one_cell_is_used_and_two_are(finished):
    """The sentence about a single cell has its verb in the singular."""
    suite, out = finished

    def change(data):
        if data["seed"] == 0:
            data["source"]["plugin stats"].update(version="0.0.9")

    edit(out, "stats/default", change)
    lines = again(suite, out, reuse=True)
    assert "1 finished cell is used, although the code that made it has changed" in lines


def test_a_failed_cell_is_run_again_when_its_plugin_changed(finished, ran):
    """A failed cell is run again without --retry if its plugin has changed."""
    suite, out = finished

    def fail(data):
        data["failed"] = "a fault"
        data["source"]["plugin stats"]["source"] = "0" * 16

    edit(out, "stats/default", fail)
    again(suite, out)
    assert [cell.recipe for cell in ran] == ["stats/default"] * 2


def test_other_versions_of_libraries_are_said(finished, ran):
    """Cells made with other library versions are used, and a line counts them."""
    suite, out = finished
    edit(out, "stats/default", lambda data: data["versions"].update(torch="1.0"))
    assert "some finished cells were made with other library versions: 2 by torch 1.0" in again(suite, out)
    assert ran == []


@pytest.mark.parametrize("name", ["stats/default", "stats"])
def test_rerun_runs_the_cells_of_one_row(finished, ran, name):
    """A row is named by its label, its recipe, or the plugin of a default recipe."""
    suite, out = finished
    again(suite, out, rerun=[name])
    assert [(cell.recipe, cell.config.seed) for cell in ran] == [("stats/default", 0), ("stats/default", 1)]


def test_an_unknown_row_to_run_again_is_named(suite, ran, tmp_path):
    """An unknown row in rerun is an error, and nothing is run."""
    with pytest.raises(
        ConfigError, match="no row 'stats/defualt' to run again, did you mean 'stats/default'"
    ):
        compare(suite, tmp_path / "out", rerun=["stats/defualt"])
    assert ran == []


# -- pages -----------------------------------------------------------------------------------------


def pages_in(folder):
    return {path.name for path in folder.iterdir() if path.suffix == ".html"}


def test_the_page_of_other_methods_stays(suite, unrun, row, tmp_path):
    """Another set of rows gets its own page, and a line says so."""
    out = tmp_path / "out"
    first = compare(evolve(suite, seeds=1), out)
    before = first.html.read_text()
    other = evolve(suite, rows=[row("stats/mean")], seeds=1)
    lines = Lines()
    second = compare(other, out, reporter=lines)
    assert first.html.read_text() == before
    assert second.html.stem == second.csv.stem == second.markdown.stem
    assert (
        f"{out / 'two'}.html shows another comparison and is kept; this table is {second.html.stem}"
        in lines.lines
    )
    assert compare(other, out).html == second.html
    assert pages_in(out) == {"two.html", second.html.name}


def test_a_comparison_that_grows_keeps_its_page(suite, unrun, row, tmp_path):
    """More rows or seeds are added to the same page."""
    more = evolve(suite, rows=[*suite.rows, row("stats/mean")], seeds=1)
    for each in (evolve(suite, rows=suite.rows[:1], seeds=1), more, evolve(more, seeds=2)):
        assert compare(each, tmp_path / "out").html.name == "two.html"
    assert pages_in(tmp_path / "out") == {"two.html"}


@pytest.mark.parametrize(
    "change", [{"property": "label"}, {"overrides": ("train.epochs=2",)}, {"budget": 50.0}]
)
def test_other_settings_of_a_comparison_have_their_own_page(suite, unrun, row, tmp_path, change):
    """Another property, override or budget gives another page, because the numbers differ."""
    one = evolve(suite, rows=[row("stats/mean")], seeds=1)
    assert compare(one, tmp_path / "out").html != compare(evolve(one, **change), tmp_path / "out").html


def test_a_page_that_is_not_ours_stays(suite, unrun, row, tmp_path):
    """A file with the name of the page that is not a comparison is not overwritten."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "two.html").write_text("mine")
    compare(evolve(suite, rows=[row("stats/mean")], seeds=1), tmp_path / "out")
    assert (tmp_path / "out" / "two.html").read_text() == "mine"


# -- columns ---------------------------------------------------------------------------------------


def test_variations_override_rows(suite, ran, row, tmp_path):
    """The overrides of a variation win over those of the row."""
    variations = [Variation(label=f"{f:.0%}", overrides=f"zoo.train_fraction={f}") for f in (0.25, 1.0)]
    result = compare(
        evolve(suite, rows=[row("stats/default")], variations=variations, seeds=1), tmp_path / "out"
    )
    assert [(line.row, line.column, line.best) for line in result.lines] == [
        ("stats/default", "25%", True),
        ("stats/default", "100%", True),
    ]
    assert sorted(cell.config.zoo.train_fraction for cell in ran) == [0.25, 1.0]


# -- failures --------------------------------------------------------------------------------------


def test_a_missing_recipe_fails_alone(suite, ran, row, tmp_path):
    """A recipe that does not exist fails; the other rows are run."""
    rows = [row("nowhere/best"), row("stats/best"), row("stats/default", "head.leafs=3"), *suite.rows]
    result = compare(evolve(suite, rows=rows, seeds=1), tmp_path / "out")
    assert [line.done for line in result.lines] == [0, 0, 0, 1, 1]
    said = [line.failed[0] for line in result.lines[:3]]
    assert said[0].startswith("unknown plugin 'nowhere'")
    assert said[1].startswith("unknown recipe 'stats/best'")
    assert said[2].startswith("unknown key 'head.leafs'")
    assert "unknown plugin" in result.markdown.read_text()


def test_a_run_that_fails_stops_nothing_and_is_kept(suite, ran, row, tmp_path):
    """A run that fails while its model is built is kept as a failure, and the others are run."""
    bad = row("sne/default", "layer_encoder.heads=3", label="bad")
    broken = evolve(suite, rows=[bad, *suite.rows], seeds=1)
    result = compare(broken, tmp_path / "out")
    assert [line.done for line in result.lines] == [0, 1, 1]
    assert "heads must divide width" in result.lines[0].failed[0]
    ran.clear()
    again = compare(broken, tmp_path / "out")
    assert ran == []
    assert again.lines == result.lines
    compare(broken, tmp_path / "out", retry=True)
    assert [cell.config.layer_encoder.config.heads for cell in ran] == [3]


def test_a_damaged_cell_is_named(suite, ran, tmp_path):
    """A damaged cell ends the comparison with the name of its file."""
    compare(evolve(suite, seeds=1), tmp_path / "out")
    path = next(iter(cells_in(tmp_path / "out")))
    path.write_text("{")
    with pytest.raises(RunError, match=r"\.json: not JSON"):
        compare(evolve(suite, seeds=1), tmp_path / "out")


def test_ctrl_c_keeps_finished_cells(suite, ran, tmp_path, monkeypatch):
    """After Ctrl-C the finished cells and their table are there."""
    import sneframe.bench.schedule as module

    real = module.run_cell

    def interrupted(cell, note, **how):
        if len(ran) == 2:
            raise KeyboardInterrupt
        return real(cell, note, **how)

    monkeypatch.setattr(module, "run_cell", interrupted)
    with pytest.raises(Interrupted, match="finished cells are kept"):
        compare(suite, tmp_path / "out")
    assert len(cells_in(tmp_path / "out")) == 2
    assert "1 of 2 seeds are finished" in (tmp_path / "out" / "two.md").read_text()
    monkeypatch.setattr(module, "run_cell", real)
    ran.clear()
    result = compare(suite, tmp_path / "out")
    assert len(ran) == 2
    assert [line.done for line in result.lines] == [2, 2]


def test_leftovers_of_a_killed_writer_are_removed(suite, ran, tmp_path):
    """Temporary files of a killed writer are removed."""
    left = tmp_path / "out" / "cells" / ".stats-0.json.0123.tmp"
    left.parent.mkdir(parents=True)
    left.write_text("{")
    os.utime(left, (0, 0))
    another = left.with_name(".stats-1.json.0123.tmp")  # another command is writing it
    another.write_text("{")
    compare(evolve(suite, seeds=1), tmp_path / "out")
    assert (left.exists(), another.exists()) == (False, True)


def test_a_missing_zoo_ends_the_comparison(suite, tmp_path):
    """A zoo that does not exist ends the comparison before any cell is run."""
    with pytest.raises(ZooError, match="nowhere"):
        compare(evolve(suite, zoo="nowhere.zarr"), tmp_path / "out")


# -- from zoos to zoos -----------------------------------------------------------------------------


def test_one_training_is_tested_on_every_target(suite, ran, row, toy_zoo_path, other_zoo_path, tmp_path):
    """One model is tested on all zoos of --test."""
    rows = [row("sne/default"), row("dwsnet/default")]
    places = [toy_zoo_path, other_zoo_path]
    result = compare(evolve(suite, rows=rows, seeds=1), tmp_path / "out", train=places, test=places)
    assert len(ran) == 4
    assert [line.column for line in result.lines[::2]] == [
        "toy → toy",
        "toy → other",
        "other → toy",
        "other → other",
    ]
    by = {(line.row, line.column): line for line in result.lines}
    assert [by["sne/default", column].done for column in ("toy → other", "other → toy")] == [1, 1]
    refused = by["dwsnet/default", "toy → other"]
    assert (refused.done, refused.applicable) == (0, False)
    assert "1×5" in refused.failed[0]
    assert by["dwsnet/default", "toy → toy"].done == 1


def test_a_variation_has_its_own_matrix(suite, ran, row, toy_zoo_path, other_zoo_path, tmp_path):
    """With variations there is a matrix for each of them."""
    variations = [Variation(label=f"{f:.0%}", overrides=f"zoo.train_fraction={f}") for f in (0.5, 1.0)]
    crossed = evolve(suite, rows=[row("stats/pooled")], variations=variations, seeds=1)
    result = compare(crossed, tmp_path / "out", train=[toy_zoo_path], test=[other_zoo_path])
    assert [(line.within, line.column) for line in result.lines] == [
        ("50%", "50%, toy → other"),
        ("100%", "100%, toy → other"),
    ]


def test_a_source_is_tested_on_its_test_networks(suite, ran, row, toy_zoo_path, other_zoo_path, tmp_path):
    """Models train on the rest of a source; every network of another target is tested."""
    one = evolve(suite, rows=[row("sne/default")], seeds=1)
    config = sneframe.recipe("sne", f"zoo.path={other_zoo_path}", "zoo.property=scale").zoo
    expected = load_data(config, Reporter()).split.test.tolist()
    compare(one, tmp_path / "both", train=[toy_zoo_path, other_zoo_path], test=[toy_zoo_path, other_zoo_path])
    compare(one, tmp_path / "one", train=[toy_zoo_path], test=[other_zoo_path])
    digest = sneframe.open_zoo(other_zoo_path).digest
    both = [test for cell in cells_in(tmp_path / "both").values() for test in cell["tests"]]
    assert [test["ids"] for test in both if test["zoo"] == digest] == [expected, expected]
    (alone,) = cells_in(tmp_path / "one").values()
    assert alone["tests"][1]["ids"] == list(range(20))


def test_target_scores_are_those_of_the_model(suite, ran, row, toy_zoo_path, other_zoo_path, tmp_path):
    """The scores on a target are those of the model of that run."""
    from sneframe.run_folder.checkpoint import load_model

    one = evolve(suite, rows=[row("sne/default")], seeds=1)
    compare(one, tmp_path / "out", train=[toy_zoo_path], test=[other_zoo_path])
    run = sneframe.run(ran[0].config, tmp_path / "run", report=False)
    model, tasks, _ = load_model(run.folder / "best.safetensors")
    expected = tasks.main.predict(model(sneframe.open_zoo(other_zoo_path).load()).value)
    (cell,) = cells_in(tmp_path / "out").values()
    assert cell["tests"][1]["predicted"] == pytest.approx(expected.tolist(), rel=1e-5)


def test_a_target_without_the_property_is_refused(suite, ran, row, toy_zoo_path, tmp_path):
    """The error comes before any cell is run, and names the zoo and its properties."""
    from sneframe.testing import mlp
    from sneframe.zoo import create

    architecture = mlp(1, 4, 4, 1)
    with create(tmp_path / "bare.zarr", name="bare") as writer:
        weights = {p.name: np.ones((3, *p.shape)) for p in architecture.parameters}
        writer.append(architecture, weights, {"depth": [1.0, 2.0, 3.0]})
    one = evolve(suite, rows=[row("stats/default")], seeds=1)
    with pytest.raises(ZooError, match=r"bare\.zarr.*'scale'"):
        compare(one, tmp_path / "out", train=[toy_zoo_path], test=[tmp_path / "bare.zarr"])
    assert ran == []


def test_zoos_of_one_name_get_their_digest(suite, ran, row, toy_zoo_path, tmp_path):
    """Zoos whose folders have the same name are labelled with their digests."""
    from sneframe.testing import toy_zoo

    same = toy_zoo(tmp_path / "toy.zarr", seed=5)
    one = evolve(suite, rows=[row("stats/default")], seeds=1)
    result = compare(one, tmp_path / "out", train=[toy_zoo_path], test=[toy_zoo_path, same])
    assert len({line.column for line in result.lines}) == 2
    assert all(line.column.startswith("toy ") for line in result.lines)


def test_one_zoo_is_left_out_at_a_time(suite, ran, row, toy_zoo_path, other_zoo_path, tmp_path):
    """For each zoo a model is trained on all the others together."""
    from sneframe.testing import toy_zoo

    third = toy_zoo(tmp_path / "third.zarr", hidden=((3,),), networks=12, seed=2)
    places = [toy_zoo_path, other_zoo_path, third]
    one = evolve(suite, rows=[row("stats/pooled", "head.trees=2")], seeds=1)
    result = compare(one, tmp_path / "out", train=places, leave_one_out=True)
    assert [line.column for line in result.lines] == [
        "all but toy → toy",
        "all but other → other",
        "all but third → third",
    ]
    assert [line.networks for line in result.lines] == [len(sneframe.open_zoo(path)) for path in places]
    merged = {cell.zoo.label: sneframe.open_zoo(cell.zoo.path) for cell in ran}
    assert set(merged["all but other"].column("zoo")) == {"toy", "third"}
    assert len(merged["all but toy"]) == 20 + 12


def test_zoos_are_merged_once(suite, ran, row, toy_zoo_path, other_zoo_path, tmp_path):
    """A second comparison uses the merged zoos of the first."""
    from sneframe.testing import toy_zoo

    third = toy_zoo(tmp_path / "third.zarr", hidden=((3,),), networks=12, seed=2)
    places = [toy_zoo_path, other_zoo_path, third]
    one = evolve(suite, rows=[row("stats/pooled", "head.trees=2")], seeds=1)
    compare(one, tmp_path / "out", train=places, leave_one_out=True)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "zoos").iterdir()}
    compare(one, tmp_path / "out", train=places, leave_one_out=True)
    assert len(ran) == len(before) == 3
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "zoos").iterdir()} == before
    # Another zoo under an old name is another merge.
    changed = toy_zoo(tmp_path / "again" / "third.zarr", hidden=((3,),), networks=12, seed=3)
    compare(one, tmp_path / "out", train=[*places[:2], changed], leave_one_out=True)
    assert len(list((tmp_path / "out" / "zoos").iterdir())) == 5


def test_two_zoos_need_no_merge(suite, ran, row, toy_zoo_path, other_zoo_path, tmp_path):
    """With two zoos, each is trained on and the other is tested on, without a merge."""
    one = evolve(suite, rows=[row("stats/pooled", "head.trees=2")], seeds=1)
    result = compare(one, tmp_path / "out", train=[toy_zoo_path, other_zoo_path], leave_one_out=True)
    assert [line.column for line in result.lines] == ["all but toy → toy", "all but other → other"]
    assert [cell.zoo.path for cell in ran] == [other_zoo_path.resolve(), toy_zoo_path.resolve()]
    assert result.lines[1].networks == 20
    assert not (tmp_path / "out" / "zoos").exists()


def test_leaving_one_out_needs_two_zoos(suite, toy_zoo_path, other_zoo_path, tmp_path):
    """Fewer than two zoos, or zoos to test on, are refused."""
    with pytest.raises(ConfigError, match="no zoos to test on, but got 1 and 0"):
        compare(suite, tmp_path / "out", train=[toy_zoo_path], leave_one_out=True)
    with pytest.raises(ConfigError, match="got 2 and 1"):
        compare(
            suite,
            tmp_path / "out",
            train=[toy_zoo_path, other_zoo_path],
            test=[toy_zoo_path],
            leave_one_out=True,
        )
    with pytest.raises(ConfigError, match="is named twice; name each once"):
        compare(suite, tmp_path / "out", train=[toy_zoo_path, toy_zoo_path], leave_one_out=True)


def test_a_suite_names_its_own_zoos(suite, ran, row, toy_zoo_path, other_zoo_path, tmp_path):
    """A suite may name the zoos to train on and to test on, and those of the caller replace them."""
    one = evolve(
        suite,
        rows=[row("stats/pooled", "head.trees=2")],
        seeds=1,
        zoo=None,
        train=[str(toy_zoo_path)],
        test=[str(other_zoo_path)],
        note="These are toys.",
    )
    result = compare(one, tmp_path / "out")
    assert [line.column for line in result.lines] == ["toy → other"]
    assert "- Note: These are toys." in result.markdown.read_text()
    swapped = compare(one, tmp_path / "other", train=[other_zoo_path], test=[toy_zoo_path])
    assert [line.column for line in swapped.lines] == ["other → toy"]


def test_a_suite_trains_on_zoos_together(suite, ran, row, toy_zoo_path, other_zoo_path, tmp_path):
    """One model is trained on all zoos, and tested on the test networks of all. Cells keep a map of them."""
    one = evolve(
        suite,
        rows=[row("sne/default")],
        seeds=1,
        zoo=None,
        train=[str(toy_zoo_path), str(other_zoo_path)],
        together=True,
        overrides=(*suite.overrides, 'zoo.show=["zoo"]', "zoo.sizes=[0.5,0.2,0.3]"),
    )
    result = compare(one, tmp_path / "out")
    (line,) = result.lines
    assert (line.column, len(ran)) == ("", 1)
    assert set(line.test.shown["zoo"]) == {"toy", "other"}
    assert len(charts.maps(line, "m")) == 1
    assert line.test.map.shape == (line.networks, 2)
    assert (line.test.map.min(0).tolist(), line.test.map.max(0).tolist()) == ([0, 0], [1, 1])


# -- a zoo that is built ---------------------------------------------------------------------------


def test_the_zoo_of_a_suite_is_built_once(suite, ran, row, tmp_path, monkeypatch):
    """The zoo of a suite is built by the first comparison and used by the second."""
    monkeypatch.setattr("sneframe.bench.build.make_engine", lambda name: SerialEngine())
    zoo = Built(builder="zoos/sine", options={"networks": 24, "widths": (3,), "steps": 2})
    one = evolve(suite, rows=[row("stats/default")], seeds=1, zoo=zoo, property="frequency")
    compare(one, tmp_path / "out", zoos=tmp_path / "zoos")
    (path,) = (tmp_path / "zoos").iterdir()
    before = path.stat().st_mtime_ns
    assert len(sneframe.open_zoo(path)) == 24
    compare(evolve(one, seeds=2), tmp_path / "out", zoos=tmp_path / "zoos")
    assert [each.stat().st_mtime_ns for each in (tmp_path / "zoos").iterdir()] == [before]
    compare(
        evolve(one, zoo=evolve(zoo, options={**zoo.options, "seed": 1})),
        tmp_path / "out",
        zoos=tmp_path / "zoos",
    )
    assert len(list((tmp_path / "zoos").iterdir())) == 2


def test_an_unknown_builder_option_is_one_line(suite, tmp_path):
    """An option that the builder does not have is an error of one line."""
    zoo = Built(builder="zoos/sine", options={"network": 24})
    with pytest.raises(sneframe.errors.ConfigError, match=r"zoo 'zoos/sine': .*'network'"):
        compare(evolve(suite, zoo=zoo), tmp_path / "out", zoos=tmp_path)


def test_a_category_is_compared_by_its_accuracy(suite, ran, row, tmp_path):
    """Rows of a category are ordered by accuracy, and the Brier score is shown."""
    from sneframe.testing import toy_zoo

    zoo = toy_zoo(tmp_path / "two.zarr", hidden=((4, 4), (5,)))
    rows = [row("stats/default", "head.min_leaf=3")]
    one = evolve(suite, rows=rows, zoo=str(zoo), property="label", metric="accuracy", seeds=1)
    (line,) = compare(one, tmp_path / "out").lines
    (cell,) = cells_in(tmp_path / "out").values()
    accuracy = np.mean(np.array(cell["tests"][0]["true"]) == np.array(cell["tests"][0]["predicted"]))
    assert line.scores["accuracy"].mean == pytest.approx(accuracy)
    assert line.scores["accuracy"].interval is not None
    assert (line.scores["tau"], line.scores["r2"]) == (None, None)
    assert "accuracy" in (tmp_path / "out" / "two.md").read_text()
