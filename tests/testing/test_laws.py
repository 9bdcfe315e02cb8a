"""Every registered part keeps what it claims; and for each law a part that breaks it is caught."""

from typing import final

import pytest
import torch
from attrs import evolve, frozen
from torch import nn

from sneframe import plugins
from sneframe.batch import Networks
from sneframe.cli import main
from sneframe.compose import recipe
from sneframe.config.schema import Choice, option, plugins_named
from sneframe.config.structure import structure, unstructure
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.augmentation import Augmentation
from sneframe.parts.carriers import ChunkTokens, Embedding, LayerCodes
from sneframe.parts.invariance import InvarianceLoss, LossTerm
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.normalise import Normalise
from sneframe.parts.part import ANY_ACTION
from sneframe.parts.tokenizer import Tokenizer
from sneframe.plugins import Registry
from sneframe.testing import laws

SHIPPED = (
    "sne",
    "stats",
    "dwsnet",
    "mlp",
    "deepsets",
    "nfn",
    "normalise",
    "tokenizer",
    "head",
    "invariance",
    "augmentation",
    "zoos",
    "importers",
    "suites",
)


@pytest.mark.parametrize("plugin", SHIPPED)
def test_the_parts_of_a_plugin_keep_what_they_claim(plugin):
    findings = list(laws.check_plugin(plugin))
    assert [finding for finding in findings if finding.is_fault] == []
    offered = plugins.load([plugin]).parts
    assert {finding.part for finding in findings} == set(offered)


def test_what_dwsnet_and_stats_claim_is_invariance_under_permutations():
    for name in ("dwsnet", "stats"):
        findings = {f.law: f for f in check(recipe(name), recipe(name).aggregator.part)}
        assert findings["symmetric under permute"].claimed
        assert not findings["symmetric under scale"].claimed
        assert findings["symmetric under scale"].error > 0.1


def test_sne_claims_no_symmetry_and_has_none_where_chunks_are_no_rows():
    findings = {f.law: f for f in check(recipe("sne", "tokenizer.chunk_size=4"), "sne/layer-set")}
    assert not findings["symmetric under permute"].claimed
    assert findings["symmetric under permute"].error > 1e-4


# -- parts that break a law -------------------------------------------------------------------------------------


class Codes:
    """What the broken layer encoders share: the mean of each chunk, averaged over the chunks of a parameter."""

    @staticmethod
    def of(entry, *, masked=True):
        values = torch.where(entry.mask, entry.chunks, 0) if masked else entry.chunks
        means = values.mean(-1)
        codes = torch.stack([part.mean(1) for part in means.split(entry.counts, dim=1)], 1)[..., None].expand(
            -1, -1, 8
        )
        units = tuple((number,) for number in range(len(entry.counts)))
        return LayerCodes(architecture=entry.architecture, codes=codes, units=units)


@final
class Leaky(LayerEncoder):
    """Reads padding."""

    name, takes = "toy/leaky", (ChunkTokens,)

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.out = spec.gives(LayerCodes, 8)

    def forward(self, tokens):
        return tuple(Codes.of(entry, masked=False) for entry in tokens)


@final
class Claiming(LayerEncoder):
    """Claims what chunks cannot give: to see no difference when neurons are scaled."""

    name, takes, keeps = "toy/claiming", (ChunkTokens,), ANY_ACTION

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.out = spec.gives(LayerCodes, 8)

    def forward(self, tokens):
        return tuple(Codes.of(entry) for entry in tokens)


def aggregator(name, values):
    """Make an aggregator whose embeddings are ``values(self, codes)``."""

    def init(self, config, spec):
        Aggregator.__init__(self, config, spec)
        self.out = spec.gives(Embedding, spec.width)
        self.scale = nn.Parameter(torch.ones(spec.width))
        self.kept = float(torch.rand(()))

    def forward(self, codes):
        return tuple(
            Embedding(architecture=entry.architecture, values=values(self, entry.codes)) for entry in codes
        )

    @frozen(kw_only=True)
    class Config:
        limit: int | None = option(None, "")

    namespace = {
        "name": f"toy/{name}",
        "takes": (LayerCodes,),
        "Config": Config,
        "__init__": init,
        "forward": forward,
    }
    return type(name.title(), (Aggregator,), namespace)


def by_mates(self, codes):
    """A batch statistic: a network depends on who shares its batch."""
    values = codes.mean(1)
    return values - values.mean(0)


def by_place(self, codes):
    """A network depends on where in the batch it stands."""
    return codes.mean(1) + torch.arange(len(codes)).to(codes)[:, None]


def by_chance(self, codes):
    return codes.mean(1) + torch.rand(()).to(codes)


def by_memory(self, codes):
    """Depends on a constant that no state dict holds."""
    return codes.mean(1) * self.kept


