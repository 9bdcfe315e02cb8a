"""``sneframe adapt`` prints what it compared and what it kept, and its errors are one line."""

import numpy as np
import pytest

import sneframe
from sneframe.cli import main
from sneframe.compose import recipe
from sneframe.testing import toy_zoo


@pytest.fixture
def call(capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in arguments])
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return run


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapt")
    zoo = toy_zoo(folder / "first.zarr", networks=80, seed=0)
    config = recipe("stats/ridge", f"zoo.path={zoo}", "zoo.property=scale", "device=cpu")
    return sneframe.run(config, folder / "run", report=False).folder


@pytest.fixture
def zoo(tmp_path):
    return toy_zoo(tmp_path / "second.zarr", networks=40, seed=1)


def test_it_prints_adjustments_and_scores(call, parent, zoo, tmp_path):
    """Each adjustment with its error, the scores before and after, and the folder."""
    code, out, _ = call("adapt", parent, zoo, "--networks", 8, "--out", tmp_path / "new", "--no-report")
    assert code == 0
    assert all(word in out for word in ("nothing", "affine", "kept", "before", "after", "8 labelled"))
    assert f"run folder: {tmp_path / 'new'}" in out
    assert not (tmp_path / "new" / "report.html").exists()


def test_a_report_is_drawn_by_default(call, parent, zoo, tmp_path):
    """It is in the new folder; with --quiet nothing is printed."""
    code, out, _ = call("adapt", parent, zoo, "--out", tmp_path / "new", "--quiet")
    assert (code, out) == (0, "")
    assert (tmp_path / "new" / "report.html").exists()


def test_the_folder_is_the_next_free_one(call, parent, zoo, tmp_path, monkeypatch):
    """Without --out the folder is named after the recipe."""
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        assert call("adapt", parent, zoo, "--quiet", "--no-report")[0] == 0
        assert (tmp_path / "runs" / f"stats-ridge-adapted-{number:03d}" / "metrics.json").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--networks", 2), "at least 3 labelled networks, but got 2"),
        (("--networks", 41), "needs 41 labelled networks"),
        (("--labelled", "height > 3"), "height"),
        (("--where", "scale > 1e9"), "matches zoo.where"),
        (("--seed", -1), "--seed"),
    ],
)
def test_wrong_input_is_one_line(call, parent, zoo, options, said):
    code, out, err = call("adapt", parent, zoo, *options, "--quiet")
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert said in err


def test_predict_takes_the_new_run(call, parent, zoo, tmp_path):
    """The values are those of the new run, and its test error is printed with them."""
    import torch

    weights = sneframe.open_zoo(zoo).load().networks[0].parameters()
    torch.save({name: values[0].clone() for name, values in weights.items()}, tmp_path / "net.pt")
    call("adapt", parent, zoo, "--out", tmp_path / "new", "--quiet", "--no-report")
    code, out, _ = call("predict", tmp_path / "new", tmp_path / "net.pt")
    tested = sneframe.load(tmp_path / "new").tested["scale"]
    assert code == 0
    assert f"scale: {tested.line}" in out
    assert "no 90 % intervals: the run has no calibration.json, as adapted runs" in out
    assert tested.networks == 30
    assert np.isfinite(tested.value)
