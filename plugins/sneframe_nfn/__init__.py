"""Neural functional networks (Zhou et al. 2023, arXiv 2302.14040) and transformers (arXiv 2305.13546)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sneframe.config.schema import RunConfig
from sneframe.hookspecs import hookimpl
from sneframe.parts.part import Part
from sneframe_nfn import recipes
from sneframe_nfn.aggregator import HNPPool, NPPool
from sneframe_nfn.layer_encoder import AttentionBlocks, HNPLayers, NPLayers
from sneframe_nfn.tokenizer import NFNChannels


@hookimpl
def sneframe_parts() -> Sequence[type[Part]]:
    return (NFNChannels, NPLayers, HNPLayers, AttentionBlocks, HNPPool, NPPool)


@hookimpl
def sneframe_recipes() -> Mapping[str, Callable[[], RunConfig]]:
    return {
        "nfn/default": recipes.default,
        "nfn/hnp": recipes.hnp,
        "nfn/np": recipes.np_layers,
        "nfn/nft": recipes.nft,
        "nfn/hnp-fair": recipes.hnp_fair,
        "nfn/np-fair": recipes.np_fair,
        "nfn/nft-fair": recipes.nft_fair,
        "nfn/hnp-paper": recipes.hnp_paper,
        "nfn/np-paper": recipes.np_paper,
        "nfn/nft-paper": recipes.nft_paper,
    }
