import gzip
import io
import os
import stat
import tarfile

import pytest
import zstandard

from knarr.node.images.errors import ImageError, InvalidLayer, LimitExceeded
from knarr.node.images.limits import Limits
from knarr.node.images.rooted import Rooted, has_openat2
from knarr.node.images.unpack import OPAQUE_XATTR, unpack_layer

LIMITS = Limits()
IS_ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not IS_ROOT, reason="whiteout devices and owners need root")


def link(target):
    return {"type": tarfile.SYMTYPE, "linkname": target}


def hard(target):
    return {"type": tarfile.LNKTYPE, "linkname": target}


@pytest.fixture
def world(tmp_path):
    """A target directory among things that must not change."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "canary").write_text("alive")
    (tmp_path / "root").mkdir()
    return tmp_path


def canary_of(world):
    return {
        str(path.relative_to(world)): path.read_bytes() if path.is_file() else None
        for path in world.rglob("*")
        if not path.is_relative_to(world / "root")
    }


@pytest.fixture
def unpack(world, make):
    before = canary_of(world)

    def run(*entries, form="merge", limits=LIMITS, own=IS_ROOT, data=None):
        blob = make.tar(*entries) if data is None else data
        try:
            return unpack_layer(
                io.BytesIO(blob), len(blob), world / "root", form=form, limits=limits, own=own
            )
        finally:
            assert canary_of(world) == before

    return run


def tree(world):
    root = world / "root"
    return {str(path.relative_to(root)) for path in root.rglob("*")}


# --- what a layer is for ------------------------------------------------------------------------------


def test_files_links_and_metadata(world, unpack):
    report = unpack(
        ("d", {"type": tarfile.DIRTYPE, "mode": 0o750, "mtime": 7}),
        ("d/f", {"data": b"hello", "mode": 0o4755, "mtime": 1234.5}),
        ("d/h", hard("d/f")),
        ("s", link("/d/f")),
        ("p", {"type": tarfile.FIFOTYPE}),
        ("implicit/parent/f", b"x"),
        ("/absolute", b"is relative to the root"),
        ("./dotted//slashes/", "dir"),
    )
    root = world / "root"
    found = (root / "d" / "f").stat()
    assert stat.S_IMODE(found.st_mode) == 0o4755
    assert found.st_mtime_ns == 1_234_500_000_000
    assert found.st_nlink == 2
    assert os.readlink(root / "s") == "/d/f"
    assert stat.S_ISFIFO((root / "p").stat().st_mode)
    assert (root / "d").stat().st_mtime == 7
    assert stat.S_IMODE((root / "implicit/parent").stat().st_mode) == 0o755
    assert (root / "absolute").exists()
    assert (root / "dotted/slashes").is_dir()
    assert report.entries == 8
    assert report.size_bytes == 5 + 1 + 23


def test_the_diff_id_covers_everything_after_the_archive_too(unpack, make):
    data = make.tar(("f", b"1")) + b"\0" * 5000
    report = unpack(data=data)
    assert report.diff_id == make.sha(data)


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
        zstandard.ZstdCompressor().compress,
        lambda data: zstandard.compress(data[:700]) + zstandard.compress(data[700:]),
    ],
    ids=["gzip", "gzip members", "zstd", "zstd frames"],
)
def test_compressed_layers(world, unpack, make, pack):
    data = make.tar(("f", b"1" * 100_000))
    assert unpack(data=pack(data)).diff_id == make.sha(data)
    assert (world / "root" / "f").stat().st_size == 100_000


def test_every_kind_of_long_name_and_number(world, make):
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        name = "/".join(["d" * 90] * 4) + "/f"
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            for entry_name, target in ((name, ""), ("link", "t" * 300)):
                entry = tarfile.TarInfo(entry_name)
                entry.uid = 3_000_000
                if target:
                    entry.type, entry.linkname = tarfile.SYMTYPE, target
                archive.addfile(entry)
        target = world / "root" / str(form)
        target.mkdir()
        data = out.getvalue()
        unpack_layer(io.BytesIO(data), len(data), target, form="merge", limits=LIMITS, own=IS_ROOT)
        assert (target / name).is_file()
        assert os.readlink(target / "link") == "t" * 300
        if IS_ROOT:
            assert (target / name).stat().st_uid == 3_000_000


def test_sparse_files_stay_sparse(world):
    path = world / "sparse"
    with path.open("wb") as file:
        file.truncate(8 << 20)
        file.seek(4 << 20)
        file.write(b"data")
    for number, form in enumerate(("gnu", "pax")):
        archive = world / f"{form}.tar"
        assert os.system(f"tar --format={form} -C {world} -S -cf {archive} sparse") == 0
        target = world / "root" / str(number)
        target.mkdir()
        with archive.open("rb") as file:
            unpack_layer(
                file, archive.stat().st_size, target, form="merge", limits=LIMITS, own=IS_ROOT
            )
        made = target / "sparse"
        assert made.stat().st_size == 8 << 20
        assert made.stat().st_blocks * 512 < 4 << 20
        assert made.read_bytes()[4 << 20 :][:4] == b"data"


def test_later_entries_replace_earlier_ones(world, unpack):
    unpack(
        ("a", b"file"),
        ("a", "dir"),
        ("a/b", b"1"),
        ("a", "dir"),
        ("c", "dir"),
        ("c/d", b"1"),
        ("c", b"now a file"),
        ("e", link("a")),
        ("e", b"not through the link"),
    )
    assert tree(world) == {"a", "a/b", "c", "e"}
    assert not (world / "root" / "e").is_symlink()


def test_entries_below_a_link_of_the_same_layer_follow_it_inside(world, unpack):
    unpack(("usr/lib", "dir"), ("lib", link("/usr/lib")), ("lib/f", b"1"), ("lib/sub/g", b"2"))
    assert (world / "root" / "usr/lib/f").read_bytes() == b"1"
    assert (world / "root" / "usr/lib/sub/g").read_bytes() == b"2"


def test_user_xattrs_come_along_others_are_dropped_and_counted(world, unpack):
    def attrs(**names):
        return {"data": b"1", "pax_headers": {f"SCHILY.xattr.{k}": v for k, v in names.items()}}

    report = unpack(
        (
            "f",
            attrs(**{"user.a": "b", "trusted.overlay.opaque": "y", "user.overlay.redirect": "/"}),
        ),
    )
    path = world / "root" / "f"
    try:
        os.setxattr(path, "user.probe", b"")
    except OSError:
        pytest.skip("the file system has no user xattrs")
    assert os.getxattr(path, "user.a") == b"b"
    assert sorted(os.listxattr(path)) == ["user.a", "user.probe"]
    assert report.xattrs == 2


@needs_root
def test_owners_and_capabilities_are_those_of_the_image(world, unpack):
    capability = b"\x01\x00\x00\x02\x00\x04\x00\x00" + bytes(12)
    unpack(
        (
            "f",
            {
                "data": b"1",
                "uid": 1000,
                "gid": 1001,
                "mode": 0o2755,
                "pax_headers": {
                    "SCHILY.xattr.security.capability": capability.decode(
                        "utf-8", "surrogateescape"
                    )
                },
            },
        ),
        ("d", {"type": tarfile.DIRTYPE, "uid": 7, "mode": 0o700}),
        ("s", {"type": tarfile.SYMTYPE, "linkname": "/nowhere", "uid": 8}),
    )
    found = (world / "root" / "f").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1000, 1001, 0o2755)
    assert os.getxattr(world / "root" / "f", "security.capability") == capability
    assert (world / "root" / "d").stat().st_uid == 7
    assert (world / "root" / "s").lstat().st_uid == 8


def test_without_ownership_everything_belongs_to_the_caller_and_is_readable(world, unpack):
    report = unpack(
        ("d", {"type": tarfile.DIRTYPE, "uid": 7, "mode": 0}),
        ("d/f", {"data": b"1", "uid": 7, "mode": 0}),
        own=False,
    )
    found = (world / "root" / "d/f").stat()
    assert found.st_uid == os.geteuid()
    assert stat.S_IMODE(found.st_mode) == 0o400
    assert stat.S_IMODE((world / "root" / "d").stat().st_mode) == 0o700
    assert report.owners == 2


# --- whiteouts ----------------------------------------------------------------------------------------


def test_merging_carries_removals_out(world, unpack):
    unpack(("a", b"1"), ("d/x", b"1"), ("d/y", b"1"), ("d/sub/z", b"1"), ("e/old", b"1"))
    unpack(
        (".wh.a", b""),
        ("d/.wh.x", b""),
        (".wh.gone", b""),
        ("e", "dir"),
        ("e/.wh..wh..opq", b""),
        ("e/new", b"2"),
        (".wh..wh.plnk", b""),
    )
    assert tree(world) == {"d", "d/y", "d/sub", "d/sub/z", "e", "e/new"}


def test_an_opaque_mark_spares_what_the_layer_itself_brings_in_any_order(world, unpack):
    unpack(("e/old/deep", b"1"), ("e/keep/old", b"1"))
    unpack(("e/new", b"2"), ("e/keep/new", b"2"), ("e/.wh..wh..opq", b""))
    assert tree(world) == {"e", "e/new", "e/keep", "e/keep/new"}


def test_a_whiteout_beside_the_name_it_removes_replaces_it(world, unpack):
    unpack(("e/old", b"1"), ("f", b"1"))
    unpack((".wh.e", b""), ("e", "dir"), ("e/new", b"2"), ("f", b"2"), (".wh.f", b""))
    assert tree(world) == {"e", "e/new", "f"}
    assert (world / "root" / "f").read_bytes() == b"2"


def test_an_opaque_root_empties_what_is_below(world, unpack):
    unpack(("a", b"1"), ("d/b", b"1"))
    unpack(("c", b"1"), (".wh..wh..opq", b""))
    assert tree(world) == {"c"}


@needs_root
def test_overlay_form_uses_the_kernels_marks(world, unpack):
    report = unpack(
        ("d/.wh.x", b""),
        ("e", "dir"),
        ("e/.wh..wh..opq", b""),
        ("e/.wh.needless", b""),
        (".wh.f", b""),
        ("f", "dir"),
        form="overlay",
    )
    root = world / "root"
    mark = (root / "d/x").lstat()
    assert stat.S_ISCHR(mark.st_mode)
    assert mark.st_rdev == 0
    assert os.getxattr(root / "e", OPAQUE_XATTR) == b"y"
    assert os.getxattr(root / "f", OPAQUE_XATTR) == b"y"
    assert not (root / "e/needless").exists()
    assert not report.opaque_root
    assert unpack((".wh..wh..opq", b""), form="overlay").opaque_root
    assert not os.listxattr(root)


# --- hostile layers -----------------------------------------------------------------------------------

HOSTILE = {
    "dot dot": [("../outside/canary", b"dead")],
    "dot dot inside": [("a/../../outside/canary", b"dead")],
    "dot dot directory": [("../outside", {"type": tarfile.DIRTYPE, "mode": 0o777})],
    "dot dot alone": [("..", "dir")],
    "hard link outside": [("f", hard("../outside/canary")), ("f", b"dead")],
    "hard link to an absolute path": [("f", hard("/outside/canary"))],
    "hard link through a link": [("l", link("../outside")), ("f", hard("l/canary"))],
    "hard link to a directory": [("d", "dir"), ("f", hard("d"))],
    "hard link to the root": [("f", hard("."))],
    "hard link to itself": [("f", hard("f"))],
    "write through a relative link": [("l", link("../outside")), ("l/canary", b"dead")],
    "write through a link chain": [
        ("a", link("..")), ("b", link("a/outside")), ("b/canary", b"dead"),
    ],
    "write through a link to a link loop": [("a", link("b")), ("b", link("a")), ("a/x", b"1")],
    "write through a dangling link": [("l", link("/nowhere")), ("l/x", b"1")],
    "file as a directory": [("f", b"1"), ("f/x", b"1")],
    "whiteout of dot": [(".wh..", b"")],
    "whiteout of dot dot": [(".wh...", b"")],
    "whiteout of nothing": [(".wh.", b"")],
    "whiteout through dot dot": [("../outside/.wh.canary", b"")],
    "root as a file": [(".", b"1")],
    "root as a link": [("./", link("/outside"))],
    "name too long": [("x" * 300, b"1")],
    "path too deep": [("/".join("d" * 300), b"1")],
    "nul in a link": [("l", {"type": tarfile.SYMTYPE, "pax_headers": {"linkpath": "a\0b"}})],
    "nul in a name": [("l", {"data": b"1", "pax_headers": {"path": "a\0b"}})],
}  # fmt: skip


@pytest.mark.parametrize("form", ["merge", pytest.param("overlay", marks=needs_root)])
@pytest.mark.parametrize("entries", HOSTILE.values(), ids=HOSTILE)
def test_hostile_entries_change_nothing_outside(unpack, entries, form):
    with pytest.raises(ImageError):
        unpack(*entries, form=form)


HARMLESS = {
    "absolute name": [("/outside/canary", b"inside")],
    "absolute link target": [("l", link("/outside")), ("outside", "dir"), ("l/canary", b"inside")],
    "link out of the root": [("d/l", link("../../../..")), ("d/l/outside/canary", b"inside")],
    "replace a link by a directory": [("l", link("../outside")), ("l", "dir"), ("l/canary", b"inside")],
    "replace a link by a file": [("l", link("../outside/canary")), ("l", b"inside")],
    "whiteout of a link": [("l", link("../outside")), (".wh.l", b"")],
    "opaque mark behind a link": [("l", link("..")), ("l/.wh..wh..opq", b"")],
    "directory mode through a link": [("l", link("../outside")), ("l", {"type": tarfile.DIRTYPE, "mode": 0})],
    "opaque mark in a loop home": [("d/l", link("/d")), ("d/l/.wh..wh..opq", b""), ("d/l/x", b"1")],
}  # fmt: skip


@pytest.mark.parametrize("form", ["merge", pytest.param("overlay", marks=needs_root)])
@pytest.mark.parametrize("entries", HARMLESS.values(), ids=HARMLESS)
def test_odd_entries_stay_inside(unpack, entries, form):
    unpack(*entries, form=form)


def test_devices_are_not_made(world, unpack):
    report = unpack(
        ("null", {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}),
        ("whiteout", {"type": tarfile.CHRTYPE, "devmajor": 0, "devminor": 0}),
        ("disk", {"type": tarfile.BLKTYPE, "devmajor": 8, "devminor": 0}),
        ("weird", {"type": b"Z"}),
    )
    assert tree(world) == set()
    assert report.devices == 4


SMALL = Limits(
    layer_entries=10,
    layer_bytes=100_000,
    name_bytes=200,
    ratio=10,
    ratio_from_bytes=50_000,
    header_bytes=4096,
)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([(f"f{number}", b"") for number in range(11)], "more than 10 entries"),
        ([("f", b"x" * 100_001)], "more than"),
        ([("x" * 90 + str(number), b"") for number in range(3)], "names in the layer exceed"),
        (
            [("f", {"data": b"", "pax_headers": {"comment": "x" * 5000}})],
            "a tar header claims more",
        ),
    ],
    ids=["entries", "bytes", "names", "header"],
)
def test_caps(unpack, entries, message):
    with pytest.raises(LimitExceeded, match=message):
        unpack(*entries, limits=SMALL)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_bomb_stops_at_its_ratio(world, unpack, make, pack):
    data = make.tar(("f", bytes(90_000)))
    with pytest.raises(LimitExceeded, match="10 times its size"):
        unpack(data=pack(data), limits=SMALL)


def test_a_sparse_file_cannot_claim_more_than_the_cap(unpack):
    header = tarfile.TarInfo("sparse")
    header.pax_headers = {
        "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "s",
        "GNU.sparse.size": str(1 << 50), "GNU.sparse.map": "0,0",
    }  # fmt: skip
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(header)
    with pytest.raises(LimitExceeded):
        unpack(data=out.getvalue())


def test_a_header_that_claims_eight_gigabytes_of_names_is_refused(unpack):
    header = tarfile.TarInfo("././@LongLink")
    header.type = tarfile.GNUTYPE_LONGNAME
    header.size = 8 << 30
    with pytest.raises(LimitExceeded, match="header claims"):
        unpack(data=header.tobuf(tarfile.GNU_FORMAT) + bytes(100_000))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 10,
        b"junk" * 1000,
        b"\x1f\x8b" + b"junk" * 100,
        gzip.compress(b"x" * 5000)[:-20],
        b"\x28\xb5\x2f\xfd" + b"junk" * 100,
        b"BZh9" + b"junk" * 100,
        b"\xfd7zXZ\x00" + b"junk",
    ],
    ids=["empty", "zeros", "junk", "bad gzip", "cut gzip", "bad zstd", "bzip2", "xz"],
)
def test_what_is_no_layer_is_refused(unpack, data):
    with pytest.raises(InvalidLayer):
        unpack(data=data)


def test_a_layer_cut_inside_a_file_is_refused(unpack, make):
    with pytest.raises(InvalidLayer):
        unpack(data=make.tar(("f", b"x" * 10_000))[:3000])


def test_an_empty_archive_is_an_empty_layer(world, unpack):
    assert unpack(data=bytes(1024)).entries == 0


def test_sizes_in_negative_binary_are_refused(unpack):
    header = bytearray(tarfile.TarInfo("f").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 12
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    with pytest.raises(ImageError):
        unpack(data=bytes(header) + bytes(2048))


def test_removing_a_very_deep_tree_does_not_recurse(world):
    from knarr.node.images.files import remove_tree

    root = world / "root"
    here = os.open(root, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    remove_tree(root)
    assert not root.exists()
    remove_tree(root)


# --- resolving names ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [True, False])
def test_rooted_treats_its_directory_as_slash(world, kernel):
    if kernel and not has_openat2():
        pytest.skip("no openat2 here")
    root = world / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "up").symlink_to("../../..")
    (root / "abs").symlink_to("/a")
    (root / "a/self").symlink_to(".")
    (root / "out").symlink_to("../outside")
    with Rooted(root, kernel=kernel) as rooted:

        def inode(path):
            return os.stat(f"/proc/self/fd/{rooted.directory(path)}").st_ino

        assert inode("up") == root.stat().st_ino
        assert inode("abs/b") == (root / "a/b").stat().st_ino
        assert inode("up/a/self/self/b/..") == (root / "a").stat().st_ino
        with pytest.raises(FileNotFoundError):
            rooted.directory("out")
        with pytest.raises(InvalidLayer, match="leads nowhere"):
            rooted.ensure_directory("out/x")
        rooted.ensure_directory("abs/new/deep")
    assert (root / "a/new/deep").is_dir()