def with_endless_gradient(self, codes):
    return (codes.mean(1) * self.scale - codes.mean(1) * self.scale).abs().sqrt() + codes.mean(1) * 0


def coarse(self, codes):
    """A difference of large numbers: nothing is left of it in half precision."""
    wide = torch.nn.functional.linear(codes.mean(1), torch.eye(codes.shape[-1]).to(self.scale))
    return (wide + 1000) - 1000


BREAKERS = {
    "alone as in a batch": aggregator("mates", by_mates),
    "whatever the batch mates": aggregator("mates", by_mates),
    "whatever the order": aggregator("place", by_place),
    "seeded determinism": aggregator("chance", by_chance),
    "state dict round trip": aggregator("memory", by_memory),
    "finite gradients": aggregator("endless", with_endless_gradient),
    "bfloat16": aggregator("coarse", coarse),
}


def check(config, *only):
    registry = plugins.load(plugins_named(unstructure(config)))
    return list(laws.check(structure(unstructure(config), registry), registry, only or None))


SNE = ("sne", "layer_encoder.width=8", "tokenizer.chunk_size=4")


def findings_with(slot, part, words=SNE):
    """Check a recipe, SNE if none is named, with one part replaced by a broken one."""
    config = evolve(recipe(*words), invariance=None)
    registry = plugins.load(plugins_named(unstructure(config)))
    config = evolve(config, **{slot: Choice(part=part.name, config=part.Config())})
    registry = Registry(plugins=registry.plugins, parts={**registry.parts, part.name: part})
    return list(laws.check(config, registry, only={part.name}))


@pytest.mark.parametrize("law", BREAKERS)
def test_a_part_that_breaks_a_law_is_caught(law):
    faults = {finding.law for finding in findings_with("aggregator", BREAKERS[law]) if finding.is_fault}
    assert law in faults


def test_an_aggregator_that_cuts_gradients_off_is_caught():
    """It has nothing to train itself, and leaves the layer encoder before it untrained."""
    cutting = aggregator("cutting", lambda self, codes: codes.mean(1).detach() * self.scale)
    (found,) = [finding for finding in findings_with("aggregator", cutting) if finding.is_fault]
    assert (found.law, found.said) == (
        "finite gradients",
        "gradients do not reach layer_encoder 'sne/chunk-set'",
    )


def test_a_part_that_leaves_itself_untrained_is_caught():
    """Its output has no gradient at all, so both it and the parts before it are named."""
    cutting = aggregator("cutting", lambda self, codes: (codes.mean(1) * self.scale).detach())
    (found,) = [finding for finding in findings_with("aggregator", cutting) if finding.is_fault]
    assert found.said == "gradients do not reach layer_encoder 'sne/chunk-set' and aggregator 'toy/cutting'"


def test_a_head_behind_a_part_that_cuts_gradients_off_is_not_blamed():
    """The fault is that of the part before it."""
    config = evolve(recipe(*SNE), invariance=None)
    registry = plugins.load(plugins_named(unstructure(config)))
    cutting = aggregator("cutting", lambda self, codes: codes.mean(1).detach())
    config = evolve(config, aggregator=Choice(part=cutting.name, config=cutting.Config()))
    registry = Registry(plugins=registry.plugins, parts={**registry.parts, cutting.name: cutting})
    found = list(laws.check(config, registry))
    assert {f.part for f in found if f.is_fault and f.law == "finite gradients"} == {cutting.name}


def test_an_invariance_loss_that_trains_no_encoder_is_caught():
    """What it is computed from is cut off."""

    @final
    class Idle(InvarianceLoss):
        """Always the same."""

        name = "toy/idle"

        @frozen(kw_only=True)
        class Config:
            """No options."""

        def weight(self, progress):
            return 1.0

        def forward(self, model, batch, output, draw):
            return LossTerm(total=output.embedding.detach().square().sum(), count=len(batch))

    found = [f for f in findings_with("invariance", Idle) if f.is_fault]
    assert [f.said for f in found] == ["gradients do not reach the encoder"]


def test_a_layer_encoder_that_reads_padding_is_caught():
    faults = {finding.law for finding in findings_with("layer_encoder", Leaky) if finding.is_fault}
    assert faults == {"blind to padding"}


@final
class PerWeight(Normalise):
    """A constant for every weight: tells hidden neurons apart, and claims that it does not."""

    name, keeps = "toy/per-weight", frozenset({"permute"})

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def forward(self, batch):
        return batch.replace(
            n.weights * torch.arange(1, n.weights.shape[1] + 1).to(n.weights) for n in batch.networks
        )


def test_a_normalisation_that_tells_neurons_apart_is_caught():
    faults = {finding.law for finding in findings_with("normalise", PerWeight) if finding.is_fault}
    assert faults == {"symmetric under permute"}


