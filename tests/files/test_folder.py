"""Names of files in a folder, as tables and indices give them."""

import pytest

from sneframe.errors import FileError
from sneframe.files.folder import inside


def test_a_link_to_itself_is_one_line(tmp_path):
    (tmp_path / "loop.pt").symlink_to("loop.pt")
    with pytest.raises(FileError, match=r"loop\.pt: "):
        inside(tmp_path, "loop.pt")
