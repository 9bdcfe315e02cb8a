"""Broken parts of a plugin: ``check`` names every fault, and a run names the part at its first batch."""

import pytest
import torch

import sneframe
from sneframe.cli import main
from sneframe.compose import recipe
from sneframe.errors import PluginError
from sneframe.testing import laws

SOURCE = """
import attrs, torch
from attrs import frozen
from torch import Tensor, nn
import sneframe
from sneframe.parts.aggregator import Aggregator
from sneframe.architecture import Architecture
from sneframe.parts.augmentation import Augmentation
from sneframe.compose import use
from sneframe.config.schema import RunConfig, TrainConfig
from sneframe.parts.invariance import InvarianceLoss, LossTerm
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.normalise import Normalise
from sneframe.parts.carriers import Embedding, LayerCodes, each_parameter
from sneframe.parts.tokenizer import Tokenizer


@frozen(kw_only=True)
class NoOptions:
    pass


@frozen(kw_only=True, eq=False)
class Sizes:
    architecture: Architecture
    values: Tensor


class Scale(Normalise):
    name, Config = "odd/scale", NoOptions

    def learn(self, batches):
        list(batches)  # learn

    def forward(self, batch):
        return batch


class Size(Tokenizer):
    name, Config = "odd/size", NoOptions

    def __init__(self, config, spec):
        super().__init__(config, spec)  # tokenizer
        self.out = spec.gives(Sizes, 1)

    def forward(self, batch):
        found = []
        for networks in batch.networks:
            views = networks.parameters().values()
            values = torch.stack([v.flatten(1).square().mean(1) for v in views], 1)[..., None]
            found.append(Sizes(architecture=networks.architecture, values=values))
        return tuple(found)  # tokens


class Codes(LayerEncoder):
    name, Config, takes = "odd/codes", NoOptions, (Sizes,)

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.linear = nn.Linear(spec.width, 8)
        self.out = spec.gives(LayerCodes, 8)

    def forward(self, tokens):
        codes = [
            LayerCodes(
                architecture=t.architecture, codes=self.linear(t.values), units=each_parameter(t.architecture)
            )
            for t in tokens
        ]
        return tuple(codes)  # codes


class Mean(Aggregator):
    name, Config, takes = "odd/mean", NoOptions, (LayerCodes,)

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.out = spec.gives(Embedding, spec.width)

    def forward(self, codes):
        return tuple(Embedding(architecture=c.architecture, values=c.codes.mean(1)) for c in codes)


class Noise(Augmentation):
    name, Config = "odd/noise", NoOptions

    def forward(self, batch, target, draw):
        factor = 1 + 0.01 * (draw.step + 1)
        return batch.replace(n.weights * factor for n in batch.networks), target  # augmented


class Small(InvarianceLoss):
    name, Config = "odd/small", NoOptions

    def weight(self, progress):
        return 1.0

    def forward(self, model, batch, output, draw):
        return LossTerm(total=output.embedding.square().sum(), count=draw.size)  # term


def default():
    return RunConfig(
        recipe="odd/default", normalise=use("odd/scale"), tokenizer=use("odd/size"),
        layer_encoder=use("odd/codes"), aggregator=use("odd/mean"),
        head=use("head/linear"), train=TrainConfig(epochs=1),
        invariance=use("odd/small"), augmentation=(use("odd/noise"),),
    )


@sneframe.hookimpl
def sneframe_parts():
    return [Scale, Size, Codes, Mean, Noise, Small]


@sneframe.hookimpl
def sneframe_recipes():
    return {"odd/default": default}
"""

OWNER = "plugin 'odd' (sneframe-odd 1.2)"