@final
class Ramp(Tokenizer):
    """Flat weights, each times its number: claims that they move as the weights do."""

    name, keeps = "toy/ramp", frozenset({"permute"})

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.out = spec.gives(Networks, 1)

    def forward(self, batch):
        """Multiply."""
        return batch.replace(n.weights * torch.arange(n.weights.shape[1]) for n in batch.networks).networks


def test_a_tokenizer_of_flat_weights_that_tells_neurons_apart_is_caught():
    faults = {finding.law for finding in findings_with("tokenizer", Ramp, ("deepsets",)) if finding.is_fault}
    assert faults == {"symmetric under permute"}


def test_a_claim_counts_only_where_all_parts_before_keep_it():
    """Behind chunks, which promise nothing, a layer encoder's claim cannot be held against it."""
    findings = {finding.law: finding for finding in findings_with("layer_encoder", Claiming)}
    assert not findings["symmetric under scale"].claimed
    assert findings["symmetric under scale"].error > 0.01


@final
class Forgetful(Aggregator):
    """Its configuration does not come back from plain data as it was."""

    name, takes = "toy/forgetful", (LayerCodes,)

    @frozen(kw_only=True)
    class Config:
        size: float = option(1.0, "", converter=lambda value: value + 1)

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.out = spec.gives(Embedding, spec.width)

    def forward(self, codes):
        return tuple(Embedding(architecture=e.architecture, values=e.codes.mean(1)) for e in codes)


def test_a_configuration_that_does_not_come_back_is_caught():
    faults = {finding.law for finding in findings_with("aggregator", Forgetful) if finding.is_fault}
    assert faults == {"configuration round trip"}


# -- augmentations that break a law -------------------------------------------------------------------------------


def augmentation(name, change):
    """Make an augmentation that returns ``change(batch, target, draw)``."""

    @frozen(kw_only=True)
    class Config:
        """No options."""

    def forward(self, batch, target, draw):
        return change(batch, target, draw)

    return type(name.title(), (Augmentation,), {"name": f"toy/{name}", "Config": Config, "forward": forward})


def with_a_constant(batch, target, draw):
    """The noise of two published code bases: σ · std(w), the same at every step."""
    return batch.replace(n.weights + 0.1 * n.weights.std(1, keepdim=True) for n in batch.networks), target


def with_shared_noise(batch, target, draw):
    """Scaled by the largest weight of the whole batch."""
    largest = max(float(n.weights.abs().max()) for n in batch.networks)
    factor = 1 + 0.1 * (draw.step + 1) * largest
    return batch.replace(n.weights * factor for n in batch.networks), target


def with_chance(batch, target, draw):
    return batch.replace(n.weights + torch.rand_like(n.weights) for n in batch.networks), target


def shortened(batch, target, draw):
    """Leaves out the last network of several."""
    places = range(max(1, len(batch) - 1))
    factor = draw.step + 1.0
    batch = batch.select(list(places))
    return batch.replace(n.weights * factor for n in batch.networks), target[: len(places)]


@pytest.mark.parametrize(
    ("change", "law"),
    [
        (with_a_constant, "anew at every step"),
        (with_shared_noise, "alone as in a batch"),
        (with_chance, "seeded determinism"),
        (shortened, "a batch as it was"),
    ],
)
def test_an_augmentation_that_breaks_a_law_is_caught(change, law):
    part = augmentation("broken", change)
    config = evolve(recipe("sne", "layer_encoder.width=8"), invariance=None)
    config = evolve(config, augmentation=(Choice(part=part.name, config=part.Config()),))
    registry = plugins.load(plugins_named(unstructure(recipe("sne"))))
    registry = Registry(plugins=registry.plugins, parts={**registry.parts, part.name: part})
    findings = list(laws.check(config, registry, only={part.name}))
    assert law in {finding.law for finding in findings if finding.is_fault}


# -- the command ------------------------------------------------------------------------------------------------


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return end.value.code


def test_check_says_how_many_claims_are_kept(capsys):
    assert run("check", "head") == 0
    assert "in float64: 2 parts, 20 claims, 20 kept" in capsys.readouterr().out


def test_check_shows_every_law_when_asked(capsys):
    assert run("check", "head", "--all") == 0
    shown = capsys.readouterr().out
    assert "head/linear" in shown
    assert "bfloat16" in shown


def test_check_of_an_unknown_plugin_is_one_line(capsys):
    assert run("check", "snee") == 2
    assert "unknown plugin 'snee', did you mean 'sne'?" in capsys.readouterr().err


def test_check_ends_with_two_where_a_claim_is_broken(capsys, monkeypatch):
    monkeypatch.setattr(laws, "check_plugin", lambda _: findings_with("layer_encoder", Leaky))
    assert run("check", "toy") == 2
    captured = capsys.readouterr()
    assert "FAULT" in captured.out
    assert captured.err.startswith("error: 1 of ")
