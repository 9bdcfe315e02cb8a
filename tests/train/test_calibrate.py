"""A run calibrates intervals and measures their coverage. Asking about each network gives the same."""

import csv
import json

import numpy as np
import pytest

import sneframe
from sneframe.run_folder.calibration import read_calibration
from sneframe.testing import mlp, toy_zoo
from sneframe.zoo import create, open_zoo
from sneframe.zoo.splits import TEST, TRAIN, VAL

pytestmark = pytest.mark.filterwarnings("ignore::sneframe.predict.prediction.DoubtWarning")

PROPERTIES = ("scale", "kind", "bounded")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """Sixty runs of one to four checkpoints. Some networks of validation and test have far larger weights."""
    generator, architecture = np.random.default_rng(0), mlp(1, 4, 4, 1)
    group = np.repeat(np.arange(60), generator.integers(1, 5, 60))
    scale = generator.uniform(0.5, 2.0, 60)[group] * generator.uniform(0.9, 1.1, len(group))
    wild = np.where((group >= 30) & (generator.uniform(size=len(group)) < 0.15), 100.0, 1.0)
    weights = {
        p.name: (generator.standard_normal((len(group), *p.shape)).T * scale * wild).T.astype(np.float32)
        for p in architecture.parameters
    }
    kind = np.where(scale + generator.normal(0, 0.4, len(group)) > 1.2, "large", "small")
    path = tmp_path_factory.mktemp("zoo") / "runs.zarr"
    with create(path, name="runs", description="random MLPs") as writer:
        properties = {"scale": scale, "kind": kind, "bounded": (scale - 0.4) / 2}
        writer.append(architecture, weights, properties, group=group)
        writer.split("by-run", np.where(group < 30, TRAIN, np.where(group % 2, VAL, TEST)))
    return path


def run(zoo, folder, *words, recipe="stats/ridge"):
    config = sneframe.recipe(recipe, f"zoo.path={zoo}", "zoo.property=scale", "device=cpu", *words)
    return sneframe.run(config, folder, report=False).folder


@pytest.fixture(scope="module")
def finished(zoo, tmp_path_factory):
    words = ('zoo.also=["kind", "bounded"]', "zoo.split=by-run")
    return run(zoo, tmp_path_factory.mktemp("runs") / "run", *words)


