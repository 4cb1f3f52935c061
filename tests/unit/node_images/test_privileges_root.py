"""What only root can set up: a full disk, and life without root's capabilities."""

import contextlib
import os
import subprocess
import sys

import pytest

from knarr.node.images.errors import DiskFull

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@contextlib.contextmanager
def small_disk(path, size):
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


async def test_a_full_disk_is_named_and_nothing_half_written_stays(tmp_path, make, store):
    image = make.image(make.tar(("big", os.urandom(3 << 20))))
    layout = make.layout(tmp_path / "layout", ("a/b:1", *image, None))
    with small_disk(store.root, "2m"):
        with pytest.raises(DiskFull, match="knarr image rm") as caught:
            await store.load(layout)
        assert caught.value.retryable
        assert list(store.scratch.iterdir()) == []
        assert store.list() == ()


async def test_a_disk_that_fills_while_unpacking(tmp_path, make, store):
    image = make.image(make.tar(*((f"f{number}", bytes(100_000)) for number in range(60))))
    layout = make.layout(tmp_path / "layout", ("a/b:1", *image, None))
    with small_disk(store.root, "3m"):
        (record,) = await store.load(layout)
        with pytest.raises(DiskFull):
            await store.layers(record)
        assert list(store.scratch.iterdir()) == []
        assert list((store.root / "layers").iterdir()) == []


SCRIPT = """
import asyncio, os, sys, tarfile, encodings.idna, concurrent.futures.thread
from pathlib import Path
from knarr.node.images.store import ImageStore
os.setgroups([]); os.setgid(65534); os.setuid(65534)
async def main():
    store = ImageStore(Path(sys.argv[1]))
    (record,) = await store.load(Path(sys.argv[2]))
    root = await store.layers(record)
    (merged,) = root.lower_dirs
    print(sorted(str(path.relative_to(merged)) for path in merged.rglob("*")))
    print({path.lstat().st_uid for path in merged.rglob("*")})
    store.remove(record.reference)
    await store.collect_garbage(())
    print(list((store.root / "layers").iterdir()))
asyncio.run(main())
"""


def test_without_root_layers_are_merged_and_belong_to_the_caller(tmp_path, make):
    image = make.image(
        make.tar(("d", {"type": b"5", "mode": 0, "uid": 5}), ("d/a", b"1"), ("d/b", b"1")),
        make.tar(("d/.wh.a", b""), ("c", {"data": b"2", "uid": 1000})),
    )
    layout = make.layout(tmp_path / "layout", ("a/b:1", *image, None))
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65534, 65534)
    for path in (tmp_path, *tmp_path.parents):
        if path.owner() == "root" and path.is_relative_to("/tmp/"):
            path.chmod(0o755)
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, home / "images", layout],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.stderr == ""
    assert result.stdout.splitlines() == ["['c', 'd', 'd/b']", "{65534}", "[]"]


CAPLESS = SCRIPT.replace("os.setgroups([]); os.setgid(65534); os.setuid(65534)", "")


def test_root_without_capabilities_merges_too(tmp_path, make):
    image = make.image(
        make.tar(("a", {"data": b"1", "uid": 7}), ("b", b"1")), make.tar((".wh.a", b""))
    )
    layout = make.layout(tmp_path / "layout", ("a/b:1", *image, None))
    result = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", CAPLESS,
         tmp_path / "images", layout],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.stderr == ""
    assert result.stdout.splitlines() == ["['b']", "{0}", "[]"]
