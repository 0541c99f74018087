"""One name, one directory: found again, shared with nobody, readable; and what 0.1.0 made is found too."""

import os
import re
import stat
import threading
import unicodedata

import pytest
from hypothesis import given, settings, strategies as st

from agent_service.errors import UsageError
from agent_service.launch import default_state
from agent_service.launch.default_state import FOLDER, claimed, state_of
from agent_service.state_dir import StateDir

NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=60).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 240
)


def of_0_1_0(root, name):
    """Make a state directory as 0.1.0 did, and return it."""
    made = root / FOLDER / re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")
    made.mkdir(mode=0o700, parents=True)
    (made / "journal.db").touch()
    return made


@pytest.mark.parametrize(
    "name",
    ["réglage", "測定", "扫描 1", "🎉", "!!!", "..", "a" * 240, "é" * 120, "a~b", "x\ny", "../../etc", "-"],
)
def test_a_name_of_any_kind_has_a_directory_of_its_own(tmp_path, name):
    file = tmp_path / f"{name.replace('/', '_')}.ipynb"
    mine = claimed(name, file=file, here=tmp_path)
    assert mine.parent == tmp_path / FOLDER
    assert mine.is_dir()
    assert claimed(name, file=file, here=tmp_path) == mine, "the next start finds it"
    with StateDir(mine):
        pass
    readable = [one for one in unicodedata.normalize("NFC", name) if one.isalnum()]
    assert all(one in mine.name for one in readable), "a person finds it"
    assert stat.S_IMODE(mine.stat().st_mode) == stat.S_IMODE(mine.parent.stat().st_mode) == 0o700


@settings(max_examples=150, deadline=None)
@given(names=st.lists(NAMES, min_size=2, max_size=6, unique_by=lambda name: unicodedata.normalize("NFC", name)))
def test_no_two_names_share_one(tmp_path_factory, names):
    here = tmp_path_factory.mktemp("names")
    first = [claimed(name, file=None, here=here) for name in names]
    assert len(set(first)) == len(names)
    for name, path in zip(reversed(names), reversed(first), strict=True):  # in any order
        assert claimed(name, file=None, here=here) == path


def test_names_that_only_look_alike_in_0_1_0_are_apart(tmp_path):
    names = ["a b", "a-b", "a+b", "a  b", "a é b", "測定", "扫描", "設定"]
    assert len({claimed(name, file=None, here=tmp_path) for name in names}) == len(names)


def test_a_name_is_one_however_its_accents_are_written(tmp_path):
    composed, apart = (unicodedata.normalize(form, "réglage") for form in ("NFC", "NFD"))
    assert composed != apart
    assert claimed(composed, file=None, here=tmp_path) == claimed(apart, file=None, here=tmp_path)


@pytest.mark.parametrize("name", ["align", "my proto", "scan-2024.v2", "a+b", "_x_", "UPPER", "a" * 200])
def test_a_directory_of_0_1_0_is_found_again(tmp_path, name):
    old = of_0_1_0(tmp_path, name)
    assert state_of(tmp_path / f"{name}.ipynb") == old
    assert claimed(name, file=tmp_path / f"{name}.ipynb", here=tmp_path) == old
    assert claimed(name, file=tmp_path / f"{name}.ipynb", here=tmp_path) == old


def test_a_directory_that_several_names_had_in_0_1_0_is_that_of_one(tmp_path):
    old = of_0_1_0(tmp_path, "a b")
    (tmp_path / "a-b.py").touch()
    assert claimed("a b", file=None, here=tmp_path) != old, "there is a file of the very name"
    assert claimed("a-b", file=None, here=tmp_path) == old
    assert claimed("a+b", file=None, here=tmp_path) not in (old, claimed("a b", file=None, here=tmp_path))
    lost = of_0_1_0(tmp_path, "r glage")
    assert claimed("réglage", file=None, here=tmp_path) != lost, "nobody knows whose it is"


def test_the_same_name_in_two_folders(tmp_path):
    here = tmp_path / "here"
    files = [here / "scan.py", here / "a" / "scan.py", here / "b" / "scan.py", tmp_path / "scan.py"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    found = [claimed("scan", file=file, here=here) for file in files]
    assert len(set(found)) == len(files)
    assert found[0] == here / FOLDER / "scan"
    assert [claimed("scan", file=file, here=here) for file in reversed(files)] == found[::-1]


def test_where_case_does_not_count_for_the_file_system(tmp_path):
    """As such a file system has it: the directory of the other spelling is this one's too, and the file is the same."""
    mine = claimed("Scan", file=None, here=tmp_path)
    mine.rename(tmp_path / FOLDER / "scan")
    assert claimed("scan", file=None, here=tmp_path).name == "scan"


@pytest.mark.parametrize("attempt", range(20))
@pytest.mark.parametrize("alike", [["a b", "a-b", "a+b", "a  b"], ["é b", "é-b", "é+b", "é  b"]], ids=ascii)
def test_of_several_at_once_each_has_its_own(tmp_path, attempt, alike):
    names = alike * 3
    found = {}
    barrier = threading.Barrier(len(names))

    def claim(i, name):
        barrier.wait()
        found[i] = claimed(name, file=None, here=tmp_path)

    threads = [threading.Thread(target=claim, args=one) for one in enumerate(names)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    by_name = {name: {found[i] for i, one in enumerate(names) if one == name} for name in names}
    assert all(len(paths) == 1 for paths in by_name.values())
    assert len({paths.copy().pop() for paths in by_name.values()}) == 4


def test_on_a_network_file_system_folders_do_not_share_one_either(tmp_path, monkeypatch):
    monkeypatch.setattr(default_state, "file_system", lambda path: "nfs4" if "net" in path.parts else "ext4")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    folders = [tmp_path / "net" / name for name in ("é", "è", "a b", "a-b", "測")]
    for folder in folders:
        folder.mkdir(parents=True)
    found = [claimed("scan", file=None, here=folder) for folder in folders]
    assert len(set(found)) == len(folders)
    assert [claimed("scan", file=None, here=folder) for folder in folders] == found
    base = tmp_path / f"agent-service-{os.getuid()}"
    assert all(base in path.parents for path in found)
    base.chmod(0o777)
    with pytest.raises(UsageError, match="chmod go-w"):
        claimed("scan", file=None, here=folders[0])


def test_where_nothing_can_be_written_the_lock_says_so(tmp_path):
    (tmp_path / FOLDER).touch()
    path = claimed("scan", file=None, here=tmp_path)
    with pytest.raises(UsageError, match="cannot be used"):
        StateDir(path).lock()