#: The change of the plugin, the part that is then at fault, and the message.
FAULTS = {
    "a wrong width": (
        ("spec.gives(LayerCodes, 8)", "spec.gives(LayerCodes, 99)"),
        "odd/codes",
        "declares LayerCodes of width 99, but gives width 8",
    ),
    "another carrier": (
        ("return tuple(codes)  # codes", "return tokens"),
        "odd/codes",
        "declares LayerCodes, but gives Sizes",
    ),
    "too few carriers": (
        ("return tuple(codes)  # codes", "return tuple(codes[:-1])"),
        "odd/codes",
        "must give one carrier for each of",
    ),
    "a tensor in the place of carriers": (
        ("return tuple(found)  # tokens", "return found[0].values"),
        "odd/size",
        "must give one carrier for each of",
    ),
    "carriers of half of the networks": (
        ("codes=self.linear(t.values)", "codes=self.linear(t.values[:2])"),
        "odd/codes",
        "networks, but carries 2",
    ),
    "codes without their axis": (
        ("codes=self.linear(t.values)", "codes=self.linear(t.values).mean(1)"),
        "odd/codes",
        "gives a wrong LayerCodes: codes must be (B, L, D), but got",
    ),
    "a normalisation that gives tensors": (
        ("        return batch\n", "        return batch.networks\n"),
        "odd/scale",
        "must give a Batch, but gives tuple",
    ),
    "forward that raises": (("codes = [", "codes = {}['oops'], ["), "odd/codes", "KeyError: 'oops'"),
    "forward that leaves the program": (("codes = [", "exit(3); codes = ["), "odd/codes", "SystemExit: 3"),
    "init that raises": (
        ("super().__init__(config, spec)  # tokenizer", "{}['width']"),
        "odd/size",
        "KeyError: 'width'",
    ),
    "out that is forgotten": (
        ("self.out = spec.gives(LayerCodes, 8)", "pass"),
        "odd/codes",
        "does not state what it gives: its __init__ must set self.out = spec.gives(CARRIER, WIDTH)",
    ),
    "a fit that raises": (("list(batches)  # learn", "1 / 0"), "odd/scale", "ZeroDivisionError: "),
    "an augmentation that forgets targets": (
        (", target  # augmented", ""),
        "odd/noise",
        "must give a batch and its targets, but gives Batch",
    ),
    "an augmentation that raises": (
        ("factor = 1 + 0.01", "factor = [] + 0.01"),
        "odd/noise",
        "TypeError: can only concatenate list",
    ),
    "a loss that is a tensor": (
        (
            "return LossTerm(total=output.embedding.square().sum(), count=draw.size)",
            "return output.value.sum()",
        ),
        "odd/small",
        "must give a LossTerm whose total is one number, but gives a tensor ()",
    ),
    "a loss that is not summed": (
        ("output.embedding.square().sum()", "output.embedding"),
        "odd/small",
        "but gives a LossTerm of a tensor (",
    ),
    "a weight that raises": (("return 1.0", "return 1 / 0"), "odd/small", "ZeroDivisionError"),
}


@pytest.fixture
def odd(install):
    """Install the plugin with some of its source replaced."""

    def make(*changes):
        source = SOURCE
        for old, new in changes:
            assert old in source, old
            source = source.replace(old, new, 1)
        install(source)

    return make


def faults():
    """Return the faults that check finds, as part, law and message."""
    return [(f.part, f.law, f.said) for f in laws.check_plugin("odd") if f.is_fault]


def test_the_plugin_that_the_others_break_has_no_fault(odd):
    """Each of the six parts is measured."""
    odd()
    findings = list(laws.check_plugin("odd"))
    assert [each for each in findings if each.is_fault or each.is_unmeasured] == []
    assert len({each.part for each in findings}) == 6


@pytest.mark.parametrize(("change", "part", "said"), FAULTS.values(), ids=FAULTS)
def test_check_names_the_part_at_fault(odd, change, part, said):
    """No other part is blamed for it."""
    odd(change)
    found = faults()
    assert {name for name, _, _ in found} == {part}
    assert any(said in line for _, _, line in found)


@pytest.mark.parametrize(("change", "part", "said"), FAULTS.values(), ids=FAULTS)
def test_a_run_names_the_part_at_fault(odd, toy_zoo_path, tmp_path, change, part, said):
    """The error is one line with plugin, distribution, version and part."""
    odd(change)
    with pytest.raises(PluginError) as caught:
        sneframe.run(recipe("odd", f"zoo.path={toy_zoo_path}", "device=cpu"), tmp_path / "run", report=False)
    line = str(caught.value)
    assert line.startswith(f"{OWNER}: ")
    assert f"{part!r}" in line
    assert said in line
    assert "\n" not in line


def test_all_differences_of_a_part_are_in_one_line(odd, toy_zoo_path, tmp_path):
    """A wrong width and a wrong number of networks are named together."""
    odd(
        ("spec.gives(LayerCodes, 8)", "spec.gives(LayerCodes, 99)"),
        ("self.linear(t.values)", "self.linear(t.values[:2])"),
    )
    with pytest.raises(
        PluginError, match=r"but carries 2; it declares LayerCodes of width 99, but gives width 8$"
    ):
        sneframe.run(recipe("odd", f"zoo.path={toy_zoo_path}", "device=cpu"), tmp_path / "run", report=False)


def test_faults_of_several_parts_are_all_found(odd):
    """The tokenizer cannot be built, the augmentation fails in another recipe, the loss gives no term."""
    odd(
        ("super().__init__(config, spec)  # tokenizer", "{}['width']"),
        ("factor = 1 + 0.01", "factor = [] + 0.01"),
        ("return LossTerm(total=output.embedding.square().sum(), count=draw.size)", "return 5"),
    )
    assert {part for part, _, _ in faults()} == {"odd/size", "odd/noise", "odd/small"}


def test_parts_in_front_of_a_fault_are_measured(odd):
    """A part behind it is measured in a recipe of another plugin, if it fits one."""
    odd(FAULTS["forward that raises"][0])
    findings = list(laws.check_plugin("odd"))
    for part in ("odd/scale", "odd/size", "odd/mean"):
        assert sum(each.part == part and each.error is not None for each in findings) > 5


