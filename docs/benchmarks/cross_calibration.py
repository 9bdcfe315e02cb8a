"""Compares two ways to calibrate 90 % intervals of ``stats/boosting``: validation networks, and CV+.

``python docs/benchmarks/cross_calibration.py ZOO…`` predicts the test accuracy of the final networks of each
zoo of classifiers. Split conformal prediction takes the errors of the 100 validation networks. CV+ (Barber,
Candès, Ramdas and Tibshirani 2021) fits the method ten times, each time without a tenth of the 500 training
and validation networks, and takes the errors for the networks that were left out.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import torch
from torch import Tensor

import sneframe
from sneframe.model import Model, build_model
from sneframe.predict.conformal import LEVEL, bound
from sneframe.progress import Reporter
from sneframe.tasks import Tasks, make_task
from sneframe.train.data import Data, load_data

PROPERTY, FOLDS = "test_accuracy", 10


class Fits:
    """Fits of the method on the networks of a zoo."""

    def __init__(self, zoo: str) -> None:
        words = (f"zoo.path={zoo}", f"zoo.property={PROPERTY}", "zoo.where=final", "zoo.sizes=[0.4,0.1,0.5]")
        self.config = sneframe.recipe("stats/boosting", *words)
        self.data: Data = load_data(self.config.zoo, Reporter())
        self.tasks = Tasks(each=[make_task(PROPERTY, self.data.training(PROPERTY), kind="auto", fitted=True)])
        self.encoder = self._model().encoder

    def _model(self) -> Model:
        torch.manual_seed(0)
        model = build_model(self.config, self.data.training_architectures(), self.tasks.width)
        model.encoder.normalise.fit(self.data.training_blocks())
        return model.eval()

    def truth(self, positions: np.ndarray) -> np.ndarray:
        """Return the true accuracies ``(n,)``."""
        return self.tasks.main.truth(self.data.columns[PROPERTY].take(positions))

    def predicted(self, fitted: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return predictions ``(n,)`` for some networks by a fit to other networks."""
        head = self._model().head
        targets = self.tasks.targets({PROPERTY: self.data.columns[PROPERTY].take(fitted)})
        head.finish(self._embedded(fitted), torch.from_numpy(targets))
        return self.tasks.main.predict(head(self._embedded(positions)))

    def _embedded(self, positions: np.ndarray) -> Tensor:
        with torch.no_grad():
            return self.encoder(self.data.select(positions))


def coverages(zoo: str) -> tuple[float, float]:
    """Return the fraction of test networks in the intervals of split conformal prediction and of CV+."""
    fits = Fits(zoo)
    split = fits.data.split
    truth = fits.truth(split.test)
    errors = np.abs(fits.predicted(split.train, split.val) - fits.truth(split.val))
    half = bound(errors, np.arange(len(errors)), LEVEL)
    by_split = np.abs(fits.predicted(split.train, split.test) - truth) <= half

    known = np.concatenate([split.train, split.val])
    fold = np.random.default_rng(0).permutation(len(known)) % FOLDS
    low, high = [], []
    for number in range(FOLDS):
        kept, left = known[fold != number], known[fold == number]
        errors = np.abs(fits.predicted(kept, left) - fits.truth(left))[:, None]
        value = fits.predicted(kept, split.test)
        low.append(value - errors)
        high.append(value + errors)
    # The limits are the ⌊(1 − level)(n + 1)⌋-th smallest and the ⌈level (n + 1)⌉-th smallest of n values.
    rank = int(np.ceil(LEVEL * (len(known) + 1)))
    lowest = np.sort(np.concatenate(low), axis=0)[len(known) - rank]
    highest = np.sort(np.concatenate(high), axis=0)[rank - 1]
    return float(by_split.mean()), float(((lowest <= truth) & (truth <= highest)).mean())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for path in sys.argv[1:]:
        one, other = coverages(path)
        print(f"{path}: split conformal {100 * one:.1f} %, CV+ {100 * other:.1f} %")
