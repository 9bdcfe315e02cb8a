"""Read network files that other programs wrote. No code in a file is ever executed."""

from sneframe.files.archive import read_entry
from sneframe.files.names import common_prefix, matched, with_aliases
from sneframe.files.reader import Candidate, Content, FileReader
from sneframe.files.safe_path import inside
from sneframe.files.sizes import check_sizes
from sneframe.files.state_dict import StateDict, find_state_dict, read_state_dict, read_torch
from sneframe.files.stub import StoredTensor, Stub, read_all, read_stubbed

__all__ = [
    "FileReader",
    "Candidate",
    "Content",
    "read_state_dict",
    "find_state_dict",
    "read_torch",
    "read_stubbed",
    "read_all",
    "StateDict",
    "StoredTensor",
    "Stub",
    "check_sizes",
    "inside",
    "matched",
    "with_aliases",
    "common_prefix",
    "read_entry",
]