@pytest.fixture(scope="module")
def asked(zoo, finished):
    """The rows of predictions.csv, each with the prediction of the run for that network."""
    predictor, batch = sneframe.load(finished), open_zoo(zoo).load()
    with (finished / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    networks = [batch.select([int(row["id"])]).networks[0].parameters() for row in rows]
    states = [{name: value[0] for name, value in parameters.items()} for parameters in networks]
    return list(zip(rows, predictor.predict_all(states), strict=True))


def intervals(folder):
    metrics = json.loads((folder / "metrics.json").read_text())
    return {name: each["intervals"] for name, each in {"scale": metrics, **metrics["also"]}.items()}


def true_of(row, name):
    text = row["true" if name == "scale" else f"true {name}"]
    return text if name == "kind" else float(text)


@pytest.mark.parametrize("name", PROPERTIES)
def test_the_coverage_is_that_of_the_intervals_of_predict(finished, asked, name):
    """Each run group has the same weight. Networks without an interval do not count."""
    hits, widths = {}, {}
    for row, found in asked:
        interval = found.intervals[name]
        if row["split"] != "test" or interval.reason is not None:
            continue
        true = true_of(row, name)
        hit = true in interval.labels if name == "kind" else interval.low <= true <= interval.high
        hits.setdefault(row["group"], []).append(hit)
        width = len(interval.labels) if name == "kind" else interval.high - interval.low
        widths.setdefault(row["group"], []).append(width)
    measured = intervals(finished)[name]
    assert measured["level"] == 0.9
    assert measured["coverage"] == pytest.approx(np.mean([np.mean(each) for each in hits.values()]))
    assert measured["width"] == pytest.approx(np.mean([np.mean(each) for each in widths.values()]))
    assert measured["networks"] == sum(map(len, hits.values()))
    assert measured["groups"] == len(hits) > 10
    calibrating = {row["group"] for row, found in asked if row["split"] == "val" and not found.doubtful}
    assert measured["calibration_groups"] == len(calibrating) > 10


def test_doubtful_networks_neither_calibrate_nor_count(finished, asked):
    """They are the networks without an interval, and there are some in validation and in test."""
    doubtful = {part: [] for part in ("val", "test")}
    for row, found in asked:
        assert found.doubtful == (found.intervals["scale"].reason is not None)
        doubtful[row["split"]].append(found.doubtful)
    calibration = read_calibration(finished / "calibration.json", PROPERTIES)
    assert calibration.left_out == sum(doubtful["val"]) > 0
    assert len(calibration.group) == len(doubtful["val"]) - sum(doubtful["val"])
    assert intervals(finished)["scale"]["left_out"] == sum(doubtful["test"]) > 0


def test_the_scores_are_the_errors_over_the_spread(finished, asked):
    """The spread is 1 + the distance that predict shows. Categories have no spread."""
    calibration = read_calibration(finished / "calibration.json", PROPERTIES)
    kept = [(row, found) for row, found in asked if row["split"] == "val" and not found.doubtful]
    expected = [
        abs(float(row["true"]) - float(row["predicted"])) / (1 + found.distance) for row, found in kept
    ]
    np.testing.assert_allclose(calibration.scores_of("scale"), expected, rtol=1e-5)
    missed = [1 - float(row["probability kind"]) for row, _ in kept]
    np.testing.assert_allclose(calibration.scores_of("kind"), missed, rtol=1e-5, atol=1e-7)
    groups = [row["group"] for row, _ in kept]
    assert len(set(zip(groups, calibration.group, strict=True))) == len(set(groups)) == calibration.groups


def test_a_bounded_property_has_intervals_within_its_bounds(asked):
    """Ridge regression learns a fraction as a number between 0 and 1."""
    found = [each.intervals["bounded"] for _, each in asked if not each.doubtful]
    assert min(each.low for each in found) == 0
    assert max(each.high for each in found) <= 1


def test_another_level_is_asked_in_python(zoo, finished):
    """A higher level gives a wider interval for the same prediction."""
    predictor = sneframe.load(finished)
    weights = open_zoo(zoo).load().select([0]).networks[0].parameters()
    state = {name: value[0] for name, value in weights.items()}
    low, high = (predictor.predict(state, level=level).intervals["scale"] for level in (0.5, 0.93))
    assert high.low < low.low < low.high < high.high
    assert (low.level, high.level) == (0.5, 0.93)


def test_too_few_validation_networks_give_a_reason(tmp_path):
    """Six validation networks calibrate no 90 % interval, but one of 80 %."""
    path = toy_zoo(tmp_path / "toy.zarr")
    folder = run(path, tmp_path / "run", "zoo.sizes=[24, 6, 10]")
    found = intervals(folder)["scale"]
    assert (found["coverage"], found["width"], found["chance"]) == (None, None, None)
    left = read_calibration(folder / "calibration.json", ("scale",)).left_out
    doubtful = f" ({left} networks are doubtful)" if left else ""
    said = f"a 90 % interval needs 9 run groups of validation networks, but got {6 - left}{doubtful}"
    assert found["reason"] == said


def test_test_networks_of_another_depth_have_no_intervals(tmp_path):
    """All of them are doubtful, so there is no coverage."""
    generator = np.random.default_rng(0)
    with create(tmp_path / "z.zarr", name="depths") as writer:
        for widths, networks in (((4, 4), 60), ((4, 4, 4), 10)):
            architecture = mlp(1, *widths, 1)
            weights = {
                p.name: generator.standard_normal((networks, *p.shape)) for p in architecture.parameters
            }
            scale = generator.uniform(1, 2, networks)
            writer.append(architecture, weights, {"scale": scale})
        writer.split("depth", np.repeat([TRAIN, VAL, TEST], [40, 20, 10]))
    folder = run(tmp_path / "z.zarr", tmp_path / "run", "zoo.split=depth", recipe="stats/pooled")
    found = intervals(folder)["scale"]
    assert (found["networks"], found["left_out"], found["coverage"]) == (0, 10, None)
    assert found["reason"] == "all 10 test networks are doubtful"


def test_without_distances_the_scores_are_plain_errors(tmp_path):
    """Five training networks are too few for distances."""
    folder = run(
        toy_zoo(tmp_path / "toy.zarr"), tmp_path / "run", "zoo.sizes=[5, 20, 10]", recipe="stats/mean"
    )
    calibration = read_calibration(folder / "calibration.json", ("scale",))
    assert not calibration.scaled
    with (folder / "predictions.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    expected = [abs(float(row["true"]) - float(row["predicted"])) for row in rows]
    assert calibration.left_out == 0
    np.testing.assert_allclose(calibration.scores_of("scale"), expected, rtol=1e-9)


def test_an_older_run_has_no_intervals(zoo, finished, tmp_path):
    """A folder without calibration.json is read, and predictions say that there is none."""
    for name in ("best.safetensors", "metrics.json", "embeddings.safetensors", "training.json"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for each in (metrics, *metrics["also"].values()):
        del each["intervals"]
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    weights = open_zoo(zoo).load().select([0]).networks[0].parameters()
    found = sneframe.load(tmp_path).predict({name: value[0] for name, value in weights.items()})
    assert found.intervals["scale"].reason.startswith("the run has no calibration.json")
    assert found.tested["scale"].coverage is None
    assert np.isfinite(found.values["scale"])
