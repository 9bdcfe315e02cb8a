"""The files of a distribution, however it is installed. A change of one changes the hash of the plugin."""

import importlib
import json
from importlib import metadata

import pytest

from sneframe.bench import source
from sneframe.bench.brought import brought
from sneframe.plugins import Installed


@pytest.fixture
def project(tmp_path):
    """Return a project with a plugin's package, a module next to it, and files that nothing imports."""
    root = tmp_path / "project"
    files = {
        "sneframe_of_mine/__init__.py": "x = 1",
        "sneframe_of_mine/table.json": "{}",
        "shared_of_mine.py": "x = 1",
        "space/inner/__init__.py": "x = 1",
        "space/inner/weights.bin": "1",
        "setup.py": "",
        "conftest.py": "",
        "README.md": "",
        "runs/metrics.json": "{}",
        "tests/test_mine.py": "",
        "build/lib/shared_of_mine.py": "",
        ".hidden/module.py": "",
        "env/pyvenv.cfg": "",
        "env/lib/other.py": "",
        "sneframe_of_mine/__pycache__/x.pyc": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


COUNTED = {
    "sneframe_of_mine/__init__.py",
    "sneframe_of_mine/table.json",
    "shared_of_mine.py",
    "space/inner/__init__.py",
    "space/inner/weights.bin",
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that writes the metadata of an installed plugin into a folder on Python's path."""

    def write(files, *, url=None, folder="site-packages", metadata_folder="mine-1.dist-info"):
        site = tmp_path / folder
        info = site / metadata_folder
        info.mkdir(parents=True)
        for name, text in files.items():
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text)
        texts = {"METADATA": "Metadata-Version: 2.1\nName: mine\nVersion: 1\n"}
        texts["entry_points.txt"] = "[sneframe]\nmine = sneframe_of_mine\n"
        if metadata_folder.endswith(".dist-info"):
            texts["RECORD"] = "".join(f"{name},,\n" for name in (*files, f"{metadata_folder}/RECORD"))
        if url is not None:
            texts["direct_url.json"] = json.dumps({"url": url, "dir_info": {"editable": True}})
        for name, text in texts.items():
            (info / name).write_text(text)
        monkeypatch.syspath_prepend(site)
        importlib.invalidate_caches()
        return metadata.Distribution.at(info)

    return write


def finder(project):
    """Return the finder that setuptools writes for an editable project with explicit packages."""
    mapping = {
        "sneframe_of_mine": str(project / "sneframe_of_mine"),
        "shared_of_mine": str(project / "shared_of_mine"),
        "space.inner": str(project / "space" / "inner"),
    }
    return f"import sys\nMAPPING: dict[str, str] = {mapping!r}\nNAMESPACES = {{}}\n"


def test_a_path_file_leads_to_the_project(project, install):
    """Packages and modules of the project count; tests, builds, environments and data do not."""
    assert brought(install({"_mine.pth": f"{project}\n"})).keys() == COUNTED


def test_a_finder_names_modules_one_by_one(project, install):
    """The finder of an editable project is read, not run."""
    pth = "import __editable___mine_finder; __editable___mine_finder.install()\n"
    files = {"__editable__.mine-1.pth": pth, "__editable___mine_finder.py": finder(project)}
    found = brought(install(files))
    assert {path.resolve() for path in found.values()} == {(project / name).resolve() for name in COUNTED}


def test_any_other_editable_project_is_searched(project, install):
    """The folder of any other editable project is read from direct_url.json."""
    found = brought(install({"_mine_loader.py": ""}, url=project.as_uri()))
    assert found.keys() == COUNTED | {"_mine_loader.py"}


def test_an_ordinary_installation_lists_its_files(install):
    """Only listed files count, without commands, path files and metadata."""
    files = {"sneframe_of_mine/__init__.py": "", "shared_of_mine.py": "", "../bin/mine": "", "mine.pth": ""}
    found = brought(install(files))
    other = next(iter(found.values())).parents[1] / "other.py"
    other.write_text("")
    assert found.keys() == {"sneframe_of_mine/__init__.py", "shared_of_mine.py"}


def test_a_checkout_on_the_path_is_searched(project, install):
    """A checkout on the path is searched, because its list of sources may be outdated."""
    found = brought(install({}, folder="project", metadata_folder="mine.egg-info"))
    assert found.keys() == COUNTED


def test_metadata_without_a_list_name_modules(install):
    """Without a list of files, only the modules in top_level.txt count."""
    files = {"sneframe_of_mine/__init__.py": "", "shared_of_mine.py": "", "other.py": ""}
    distribution = install(files, metadata_folder="mine.egg-info")
    (distribution._path / "top_level.txt").write_text("sneframe_of_mine\nshared_of_mine\n")
    assert brought(distribution).keys() == {"sneframe_of_mine/__init__.py", "shared_of_mine.py"}


def test_a_link_to_a_folder_above_ends(project, install):
    """A link to a folder above is not followed, so the search ends."""
    (project / "sneframe_of_mine" / "again").symlink_to(project)
    assert brought(install({"_mine.pth": f"{project}\n"})).keys() == COUNTED


# -- the hash of a plugin --------------------------------------------------------------------------


def hashed(distribution, *, called="mine"):
    importlib.invalidate_caches()
    (entry,) = distribution.entry_points
    return source._own(
        Installed(name="mine", distribution=called, version="1", module=entry.value, entry_point=entry)
    )


@pytest.mark.parametrize("name", ["shared_of_mine.py", "space/inner/weights.bin", "new_of_mine.py"])
def test_a_change_near_the_package_changes_the_hash(project, install, monkeypatch, name):
    """A change of a helper module or its data next to the package changes the hash."""
    monkeypatch.syspath_prepend(project)
    distribution = install({"_mine.pth": f"{project}\n"})
    before = hashed(distribution)
    (project / name).write_text("x = 2")
    assert hashed(distribution) != before


def test_a_change_of_a_test_leaves_the_hash(project, install, monkeypatch):
    """Changes of tests, and new data outside of packages, leave the hash as it was."""
    monkeypatch.syspath_prepend(project)
    distribution = install({"_mine.pth": f"{project}\n"})
    before = hashed(distribution)
    (project / "tests" / "test_mine.py").write_text("x = 2")
    (project / "runs" / "more.json").write_text("1")
    assert hashed(distribution) == before


def test_plugins_of_sneframe_are_hashed_one_by_one(project, install, monkeypatch):
    """Plugins of sneframe are in one distribution, but a change in one leaves the hash of another."""
    monkeypatch.syspath_prepend(project)
    distribution = install({"_mine.pth": f"{project}\n"})
    before = hashed(distribution, called="sneframe")
    (project / "shared_of_mine.py").write_text("x = 2")
    assert hashed(distribution, called="sneframe") == before
