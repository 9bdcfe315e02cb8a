"""Read network files that other programs wrote. No code in a file is ever executed."""

from sneframe.files.archive import read_entry
from sneframe.files.names import common_prefix, matched, with_aliases
from sneframe.files.safe_path import inside
from sneframe.files.shards import is_sharded
from sneframe.files.state_dict import (
    SUFFIXES,
    StateDict,
    find_state_dict,
    read_state_dict,
    read_torch,
)
from sneframe.files.stub import StoredTensor, Stub, read_all, read_stubbed

__all__ = [
    "read_state_dict",
    "find_state_dict",
    "read_torch",
    "read_stubbed",
    "read_all",
    "StateDict",
    "StoredTensor",
    "Stub",
    "SUFFIXES",
    "inside",
    "matched",
    "with_aliases",
    "common_prefix",
    "is_sharded",
    "read_entry",
]