def test_a_part_that_fits_nowhere_else_is_not_measured(odd):
    """A part that takes the tokens of a failing tokenizer is not blamed for it."""
    odd(FAULTS["init that raises"][0])
    findings = list(laws.check_plugin("odd"))
    (behind,) = [each for each in findings if each.part == "odd/codes"]
    assert behind.is_unmeasured
    assert "comes after tokenizer 'odd/size'" in behind.said


def test_codes_that_are_not_finite_are_a_fault(odd):
    """Finite weights must give finite codes."""
    odd(("codes=self.linear(t.values)", "codes=self.linear(t.values) * float('nan')"))
    assert faults() == [("odd/codes", "finite", "returns NaN or infinity for finite weights")]


def test_codes_of_another_type_are_a_fault(odd):
    """Check works in float64, and so must the part."""
    odd(("codes=self.linear(t.values)", "codes=self.linear(t.values).float()"))
    assert ("odd/codes", "in the type it is given", "returns float32 for float64") in faults()


def test_a_wrong_width_leaves_the_laws_to_be_measured(odd):
    """An output with a wrong width can still be read, so the laws are measured."""
    odd(("spec.gives(LayerCodes, 8)", "spec.gives(LayerCodes, 99)"))
    findings = [each for each in laws.check_plugin("odd") if each.part == "odd/codes"]
    assert [each.law for each in findings if each.is_fault] == ["gives what it declares"]
    assert len(findings) > 10


def test_a_law_at_which_a_part_raises_is_a_finding(odd):
    """A part that fails for a single network breaks the law about single networks."""
    odd(("codes = [", "codes = 1 / (len(tokens[0].values) - 1) and ["))
    found = faults()
    assert ("odd/codes", "alone as in a batch", "ZeroDivisionError: division by zero") in found
    assert {part for part, _, _ in found} == {"odd/codes"}


def test_a_recipe_that_raises_is_a_finding(odd):
    """The parts are measured in other recipes, where they fit."""
    odd(("    return RunConfig(", "    return {}['x'] or RunConfig("))
    findings = list(laws.check_plugin("odd"))
    (recipe_fault,) = [each for each in findings if each.part == "odd/default"]
    assert recipe_fault.said == f"{OWNER}: recipe 'odd/default' fails: KeyError: 'x'"
    assert any(each.part == "odd/scale" and each.kept for each in findings)


def test_the_command_shows_every_fault_and_ends_with_two(odd, capsys):
    """The last lines name plugin, distribution and version, and the exit code is 2."""
    odd(FAULTS["a wrong width"][0], FAULTS["an augmentation that raises"][0])
    with pytest.raises(SystemExit) as left:
        main(["check", "odd"])
    out, err = capsys.readouterr()
    assert left.value.code == 2
    lines = [line for line in out.splitlines() if line.startswith("FAULT")]
    assert lines[0] == (
        "FAULT odd/codes: gives what it declares: declares LayerCodes of width 99, but gives width 8"
    )
    assert f"{OWNER}, in float64: 6 parts, " in out
    assert err.startswith("error: ")
    assert "odd/codes: gives what it declares" in err


def test_one_failing_network_does_not_stop_the_others(odd, toy_zoo_path, tmp_path, capsys):
    """``predict`` goes on with the other files; the line names file, plugin and part."""
    odd(("codes = [", "codes = 1 / (tokens[0].architecture.num_weights - 25) and ["))
    folder = sneframe.run(
        recipe("odd", f"zoo.path={toy_zoo_path}", "device=cpu"), tmp_path / "run", report=False
    ).folder
    for name, width in (("bad", 8), ("good", 4)):
        state = torch.nn.Sequential(torch.nn.Linear(1, width), torch.nn.ReLU(), torch.nn.Linear(width, 1))
        torch.save(state.state_dict(), tmp_path / f"{name}.pt")
    with pytest.raises(SystemExit) as left:
        main(["predict", str(folder), str(tmp_path / "bad.pt"), str(tmp_path / "good.pt")])
    out, err = capsys.readouterr()
    assert left.value.code == 2
    assert "good.pt" in out
    assert f"bad.pt: {OWNER}: layer_encoder 'odd/codes' fails: ZeroDivisionError" in err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "sne/default",
            "'sne/default' is a recipe; check takes a plugin, and measures all its parts: sneframe check sne",
        ),
        ("sne/pad-chunk", "'sne/pad-chunk' is a part; check takes a plugin"),
        ("sne/nothing", "'sne' offers no 'sne/nothing'; check takes a plugin"),
        (
            "snee/default",
            "check takes the name of a plugin, but got 'snee/default', did you mean 'sne'? (installed: ",
        ),
    ],
)
def test_a_name_that_is_no_plugins_is_answered(capsys, name, said):
    """For the name of a recipe or a part, the error says which command is meant."""
    with pytest.raises(SystemExit) as left:
        main(["check", name])
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")
