"""Define ``sneframe predict RUN FILE…``, which predicts the properties of networks with a finished run."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sneframe.cli.engines import engine_of, engine_options
from sneframe.cli.networks import PATH, file_options, load_run

if TYPE_CHECKING:
    from sneframe.predict.interval import PredictionInterval
    from sneframe.predict.prediction import Prediction
    from sneframe.predict.predictor import Predictor


@click.command()
@click.argument("run", type=PATH)
@click.argument("files", type=PATH, nargs=-1, required=True)
@click.option(
    "--level",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="The probability with which an interval contains the true value.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list instead of a table.")
@engine_options("files are read")
@file_options
def predict(
    run: Path,
    files: tuple[Path, ...],
    *,
    level: float,
    as_json: bool,
    engine: str,
    workers: int | None,
    address: str | None,
    **options: Any,
) -> None:
    """Predict the properties of the networks in FILES with the finished run RUN.

    Each number is shown with the run's error on its test networks, and with an interval that contains the
    true value with the probability --level. If a network is unlike all training networks, its numbers are
    marked, they have no interval, and a warning says how the network differs.

    FILES may be folders, which are searched for networks, and folders of one network. If a file cannot be
    read, an error names the file, and the other files are still predicted. The exit code is then 2.
    """
    from sneframe.errors import FileError, printable
    from sneframe.predict.doubt import in_words
    from sneframe.predict.many import Asked, answers
    from sneframe.predict.prediction import DoubtWarning

    where = engine_of(engine, workers, address)
    predictor = load_run(run, **options)
    found: list[Prediction] = []
    failed: list[str] = []
    asked = Asked(run=run, options=options, level=level)
    for each in answers(list(_expanded(predictor, files, failed)), asked, where, predictor):
        for category, line in each.warned:
            if not issubclass(category, DoubtWarning):  # doubts are shown below the table
                warnings.warn(line, category, stacklevel=2)
        if each.prediction is not None:
            found.append(each.prediction)
        elif each.failed is not None:
            failed.append(each.failed)
    if as_json:
        click.echo(json.dumps([_plain(each) for each in found], indent=2, allow_nan=False))
    elif found:
        _show(found, predictor.properties, level)
    for prediction in found:
        if prediction.doubts:
            word = "warning" if prediction.doubtful else "note"
            click.echo(printable(f"{word}: {prediction.source}: {in_words(prediction.doubts)}"), err=True)
    if failed:
        for line in failed[:-1]:
            click.echo(printable(f"error: {line}"), err=True)
        raise FileError(failed[-1])


def _expanded(predictor: Predictor, files: Sequence[Path], failed: list[str]) -> Iterator[Path]:
    """Yield the paths of the networks in files and folders.

    A folder without a network is added to ``failed``, with the reason.
    """
    from sneframe.errors import FileError
    from sneframe.files.paths import paths_at

    for file in files:
        try:
            yield from paths_at(file, predictor.reader.readers)
        except FileError as error:
            failed.append(str(error))


def _plain(prediction: Prediction) -> dict[str, Any]:
    import attrs

    from sneframe.zoo.column import finite_or_none

    tested = {name: prediction.tested.get(name) for name in prediction.values}
    return {
        "source": prediction.source,
        "values": {name: finite_or_none(value) for name, value in prediction.values.items()},
        "intervals": {name: attrs.asdict(each) for name, each in prediction.intervals.items()},
        "tested": {name: None if each is None else attrs.asdict(each) for name, each in tested.items()},
        "doubtful": prediction.doubtful,
        "verdict": prediction.verdict,
        "doubts": [attrs.asdict(doubt) for doubt in prediction.doubts],
        "distance": finite_or_none(prediction.distance),
        "far": prediction.far,
        "unseen": list(prediction.unseen),
        "symmetry": prediction.symmetry,
        "sampled": prediction.sampled,
    }


def _show(found: Sequence[Prediction], properties: Sequence[str], level: float) -> None:
    from sneframe.cli.terminal import say
    from sneframe.predict.conformal import percent

    columns = {name: [_cell(each, name) for each in found] for name in properties}
    pairs = [(each, name) for each in found for name in properties]
    ends = _ends([each.intervals[name] for each, name in pairs], percent(level))
    distances = {"distance": ["–" if each.distance is None else f"{each.distance:.2f}" for each in found]}
    networks = {"network": [each.source for each in found]}
    _print({**networks, **columns, **(ends if len(properties) == 1 else {}), **distances})
    if len(properties) > 1 and ends:  # in one table, they would be too wide for a terminal
        _print(
            {
                "network": [each.source for each, _ in pairs],
                "property": [name for _, name in pairs],
                **ends,
            }
        )
    for name in properties:
        tested = found[0].tested.get(name)
        say(f"{name}: {'its error on test networks is not known' if tested is None else tested.line}")
        if tested is not None and tested.coverage is not None:
            say(f"{name}: {tested.coverage}")
    if any(each.doubtful for each in found):
        say("This does not apply to numbers marked as doubtful or meaningless, which have no interval.")
    intervals = [each.intervals[name] for each, name in pairs if not each.doubtful]
    for reason in dict.fromkeys(each.reason for each in intervals if each.reason is not None):
        say(f"no {percent(level)} intervals: {reason}")


def _print(columns: Mapping[str, Sequence[str]]) -> None:
    """Print a table whose first column names networks."""
    from sneframe.cli.tables import cells, table
    from sneframe.cli.terminal import Terminal

    rows = table(*columns)
    for column in rows.columns[1:]:
        # A number and its mark stay together. Only file names and sets of labels are folded.
        column.no_wrap = not str(column.header).endswith(" set")
    for row in zip(*columns.values(), strict=True):
        rows.add_row(*cells(*row))
    Terminal().print(rows)


def _ends(intervals: Sequence[PredictionInterval], level: str) -> dict[str, list[str]]:
    """Return the columns of intervals: ``low`` and ``high`` for numbers, the set of labels for categories.

    A column in which no network has anything is left out.
    """
    columns = {
        "low": ["–" if each.low is None else _limit(each.low) for each in intervals],
        "high": ["–" if each.high is None else _limit(each.high) for each in intervals],
        f"{level} set": ["–" if each.labels is None else ", ".join(each.labels) for each in intervals],
    }
    return {name: texts for name, texts in columns.items() if set(texts) != {"–"}}


def _limit(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.6g}"


def _cell(prediction: Prediction, name: str) -> str:
    """Return a value with the run's test error, or with a mark if the test error does not apply."""
    from sneframe.cli.tables import shown

    value, tested = shown(prediction.values[name]), prediction.tested.get(name)
    if prediction.doubtful:
        return f"{value} ({prediction.verdict})"
    if tested is None:
        return f"{value} (error not known)"
    if tested.metric == "accuracy":
        return f"{value} ({tested.value:.0%} are right)"
    return f"{value} ± {tested.value:.2g}"
