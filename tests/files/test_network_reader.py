"""Networks are read with the type and the names that the user wants."""

import re

import pytest
import torch

from sneframe.errors import FileError
from sneframe.files.network_reader import NetworkReader


def saved(folder, values):
    path = folder / "network.pt"
    torch.save({"0.weight": torch.tensor([values]), "0.bias": torch.zeros(1)}, path)
    return path


@pytest.mark.parametrize(("dtype", "value"), [("float16", 1e6), ("bfloat16", 3.4028e38)])
def test_a_weight_too_large_for_the_type_is_refused(tmp_path, dtype, value):
    """A finite weight that the conversion would make infinite is refused with its name."""
    path = saved(tmp_path, [1.0, value])
    said = f"{path}: '0.weight' has values too large for {dtype}"
    with pytest.raises(FileError, match=f"^{re.escape(said)}$"):
        NetworkReader(dtype=dtype).read(path)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 60000.0, 1e-30])
def test_other_weights_are_converted(tmp_path, value):
    """Weights that are infinite or not a number in the file stay so, and small weights are rounded."""
    path = saved(tmp_path, [1.0, value])
    found = NetworkReader(dtype="float16").read(path).tensors["0.weight"]
    wanted = torch.tensor([[1.0, value]]).half()
    assert found.dtype == torch.float16
    assert torch.equal(found.nan_to_num(nan=-1.0), wanted.nan_to_num(nan=-1.0))


def test_a_wider_type_takes_every_weight(tmp_path):
    """A weight of 1e6 is kept in float64."""
    found = NetworkReader(dtype="float64").read(saved(tmp_path, [1.0, 1e6]))
    assert found.tensors["0.weight"].tolist() == [[1.0, 1e6]]
