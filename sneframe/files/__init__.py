"""Files of networks that come from elsewhere: read without running anything that stands in them."""

from sneframe.files.folder import inside
from sneframe.files.read import SUFFIXES, StateDict, is_sharded, read_state_dict
from sneframe.files.stub import Stub, read_stubbed

__all__ = ["SUFFIXES", "StateDict", "Stub", "inside", "is_sharded", "read_state_dict", "read_stubbed"]
