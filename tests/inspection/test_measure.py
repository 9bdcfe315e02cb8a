"""What is measured of a parameter, the initialisers it is compared with, and the findings."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from sneframe.inspection import measure as module
from sneframe.inspection.findings import findings
from sneframe.inspection.measure import measure


def normal(*shape, seed=0, std=0.3):
    return std * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("block", [7, 1 << 20])
def test_moments_are_those_of_scipy(monkeypatch, block):
    """Mean, rms, kurtosis and fractions agree with numpy and scipy, also in small blocks."""
    monkeypatch.setattr(module, "BLOCK", block)
    values = normal(20, 15) ** 3
    values[0, :3] = 0
    values[1, 0] = 1e-6
    found, flat = measure("w", values), values.double().numpy().ravel()
    rms = math.sqrt((flat**2).mean())
    assert found.mean == pytest.approx(flat.mean())
    assert found.rms == pytest.approx(rms)
    assert found.largest == pytest.approx(np.abs(flat).max())
    assert found.kurtosis == pytest.approx(stats.kurtosis(flat, fisher=False))
    assert found.zero == pytest.approx(3 / 300)
    assert found.near_zero == pytest.approx((np.abs(flat) <= 0.01 * rms).mean())
    norms = np.linalg.norm(values.double().numpy(), axis=1)
    assert found.rows.norms == pytest.approx((norms.min(), np.median(norms), norms.max()))
    assert (found.size, found.frobenius) == (300, pytest.approx(np.linalg.norm(flat)))


@pytest.mark.parametrize("block", [8, 1 << 20])
def test_rows_that_are_dead_constant_or_copied(monkeypatch, block):
    """MatrixRows of zeros, of one constant, and copies of earlier rows are counted, also across blocks."""
    monkeypatch.setattr(module, "BLOCK", block)
    values = normal(9, 4)
    values[1] = 0
    values[2] = 0
    values[3] = 0.5
    values[7] = values[0]
    values[8] = values[0]
    rows = measure("w", values).rows
    assert (rows.zero, rows.constant, rows.copies) == (2, 1, 2)


def test_values_that_are_not_finite_are_counted():
    """A parameter with NaN or infinity has a count, and no measurements."""
    values = normal(6, 5)
    values[0, 0], values[1, 1] = math.nan, math.inf
    found = measure("w", values)
    assert (found.lacking, found.rms, found.spectrum) == (2, None, None)
    (finding,) = findings([found])
    assert (finding.kind, finding.serious) == ("not finite", True)
    assert finding.text == "2 values of 30 NaN or infinite"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_floating_point_type_is_measured(dtype):
    """The type is recorded, and the numbers are those of the same values in double precision."""
    values = normal(12, 10).to(dtype)
    found = measure("w", values)
    assert found.dtype == str(dtype).removeprefix("torch.")
    assert found.rms == pytest.approx(float(values.double().square().mean().sqrt()))
    assert found.spectrum.norm == pytest.approx(np.linalg.norm(values.double().numpy(), 2), rel=1e-6)


def test_vectors_and_scalars_have_no_spectrum():
    """A vector, a scalar and a matrix of one row have no spectrum."""
    for values in (normal(5), torch.tensor(2.0), normal(1, 7)):
        found = measure("w", values)
        assert (found.spectrum, found.power_law) == (None, None)
        assert found.rms > 0


def test_equal_values_have_equal_digests():
    """The digest depends on values, shape and type, and on nothing else."""
    values = normal(6, 4)
    same = measure("a", values).digest
    assert measure("b", values.clone(), kind="linear").digest == same
    assert measure("a", values.T.contiguous().T).digest == same
    others = (values.half(), values.reshape(4, 6), values + 1e-6)
    assert same not in {measure("a", other).digest for other in others}


INITIALISERS = {
    "torch default, U(±1/√in)": lambda w: nn.init.kaiming_uniform_(w, a=math.sqrt(5)),
    "Xavier uniform": nn.init.xavier_uniform_,
    "Xavier normal": nn.init.xavier_normal_,
    "Kaiming uniform": lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"),
    "Kaiming normal": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "Kaiming normal, fan out": lambda w: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu"),
    "N(0, 0.02²)": lambda w: nn.init.normal_(w, std=0.02),
    "orthogonal": nn.init.orthogonal_,
    "zeros": nn.init.zeros_,
    "ones": nn.init.ones_,
}


@pytest.mark.parametrize("shape", [(120, 70), (64, 16, 3, 3)], ids=str)
@pytest.mark.parametrize("name", INITIALISERS)
def test_a_fresh_parameter_has_its_initialiser(name, shape):
    """A parameter that torch has just initialised is recognised, and its trained copy is not."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        fresh = INITIALISERS[name](torch.empty(shape))
    assert measure("w", fresh).initialiser == name
    trained = (fresh + normal(*shape, std=0.01)) * normal(*shape, seed=1, std=0.5).exp()
    assert measure("w", trained).initialiser is None


