"""Read the policy in a Stable-Baselines3 archive."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import final

from sneframe.errors import FileError, one_line
from sneframe.files.archive import read_entry
from sneframe.files.reader import Candidate, Content, FileReader
from sneframe.files.torch_reader import read_torch_file

POLICY = "policy.pth"  #: the only entry of the archive that is read


@final
class StableBaselinesReader(FileReader):
    """Reads a Stable-Baselines3 archive."""

    name = "sneframe/stable-baselines"
    help = "zip archives of Stable-Baselines3, of which the policy is read"
    endings = (".zip",)

    def recognises(self, candidate: Candidate) -> bool:
        """Recognise a zip archive with the entry ``policy.pth``."""
        return POLICY in candidate.entries

    def read(self, path: Path) -> Content:
        """Read the policy, and no other entry."""
        return read_policy(path)


def read_policy(path: Path) -> Content:
    """Read the entry ``policy.pth`` of a Stable-Baselines3 archive, and no other entry.

    Raises:
        FileError: the archive or the entry is damaged, or the archive has no such entry.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if POLICY not in archive.namelist():
                raise FileError(f"{path}: not an archive of Stable-Baselines3: {POLICY} is missing")
            content = read_entry(archive, POLICY, path)
    except zipfile.BadZipFile as error:
        raise FileError(f"{path}: damaged archive ({one_line(error)})") from error
    return read_torch_file(content, path)
