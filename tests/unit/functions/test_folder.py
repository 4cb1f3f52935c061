import os

import pytest

from knarr.functions.errors import BuildError
from knarr.functions.folder import read_folder


def write(path, **files):
    for name, text in files.items():
        place = path / name.replace("__", "/").replace("_DOT_", ".")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)


def test_a_folder_is_read_sorted_with_links_and_executables(tmp_path):
    write(tmp_path, main_DOT_py="x", z="", sub__a="12")
    (tmp_path / "tool").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "tool").chmod(0o755)
    (tmp_path / "link").symlink_to("sub")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    folder = read_folder(tmp_path)
    assert list(folder.files) == ["link", "main.py", "sub/a", "tool", "z"]
    assert folder.files["link"].target == "sub"
    assert folder.files["tool"].magic == b"#!/bin/sh\n"
    assert folder.files["sub/a"].size_bytes == 2
    assert folder.texts == {"main.py": "x"}
    assert folder.ignored_by == ""


def test_the_most_specific_ignore_file_counts(tmp_path):
    write(tmp_path, a="", b="", _DOT_git__config="", _DOT_venv__x="", _DOT_gitignore="a\n")
    assert list(read_folder(tmp_path).files) == [".gitignore", "b"]
    write(tmp_path, _DOT_knarrignore="b\n!.venv\n")
    folder = read_folder(tmp_path)
    assert list(folder.files) == [".gitignore", ".knarrignore", ".venv/x", "a"]
    assert folder.ignored_by == ".knarrignore"


def test_a_folder_without_files_says_so(tmp_path):
    with pytest.raises(BuildError, match="has no files"):
        read_folder(tmp_path)
    with pytest.raises(BuildError, match="is not a folder"):
        read_folder(tmp_path / "gone")