def test_a_truncated_normal_is_recognised():
    """The initialiser of jax and keras is a normal distribution that is cut off at twice its scale."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        std = math.sqrt(1 / 100) / 0.8796256610342398
        fresh = nn.init.trunc_normal_(torch.empty(80, 100), std=std, a=-2 * std, b=2 * std)
    assert measure("w", fresh).initialiser == "LeCun normal, cut at 2σ"


def test_small_parameters_are_compared_with_constants_only():
    """Hundreds of weights look like some initialiser by chance, so they are not compared."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert measure("w", nn.init.xavier_normal_(torch.empty(30, 40))).initialiser is None
    assert measure("w", torch.zeros(3)).initialiser == "zeros"


def found_in(*parameters):
    return [(each.kind, each.parameters, each.text) for each in findings(parameters)]


def test_nothing_is_found_in_weights_like_any_others():
    """Normal weights of a scale that no initialiser has give no finding."""
    assert found_in(*(measure(f"{n}.weight", normal(20, 10, seed=n), kind="linear") for n in range(6))) == []


def test_the_findings_name_parameter_and_numbers():
    """Each finding says what it is about, in numbers."""
    dead = normal(10, 4)
    dead[:3] = 0
    dead[4] = dead[5]
    scale = torch.tensor([0.0, 0.3, 0.4, 0.0])
    assert found_in(
        measure("a.weight", dead, kind="linear"),
        measure("norm.weight", scale, kind="batch_norm", role="weight"),
    ) == [
        ("dead rows", ("a.weight",), "3 rows of 10 are zero"),
        (
            "scale of a norm at zero",
            ("norm.weight",),
            "2 of 4 scales are 0, so these channels carry nothing but their bias",
        ),
        ("copied rows", ("a.weight",), "1 row of 10 repeat another row"),
    ]


def test_a_parameter_far_from_its_kin():
    """A matrix whose scale is five times that of the others is named, and one of three times is not."""
    kin = [measure(f"{n}.weight", normal(16, 9, seed=n), kind="linear") for n in range(5)]
    far = measure("far.weight", normal(16, 9, seed=9, std=3.0), kind="linear")
    near = measure("near.weight", normal(16, 9, seed=9, std=0.9), kind="linear")
    (finding,) = found_in(*kin, far)
    assert finding[:2] == ("far from its kin", ("far.weight",))
    assert "of 6 parameters (linear, weight)" in finding[2]
    assert found_in(*kin, near) == []
    assert found_in(*kin[:3], far) == []


def test_an_untrained_network_is_serious():
    """If every matrix looks fresh, the network was hardly trained."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = [nn.Linear(70, 80) for _ in range(3)]
    fresh = [measure(f"{n}", layer.weight, kind="linear") for n, layer in enumerate(layers)]
    (finding,) = findings(fresh)
    assert (finding.kind, finding.serious, len(finding.parameters)) == ("looks untrained", True, 3)
    assert finding.text.startswith("3 of 3 matrices cannot be told from torch default")
    some = [*fresh[:1], measure("b", normal(70, 80), kind="linear")]
    assert [each.serious for each in findings(some)] == [False]


def test_shared_values_are_found():
    """Two names of one parameter are found; zeros and ones are not, since many layers have them."""
    values = normal(8, 6)
    pair = measure("in.weight", values), measure("out.weight", values.clone())
    assert found_in(*pair) == [
        ("shared values", ("in.weight", "out.weight"), "2 parameters hold the same values")
    ]
    assert found_in(*(measure(f"{n}.bias", torch.zeros(4), role="bias") for n in range(3))) == []
