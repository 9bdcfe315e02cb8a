"""Predict or embed the networks of many files, in this process or in workers of an engine."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen

from sneframe.architecture.origin import sentences
from sneframe.engine import Engine
from sneframe.errors import ArchitectureError, FileError, PartError, PluginError
from sneframe.predict.prediction import DoubtWarning, Prediction
from sneframe.predict.predictor import Predictor, load

#: Errors that concern one file. The other files are still read.
OF_A_FILE = (FileError, ArchitectureError, PartError, PluginError)


@frozen(kw_only=True, eq=False)
class Asked:
    """What is computed for each file.

    Args:
        run: folder of the run.
        options: the other arguments of :func:`~sneframe.predict.predictor.load`, by name.
        level: predict with intervals of this level; None: compute only the embedding.
    """

    run: Path
    options: Mapping[str, Any] = field(factory=dict)
    level: float | None = None


@frozen(kw_only=True, eq=False)
class Answer:
    """What was computed for a file.

    Args:
        path: the file.
        prediction: the prediction, if one was asked for and the file could be read.
        embedding: the embedding ``(E,)``, if the file could be read.
        warned: category and text of each warning.
        failed: the reason why the file could not be read, which names the file; None if it could.
    """

    path: Path
    prediction: Prediction | None = None
    embedding: np.ndarray | None = None
    warned: tuple[tuple[type[Warning], str], ...] = ()
    failed: str | None = None


def answers(files: Sequence[Path], asked: Asked, engine: Engine, predictor: Predictor) -> list[Answer]:
    """Return an answer for each file, in the order of the files.

    Args:
        files: the files.
        asked: what is computed.
        engine: where it is computed. Each worker loads the run once.
        predictor: the run, loaded in this process, for an engine that has no other.
    """
    found: dict[int, Answer] = {}
    with predictor.encoding.reporter.bar("files", unit="files") as advance:
        advance(0, len(files))
        for number, own in _each(files, asked, engine, predictor):
            found[number] = own
            advance(len(found), len(files))
    return [found[number] for number in range(len(files))]


def _each(
    files: Sequence[Path], asked: Asked, engine: Engine, predictor: Predictor
) -> Iterator[tuple[int, Answer]]:
    """Yield the index of each file and its answer, as soon as the answer is there."""
    if engine.name == "serial":  # with all threads of this process, and with the run that is loaded already
        for number, file in enumerate(files):
            yield number, answer(predictor, file, asked.level)
        return
    numbered = list(enumerate(map(str, files)))
    for (number, _), own in engine.map_unordered(partial(_in_a_worker, asked=asked), numbered):
        yield number, own


def answer(predictor: Predictor, path: Path, level: float | None) -> Answer:
    """Return the answer for one file. Its warnings are part of the answer.

    Args:
        predictor: the loaded run.
        path: the file.
        level: as in :class:`Asked`.
    """
    prediction, embedding, failed = None, None, None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            if level is None:
                embedding = predictor.embed(path)
                origin = predictor.describe(path).symmetry
                if origin in ("none", "guessed"):
                    (line,) = sentences({origin: 1})
                    warnings.warn(f"{path}: {line}", DoubtWarning, stacklevel=2)
            else:
                prediction = predictor.predict(path, level=level)
                embedding = prediction.embedding
        except OF_A_FILE as error:
            failed = str(error) if str(error).startswith(str(path)) else f"{path}: {error}"
    return Answer(
        path=path,
        prediction=prediction,
        embedding=embedding,
        warned=tuple((each.category, str(each.message)) for each in caught),
        failed=failed,
    )


def _in_a_worker(numbered: tuple[int, str], *, asked: Asked) -> Answer:
    return answer(_loaded(asked.run, tuple(asked.options.items())), Path(numbered[1]), asked.level)


@lru_cache(maxsize=1)
def _loaded(run: Path, options: tuple[tuple[str, Any], ...]) -> Predictor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the process that started the workers has said the same
        return load(run, **dict(options))
