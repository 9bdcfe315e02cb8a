"""Read and write zoos: folders that store the weights and properties of many networks.

A zoo is written once, and can be opened without reading the weights.
"""

from __future__ import annotations

from sneframe.zoo.builder import ZooBuilder
from sneframe.zoo.export import export
from sneframe.zoo.importer import ZooImporter, import_zoo
from sneframe.zoo.merge import merge
from sneframe.zoo.read import Zoo, open_zoo
from sneframe.zoo.splits import by_group
from sneframe.zoo.write import ZooWriter, create

__all__ = [
    "create",
    "ZooWriter",
    "open_zoo",
    "Zoo",
    "by_group",
    "merge",
    "export",
    "import_zoo",
    "ZooBuilder",
    "ZooImporter",
]
