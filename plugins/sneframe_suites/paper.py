"""Define a suite for each table and figure of the SNE paper (arXiv 2305.16625).

A suite has the rows of its table first, and then methods that the paper does not have. The zoos that it
builds are ours: they follow the published descriptions, but are smaller, and each note says how. Name the
published zoos with ``--train`` and ``--test``, or with ``--zoo``, to use them instead.

The numbers of the published tables cannot be read by a program, so no suite states them.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from sneframe.config.suite import Built, Row, Suite
from sneframe_suites.classifier import ACCURACY
from sneframe_suites.inr import DATA_EFFICIENCY, FREQUENCY
from sneframe_suites.sne import ABLATION, CHUNK_SIZE

SINE_NOTE = (
    "The 3000 INRs are ours; the published ones seem to be like the sine waves of DWSNets, which "
    "sneframe zoo import dws-inr reads."
)
#: The image sets of the paper. Images of torchvision must be on disk, because nothing is downloaded.
IMAGES = {
    "mnist": "torchvision:MNIST",
    "fashion": "torchvision:FashionMNIST",
    "cifar10": "torchvision:CIFAR10",
    "svhn": "torchvision:SVHN",
}
#: Grey images of at most 28 × 28 pixels, so that one architecture takes all of them.
SMALL = {"grey": True, "size": 28, "train_images": 7000, "test_images": 2000}


def _zoos(arch: str, images: tuple[str, ...]) -> tuple[Built, ...]:
    """Return a zoo of CNNs of one architecture for each image set."""
    seeds = {name: seed for seed, name in enumerate(IMAGES, start=1)}
    return tuple(
        Built(
            label=f"{arch}-{name}",
            builder="zoos/cnn",
            options={"arch": arch, "data": IMAGES[name], "data_name": name, "seed": seeds[name], **SMALL},
        )
        for name in images
    )


def _rows(recipes: Mapping[str, str]) -> list[Row]:
    return [Row(label=label, recipe=recipe) for label, recipe in recipes.items()]


def _note(published: str, ours: str, how: str) -> str:
    return f"The zoos are ours: {ours}. Published: {published}. {how}"


#: Methods that take any mix of architectures.
ANY = {
    "SNE": "sne/default",
    "sne/message-statistics": "sne/message-statistics",
    "sne/probe": "sne/probe",
    "stats/pooled": "stats/pooled",
}
BETWEEN_ARCHITECTURES = {
    "Deep Sets": "deepsets/default",
    "NeuralGraph": "neural-graph/plain",
    **ANY,
}
BETWEEN_DATA_SETS = {
    "MLP": "mlp/default",
    "StatNN": "stats/boosting",
    "NFN-NP": "nfn/np-paper",
    "NFN-HNP": "nfn/hnp-paper",
    **ANY,
}
#: What all suites on CNNs share.
CNN = Suite(
    name="suites/paper",
    title="Test accuracy of CNNs",
    rows=_rows(ANY),
    property="test_accuracy",
    overrides=ACCURACY.overrides,
    seeds=3,
    budget=300,
    metric="tau",
)
RUNS = "1000 training runs of each, on 7000 grey images of at most 28 × 28 pixels"
FINAL = "Each network is the last checkpoint of its run (final)."

TABLE_1 = evolve(
    FREQUENCY,
    name="suites/paper-table-1",
    title="SNE, table 1: frequency of sine INRs",
    rows=_rows(
        {
            "MLP": "mlp/fair",
            "Deep Sets": "deepsets/fair",
            "StatNN": "stats/boosting",
            "NFN-NP": "nfn/np-fair",
            "NFN-HNP": "nfn/hnp-fair",
            "NFT": "nfn/nft-fair",
            "DWSNet": "dwsnet/fair",
            "SNE": "sne/fair",
            "sne/message-fair": "sne/message-fair",
            "sne/probe-fair": "sne/probe-fair",
        }
    ),
    note=SINE_NOTE,
)
TABLE_2 = evolve(
    CNN,
    name="suites/paper-table-2",
    title="SNE, table 2: from Arch1 to Arch2",
    rows=_rows(BETWEEN_ARCHITECTURES),
    train=_zoos("arch1", ("mnist", "cifar10", "svhn")),
    test=_zoos("arch2", ("mnist", "cifar10", "svhn")),
    note=_note("zoos of both architectures, which were not released", RUNS, FINAL),
)
TABLE_3 = evolve(
    CNN,
    name="suites/paper-table-3",
    title="SNE, table 3: from networks of SVHN to those of other images, beside HyperRep",
    rows=_rows({"HyperRep": "hyperrep/default", **ANY}),
    train=_zoos("small-cnn", ("svhn",)),
    test=_zoos("small-cnn", ("svhn", "mnist", "cifar10")),
    note=_note(
        "the model zoos of Schürholt et al., which sneframe zoo import model-zoos reads (their accuracy is "
        "--property test_acc)",
        f"the network of the Small CNN Zoo, {RUNS}",
        FINAL,
    ),
)
TABLE_4 = evolve(
    CNN,
    name="suites/paper-table-4",
    title="SNE, table 4: from Arch1 to transformers, on MNIST",
    rows=_rows({"Deep Sets": "deepsets/default", **ANY}),
    train=_zoos("arch1", ("mnist",)),
    test=[
        Built(
            label="transformer-mnist",
            builder="zoos/transformer",
            options={"data": IMAGES["mnist"], "data_name": "mnist", "seed": 1, **SMALL},
        )
    ],
    note=_note("zoos of both architectures, which were not released", RUNS, FINAL),
)
TABLE_5 = evolve(
    CNN,
    name="suites/paper-table-5",
    title="SNE, tables 5 and 8: from one data set to another",
    rows=_rows(BETWEEN_DATA_SETS),
    train=_zoos("small-cnn", ("mnist", "fashion", "cifar10", "svhn")),
    test=_zoos("small-cnn", ("mnist", "fashion", "cifar10", "svhn")),
    note=_note(
        "the Small CNN Zoo, 30 000 runs of each, which sneframe zoo import small-cnn-zoo reads (name the "
        "split of later papers with --set zoo.split=published)",
        RUNS,
        FINAL,
    ),
)
TABLE_6 = evolve(
    ABLATION, name="suites/paper-table-6", title="SNE, table 6: SNE without its parts", note=SINE_NOTE
)
TABLE_7 = evolve(CHUNK_SIZE, name="suites/paper-table-7", title="SNE, table 7: chunk sizes", note=SINE_NOTE)
TABLE_8 = evolve(TABLE_5, name="suites/paper-table-8")
TABLE_9 = evolve(
    TABLE_2,
    name="suites/paper-table-9",
    title="SNE, table 9: from Arch2 to Arch1",
    train=TABLE_2.test,
    test=TABLE_2.train,
)
FIGURE_2 = evolve(
    CNN,
    name="suites/paper-figure-2",
    title="SNE, figure 2: maps of the embeddings of the zoos of four data sets",
    rows=_rows({"MLP": "mlp/default", "StatNN": "stats/boosting", **ANY}),
    train=TABLE_5.train,
    together=True,
    note=f"{TABLE_5.note} One model is trained on all of them, each an equal part of an epoch.",
    overrides=(*CNN.overrides, "zoo.balance=zoo", 'zoo.show=["zoo","test_accuracy"]'),
    seeds=1,
)
FIGURE_3 = evolve(
    DATA_EFFICIENCY,
    name="suites/paper-figure-3",
    title="SNE, figure 3: frequency of sine INRs from a fraction of the training networks",
    rows=[row for row in TABLE_1.rows if row.label in ("NFT", "DWSNet", "SNE", "sne/message-fair")],
    note=SINE_NOTE,
)
SUITES = (
    *(TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_8, TABLE_9),
    *(FIGURE_2, FIGURE_3),
)
