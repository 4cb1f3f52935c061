"""Whatever a layer contains, nothing outside its directory changes, and both resolvers agree."""

import contextlib
import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from knarr.node.images.errors import ImageError
from knarr.node.images.limits import Limits
from knarr.node.images.rooted import Rooted, has_openat2
from knarr.node.images.unpack import unpack_layer

LIMITS = Limits(layer_entries=100, layer_bytes=1 << 20, header_bytes=1 << 16)
PARTS = st.sampled_from(
    ["a", "b", "c", "..", ".", "", "outside", "canary", ".wh.a", ".wh.b", ".wh..wh..opq", "a\udcff"]
)
PATHS = st.builds(
    lambda root, parts: root + "/".join(parts),
    st.sampled_from(["", "/"]),
    st.lists(PARTS, max_size=5),
)
KINDS = st.sampled_from(
    [
        tarfile.REGTYPE,
        tarfile.DIRTYPE,
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.FIFOTYPE,
        tarfile.CHRTYPE,
    ]
)
ENTRIES = st.lists(
    st.tuples(KINDS, PATHS, PATHS, st.binary(max_size=8), st.integers(0, 0o7777)), max_size=12
)


def layer(entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", errors="surrogateescape") as archive:
        for kind, name, target, data, mode in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = kind, target, mode
            if kind == tarfile.REGTYPE:
                entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def snapshot(path):
    found = {}
    for directory, names, files in os.walk(path):
        if Path(directory) == path:
            names[:] = [name for name in names if name != "root"]
        for name in [*names, *files]:
            item = Path(directory, name)
            stats = item.lstat()
            content = item.read_bytes() if item.is_file() else b""
            found[str(item)] = (
                stats.st_mode,
                stats.st_uid,
                stats.st_mtime_ns,
                stats.st_nlink,
                content,
            )
    return found


FORMS = ["merge", *(["overlay"] if os.geteuid() == 0 else [])]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(
    [
        (tarfile.SYMTYPE, "a", "..", b"", 0),
        (tarfile.REGTYPE, "a/outside/canary", "", b"dead", 0o777),
    ],
    "merge",
)
@given(ENTRIES, st.sampled_from(FORMS))
def test_unpacking_stays_inside(entries, form):
    world = Path(tempfile.mkdtemp())
    try:
        (world / "outside").mkdir()
        (world / "outside" / "canary").write_bytes(b"alive")
        (world / "root").mkdir()
        before = snapshot(world)
        data = layer(entries)
        with contextlib.suppress(ImageError):
            unpack_layer(
                io.BytesIO(data),
                len(data),
                world / "root",
                form=form,
                limits=LIMITS,
                own=os.geteuid() == 0,
            )
        assert snapshot(world) == before
    finally:
        shutil.rmtree(world)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=3000), st.binary(min_size=1, max_size=40), st.integers(0, 3000))
def test_damaged_archives_only_raise_image_errors(junk, patch, position):
    data = bytearray(layer([(tarfile.REGTYPE, "a/b", "", b"12345678", 0o644)] * 3) + junk)
    data[position : position + len(patch)] = patch
    world = Path(tempfile.mkdtemp())
    try:
        unpack_layer(io.BytesIO(data), len(data), world, form="merge", limits=LIMITS, own=False)
    except ImageError:
        pass
    finally:
        shutil.rmtree(world)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(PATHS, PATHS), max_size=6), PATHS)
def test_the_walk_resolves_like_the_kernel(links, path):
    if not has_openat2():
        return
    root = Path(tempfile.mkdtemp())
    try:
        (root / "a" / "b").mkdir(parents=True)
        (root / "c").mkdir()
        for name, target in links:
            place = os.path.normpath("/" + name).lstrip("/")
            if (
                place
                and target
                and not os.path.lexists(root / place)
                and (root / place).parent.is_dir()
            ):
                if not (root / place).parent.resolve().is_relative_to(root):
                    continue
                os.symlink(target, root / place)
        results = []
        for kernel in (True, False):
            with Rooted(root, kernel=kernel) as rooted:
                try:
                    results.append(os.stat(f"/proc/self/fd/{rooted.directory(path)}").st_ino)
                except OSError as error:
                    results.append(error.errno)
        assert results[0] == results[1]
    finally:
        shutil.rmtree(root)
