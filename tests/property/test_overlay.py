"""Layers stacked by the kernel's overlayfs show the same tree as layers merged by us."""

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knarr.node.images.errors import ImageError
from knarr.node.images.limits import Limits
from knarr.node.images.unpack import unpack_layer

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")]
NAMES = st.sampled_from(["a", "b", "c"])
DIRECTORIES = st.lists(NAMES, max_size=2).map(lambda parts: "".join(f"{part}/" for part in parts))
ENTRIES = st.tuples(
    st.sampled_from(["file", "dir", "link", "remove", "opaque"]), DIRECTORIES, NAMES
)
LAYERS = st.lists(st.lists(ENTRIES, max_size=6), min_size=2, max_size=4)


def layer(number, entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for kind, directory, name in entries:
            data = b""
            entry = tarfile.TarInfo(f"{directory}{name}")
            entry.mode = 0o755
            if kind == "file":
                data = f"{number}".encode()
                entry.size = len(data)
            elif kind == "dir":
                entry.type = tarfile.DIRTYPE
            elif kind == "link":
                entry.type, entry.linkname = tarfile.SYMTYPE, f"to{number}"
            elif kind == "remove":
                entry.name = f"{directory}.wh.{name}"
            else:
                entry.name = f"{directory}.wh..wh..opq"
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def tree(root):
    found = {}
    for directory, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(directory, name)
            if not os.path.lexists(path):
                continue  # a mark in a directory that is in one layer only: listed, but not there
            if path.is_symlink():
                found[str(path.relative_to(root))] = os.readlink(path)
            else:
                found[str(path.relative_to(root))] = path.read_bytes() if path.is_file() else None
    return found


def unpack(data, target, form):
    unpack_layer(io.BytesIO(data), len(data), target, form=form, limits=Limits(), own=True)


@settings(max_examples=60, deadline=None)
@given(LAYERS)
def test_overlay_equals_merge(layers):
    world = Path(tempfile.mkdtemp())
    try:
        merged, mounted = world / "merged", world / "mounted"
        merged.mkdir()
        mounted.mkdir()
        lower = []
        try:
            for number, entries in enumerate(layers):
                data = layer(number, entries)
                single = world / f"layer{number}"
                single.mkdir()
                report = unpack_layer(
                    io.BytesIO(data), len(data), single, form="overlay", limits=Limits(), own=True
                )
                unpack(data, merged, "merge")
                lower = [single] if report.opaque_root else [single, *lower]
        except ImageError:
            return  # a file where a directory is needed: refused alike
        empty = world / "empty"
        empty.mkdir()
        option = "ro,lowerdir=" + ":".join(map(str, [*lower, empty]))
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", option, mounted], check=True)
        try:
            assert tree(mounted) == tree(merged)
        finally:
            subprocess.run(["umount", mounted], check=True)
    finally:
        shutil.rmtree(world)
