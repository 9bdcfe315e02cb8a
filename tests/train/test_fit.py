"""The training loop: what it refuses."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import sneframe
from sneframe.errors import RunError
from sneframe.progress import Reporter
from sneframe.train.loop import fit


@pytest.mark.parametrize("processes", [3, 4])
def test_a_step_with_fewer_networks_than_processes_is_refused(tmp_path, processes):
    """Five networks at four a step are steps of three and two: the third of three processes would have none."""
    data = SimpleNamespace(split=SimpleNamespace(train=np.arange(5)))
    with pytest.raises(RunError, match=f"^{processes} processes need .* the smallest step has 2: 5 training"):
        fit(
            torch.nn.Linear(1, 1),
            data,
            sneframe.recipe("stats/mlp", "train.batch_size=4"),
            SimpleNamespace(num_processes=processes),
            tmp_path,
            Reporter(),
            resume=False,
        )
