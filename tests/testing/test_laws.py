"""Every shipped part keeps its claims; and for each law, a part that breaks it is caught."""

from typing import final

import pytest
import torch
from attrs import evolve, frozen
from torch import nn

from sneframe import plugins
from sneframe.batch import Networks
from sneframe.cli import main
from sneframe.compose import recipe, use
from sneframe.config.schema import option
from sneframe.parts.aggregator import Aggregator
from sneframe.parts.augmentation import Augmentation
from sneframe.parts.carriers import ChunkTokens, Embedding, LayerCodes, each_parameter
from sneframe.parts.invariance import InvarianceLoss, LossTerm
from sneframe.parts.layer_encoder import LayerEncoder
from sneframe.parts.normalise import Normalise
from sneframe.parts.part import ANY_ACTION
from sneframe.parts.tokenizer import Tokenizer
from sneframe.testing import laws

SHIPPED = (
    "sne",
    "stats",
    "dwsnet",
    "mlp",
    "deepsets",
    "nfn",
    "probe",
    "hyperrep",
    "sane",
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
def test_the_parts_of_a_plugin_keep_their_claims(plugin):
    """Every part of a shipped plugin is measured, and none has a fault."""
    findings = list(laws.check_plugin(plugin))
    assert [finding for finding in findings if finding.is_fault] == []
    offered = plugins.load([plugin]).parts
    assert {finding.part for finding in findings} == set(offered)


def test_dwsnet_and_stats_claim_permutations():
    """They claim invariance under permutations, and not under scaling."""
    for name in ("dwsnet", "stats"):
        findings = {f.law: f for f in check(recipe(name), recipe(name).aggregator.part.name)}
        assert findings["symmetric under permute"].claimed
        assert not findings["symmetric under scale"].claimed
        assert findings["symmetric under scale"].error > 0.1


def test_sne_with_small_chunks_has_no_symmetry():
    """If chunks are no rows, SNE is not invariant to permutations, and does not claim it."""
    findings = {f.law: f for f in check(recipe("sne", "tokenizer.chunk_size=4"), "sne/layer-set")}
    assert not findings["symmetric under permute"].claimed
    assert findings["symmetric under permute"].error > 1e-4


# -- parts that break a law ------------------------------------------------------------------------------


@frozen(kw_only=True)
class NoOptions:
    """The options of a part that has none."""


def layer_encoder(own_name, claims=frozenset(), *, masked=True):
    """Make a layer encoder whose codes are the means of chunks, averaged over each parameter."""

    class Means(LayerEncoder):
        name, takes, keeps, Config = own_name, (ChunkTokens,), claims, NoOptions

        def __init__(self, config, spec):
            super().__init__(config, spec)
            self.out = spec.gives(LayerCodes, 8)

        def forward(self, tokens):
            return tuple(map(self.codes, tokens))

        def codes(self, entry):
            values = torch.where(entry.mask, entry.chunks, 0) if masked else entry.chunks
            means = values.mean(-1).split(entry.counts, dim=1)
            codes = torch.stack([part.mean(1) for part in means], 1)[..., None].expand(-1, -1, 8)
            units = each_parameter(entry.architecture)
            return LayerCodes(architecture=entry.architecture, codes=codes, units=units)

    return Means


Leaky = layer_encoder("toy/leaky", masked=False)  # it reads padding
Claiming = layer_encoder("toy/claiming", ANY_ACTION)  # it claims a symmetry that chunks cannot have


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
    """Depend on the other networks of the batch, as a batch statistic does."""
    values = codes.mean(1)
    return values - values.mean(0)


def by_place(self, codes):
    """Depend on the position in the batch."""
    return codes.mean(1) + torch.arange(len(codes)).to(codes)[:, None]


def by_chance(self, codes):
    return codes.mean(1) + torch.rand(()).to(codes)


def by_memory(self, codes):
    """Depend on a constant that is not in the state dict."""
    return codes.mean(1) * self.kept


def with_endless_gradient(self, codes):
    return (codes.mean(1) * self.scale - codes.mean(1) * self.scale).abs().sqrt() + codes.mean(1) * 0


def coarse(self, codes):
    """Take the difference of large numbers, of which nothing is left in half precision."""
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
    return list(laws.check(config, only or None))


SNE = ("sne", "layer_encoder.width=8", "tokenizer.chunk_size=4")


def findings_with(slot, part, words=SNE):
    """Check a recipe, SNE if none is named, with one part replaced by a broken one."""
    config = evolve(recipe(*words), invariance=None)
    return list(laws.check(evolve(config, **{slot: use(part)}), only={part.name}))


@pytest.mark.parametrize("law", BREAKERS)
def test_a_part_that_breaks_a_law_is_caught(law):
    """For each law there is a part that breaks it, and is caught."""
    faults = {finding.law for finding in findings_with("aggregator", BREAKERS[law]) if finding.is_fault}
    assert law in faults


def test_an_aggregator_that_cuts_gradients_off_is_caught():
    """The layer encoder in front of it is left untrained."""
    cutting = aggregator("cutting", lambda self, codes: codes.mean(1).detach() * self.scale)
    (found,) = [finding for finding in findings_with("aggregator", cutting) if finding.is_fault]
    assert (found.law, found.said) == (
        "finite gradients",
        "gradients do not reach layer_encoder 'sne/chunk-set'",
    )


def test_a_part_that_leaves_itself_untrained_is_caught():
    """If the output has no gradient, the part and those in front of it are named."""
    cutting = aggregator("cutting", lambda self, codes: (codes.mean(1) * self.scale).detach())
    (found,) = [finding for finding in findings_with("aggregator", cutting) if finding.is_fault]
    assert found.said == "gradients do not reach layer_encoder 'sne/chunk-set' and aggregator 'toy/cutting'"


def test_a_head_after_a_cut_gradient_is_not_blamed():
    """Only the part that cuts the gradient is blamed."""
    config = evolve(recipe(*SNE), invariance=None)
    cutting = aggregator("cutting", lambda self, codes: codes.mean(1).detach())
    found = list(laws.check(evolve(config, aggregator=use(cutting))))
    assert {f.part for f in found if f.is_fault and f.law == "finite gradients"} == {cutting.name}


def test_an_invariance_loss_that_trains_no_encoder_is_caught():
    """A loss that is cut off from the encoder is caught."""

    @final
    class Idle(InvarianceLoss):
        """Always the same."""

        name, Config = "toy/idle", NoOptions

        def weight(self, progress):
            return 1.0

        def forward(self, model, batch, output, draw):
            return LossTerm(total=output.embedding.detach().square().sum(), count=len(batch))

    found = [f for f in findings_with("invariance", Idle) if f.is_fault]
    assert [f.said for f in found] == ["gradients do not reach the encoder"]


def test_a_layer_encoder_that_reads_padding_is_caught():
    """Padding must not change the codes."""
    faults = {finding.law for finding in findings_with("layer_encoder", Leaky) if finding.is_fault}
    assert faults == {"blind to padding"}


@final
class PerWeight(Normalise):
    """Has a constant for every weight, and yet claims invariance to permutations."""

    name, keeps, Config = "toy/per-weight", frozenset({"permute"}), NoOptions

    def forward(self, batch):
        return batch.replace(
            n.weights * torch.arange(1, n.weights.shape[1] + 1).to(n.weights) for n in batch.networks
        )


def test_a_normalisation_that_tells_neurons_apart_is_caught():
    """A constant for each weight breaks the claimed invariance to permutations."""
    faults = {finding.law for finding in findings_with("normalise", PerWeight) if finding.is_fault}
    assert faults == {"symmetric under permute"}


@final
class Ramp(Tokenizer):
    """Multiplies each weight by its index, and yet claims invariance to permutations."""

    name, keeps, Config = "toy/ramp", frozenset({"permute"}), NoOptions

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.out = spec.gives(Networks, 1)

    def forward(self, batch):
        """Multiply."""
        return batch.replace(n.weights * torch.arange(n.weights.shape[1]) for n in batch.networks).networks


def test_a_tokenizer_that_tells_neurons_apart_is_caught():
    """The law also moves carriers that are plain networks."""
    faults = {finding.law for finding in findings_with("tokenizer", Ramp, ("deepsets",)) if finding.is_fault}
    assert faults == {"symmetric under permute"}


def test_a_claim_counts_only_where_all_parts_before_keep_it():
    """Behind chunks, which claim nothing, the claim of a layer encoder does not count."""
    findings = {finding.law: finding for finding in findings_with("layer_encoder", Claiming)}
    assert not findings["symmetric under scale"].claimed
    assert findings["symmetric under scale"].error > 0.01


@final
class Forgetful(Aggregator):
    """Has an option that changes each time it is read."""

    name, takes = "toy/forgetful", (LayerCodes,)

    @frozen(kw_only=True)
    class Config:
        size: float = option(1.0, "", converter=lambda value: value + 1)

    def __init__(self, config, spec):
        super().__init__(config, spec)
        self.out = spec.gives(Embedding, spec.width)

    def forward(self, codes):
        return tuple(Embedding(architecture=e.architecture, values=e.codes.mean(1)) for e in codes)


def test_options_that_change_in_a_file_are_caught():
    """Options must be the same after they were written and read."""
    faults = {finding.law for finding in findings_with("aggregator", Forgetful) if finding.is_fault}
    assert faults == {"configuration round trip"}


# -- augmentations that break a law ----------------------------------------------------------------------


def augmentation(name, change):
    """Make an augmentation that returns ``change(batch, target, draw)``."""

    def forward(self, batch, target, draw):
        return change(batch, target, draw)

    members = {"name": f"toy/{name}", "Config": NoOptions, "forward": forward}
    return type(name.title(), (Augmentation,), members)


def with_a_constant(batch, target, draw):
    """Add σ · std(w), the same at every step, as two published code bases do."""
    return batch.replace(n.weights + 0.1 * n.weights.std(1, keepdim=True) for n in batch.networks), target


def with_shared_noise(batch, target, draw):
    """Scale by the largest weight of the whole batch."""
    largest = max(float(n.weights.abs().max()) for n in batch.networks)
    factor = 1 + 0.1 * (draw.step + 1) * largest
    return batch.replace(n.weights * factor for n in batch.networks), target


def with_chance(batch, target, draw):
    return batch.replace(n.weights + torch.rand_like(n.weights) for n in batch.networks), target


def shortened(batch, target, draw):
    """Leave out the last of several networks."""
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
    """For each law of augmentations there is one that breaks it, and is caught."""
    part = augmentation("broken", change)
    config = evolve(recipe("sne", "layer_encoder.width=8"), invariance=None)
    findings = list(laws.check(evolve(config, augmentation=(use(part),)), only={part.name}))
    assert law in {finding.law for finding in findings if finding.is_fault}


# -- the command -----------------------------------------------------------------------------------------


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    return end.value.code


def test_check_says_how_many_claims_are_kept(capsys):
    """The last line counts parts and claims."""
    assert run("check", "head") == 0
    assert "in float64: 2 parts, 20 claims, 20 kept" in capsys.readouterr().out


def test_check_all_shows_every_law(capsys):
    """With --all, a table shows every law."""
    assert run("check", "head", "--all") == 0
    shown = capsys.readouterr().out
    assert "head/linear" in shown
    assert "bfloat16" in shown


def test_check_of_an_unknown_plugin_is_one_line(capsys):
    """The error suggests the name of an installed plugin."""
    assert run("check", "snee") == 2
    assert "unknown plugin 'snee', did you mean 'sne'?" in capsys.readouterr().err


def test_check_exits_with_2_if_a_claim_is_broken(capsys, monkeypatch):
    """A broken claim is wrong input, so the exit code is 2."""
    monkeypatch.setattr(laws, "check_plugin", lambda _: findings_with("layer_encoder", Leaky))
    assert run("check", "toy") == 2
    captured = capsys.readouterr()
    assert "FAULT" in captured.out
    assert captured.err.startswith("error: 1 of ")
