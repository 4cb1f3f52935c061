import gzip
import io
import json
import os
import tarfile

import pytest
import zstandard

from knarr.node.images.errors import (
    DigestMismatch,
    HostBaseMissing,
    InvalidArchive,
    NoMatchingPlatform,
    NotPresent,
)
from knarr.node.images.records import HostBind


async def test_an_oci_layout_directory_is_loaded_resolved_unpacked_and_exported(
    store, make, tmp_path
):
    layer = make.tar(("app", "dir"), ("app/hello", b"hi"))
    manifest, config, blobs = make.image(
        layer, config={"Entrypoint": ["/app/hello"], "Env": ["A=b"], "ExposedPorts": {"80/tcp": {}}}
    )
    layout = make.layout(
        tmp_path / "layout", ("docker.io/library/hello:1", manifest, config, blobs, None)
    )

    (record,) = await store.load(layout)

    assert record.reference == "docker.io/library/hello:1"
    assert record.digest == make.sha(manifest)
    assert record.config.entrypoint == ("/app/hello",)
    assert record.config.exposed_ports == ("80/tcp",)
    assert store.resolve("hello:1") == record
    assert store.resolve(f"hello@{record.digest}").digest == record.digest
    assert store.resolve("hello:2") is None
    root = await store.layers(record)
    assert (root.lower_dirs[0] / "app" / "hello").read_bytes() == b"hi"
    assert root.binds == ()
    again = await store.layers(record)
    assert again == root
    await store.export(record, tmp_path / "out")
    other = type(store)(tmp_path / "other", durable=False, platform=store.platform)
    (copied,) = await other.load(tmp_path / "out")
    assert (copied.reference, copied.digest) == (record.reference, record.digest)


@pytest.mark.parametrize(
    "pack",
    [lambda data: data, gzip.compress, zstandard.ZstdCompressor().compress],
    ids=["tar", "gz", "zst"],
)
async def test_an_old_docker_save_archive_is_loaded(store, make, tmp_path, pack):
    layer = make.tar(("x", b"1"))
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["x"], "Env": None},
            "rootfs": {"type": "layers", "diff_ids": [make.sha(layer), make.sha(layer)]},
        }
    ).encode()
    docker = json.dumps(
        [
            {
                "Config": "c.json",
                "RepoTags": ["me/x:v1", "me/x:v2"],
                "Layers": ["a/layer.tar", "b/layer.tar"],
            }
        ]
    ).encode()
    archive = make.tar(
        ("a", "dir"),
        ("a/layer.tar", layer),
        ("b/layer.tar", {"type": tarfile.SYMTYPE, "linkname": "../a/layer.tar"}),
        ("c.json", config),
        ("manifest.json", docker),
    )
    path = tmp_path / "x.tar"
    path.write_bytes(pack(archive))

    (record,) = await store.load(path)

    assert record.config.cmd == ("x",)
    assert store.resolve("me/x:v2").digest == record.digest
    root = await store.layers(record)
    assert (root.lower_dirs[0] / "x").read_bytes() == b"1"


async def test_a_new_docker_save_archive_takes_names_from_manifest_json(store, make, tmp_path):
    manifest, config, blobs = make.image(make.tar(("x", b"1")))
    layout = make.layout(tmp_path / "layout", ("latest", manifest, config, blobs, None))
    hex_config = make.sha(config).removeprefix("sha256:")
    (layout / "manifest.json").write_text(
        json.dumps(
            [{"Config": f"blobs/sha256/{hex_config}", "RepoTags": ["who/x:3"], "Layers": []}]
        )
    )
    path = tmp_path / "new.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(layout, ".")

    (record,) = await store.load(path)

    assert record.reference == "docker.io/who/x:3"


async def test_a_layout_without_names_is_called_after_its_file(store, make, tmp_path):
    layout = make.layout(tmp_path / "My App", ("v2", *make.image(make.tar(("x", b"1"))), None))
    (record,) = await store.load(layout)
    assert record.reference == "knarr.local/my-app:v2"
    (renamed,) = await store.load(layout, reference="knarr.local/other")
    assert renamed.reference == "knarr.local/other:latest"


async def test_only_the_image_for_this_machine_is_taken(store, make, tmp_path):
    arm = make.image(make.tar(("x", b"arm")), architecture="arm64")
    amd = make.image(make.tar(("x", b"amd")))
    layout = make.layout(
        tmp_path / "layout",
        ("a/b:1", *arm, {"os": "linux", "architecture": "arm64"}),
        ("a/b:1", *amd, {"os": "linux", "architecture": "amd64"}),
    )
    (record,) = await store.load(layout)
    assert record.digest == make.sha(amd[0])
    only_arm = make.layout(
        tmp_path / "arm", ("a/b:1", *arm, {"os": "linux", "architecture": "arm64"})
    )
    with pytest.raises(NoMatchingPlatform, match="linux/arm64"):
        await store.load(only_arm)


async def test_an_archive_with_a_wrong_blob_is_refused(store, make, tmp_path):
    manifest, config, blobs = make.image(make.tar(("x", b"1")))
    layout = make.layout(tmp_path / "layout", ("a/b:1", manifest, config, blobs, None))
    name = make.sha(blobs[0]).removeprefix("sha256:")
    (layout / "blobs" / "sha256" / name).write_bytes(b"something else")
    with pytest.raises(DigestMismatch):
        await store.load(layout)
    assert store.list() == ()


async def test_a_layer_that_is_not_what_the_configuration_says_is_refused(store, make, tmp_path):
    manifest, config, blobs = make.image(make.tar(("x", b"1")))
    lying = json.loads(config)
    lying["rootfs"]["diff_ids"] = [make.sha(b"other")]
    lying = json.dumps(lying).encode()
    document = json.loads(manifest)
    document["config"] |= {"digest": make.sha(lying), "size": len(lying)}
    layout = make.layout(
        tmp_path / "layout", ("a/b:1", json.dumps(document).encode(), lying, blobs, None)
    )
    (record,) = await store.load(layout)
    with pytest.raises(DigestMismatch, match="but the image says"):
        await store.layers(record)
    assert list(store.scratch.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no archive at all" * 100])
async def test_what_is_no_archive_is_refused_with_its_name(store, tmp_path, content):
    path = tmp_path / "junk"
    path.write_bytes(content)
    with pytest.raises(Exception, match=r"tar archive|neither") as caught:
        await store.load(path)
    assert caught.value.reason in {"InvalidImageArchive", "ErrImageUnpack"}
    with pytest.raises(InvalidArchive, match="there is no image archive"):
        await store.load(tmp_path / "absent")


async def test_local_images_are_never_pulled(store):
    with pytest.raises(NotPresent, match="knarr build"):
        await store.ensure("knarr.local/x:1", policy="Always")
    with pytest.raises(NotPresent, match="imagePullPolicy is Never"):
        await store.ensure("x", policy="Never")


async def test_garbage_collection_keeps_what_is_named_or_in_use(store, make, tmp_path):
    records = []
    for name in ("a", "b", "c"):
        image = make.image(make.tar((name, name.encode())))
        layout = make.layout(tmp_path / name, (f"x/{name}:1", *image, None))
        records += await store.load(layout)
        await store.layers(records[-1])
    (store.scratch / "leftover").mkdir()
    (store.root / "partial" / "new").touch()
    (store.root / "partial" / "old").touch()
    os.utime(store.root / "partial" / "old", (1, 1))
    store.remove("x/a:1")
    store.remove("x/b:1")

    report = await store.collect_garbage({records[1].digest})

    assert (report.images, report.layers) == (1, 1)
    assert report.blob_bytes > 0
    assert [record.digest for record in store.list()] == [records[2].digest, records[1].digest]
    assert await store.layers(records[2])
    assert store.resolve(f"x/a@{records[0].digest}") is None
    assert list(store.scratch.iterdir()) == []
    assert [path.name for path in (store.root / "partial").iterdir()] == ["new"]
    assert (await store.collect_garbage({records[1].digest})).images == 0


async def test_host_binds_come_from_the_store_and_must_exist(store, make, tmp_path):
    manifest, config, blobs = make.image(
        make.tar(("x", b"1")), config={"Labels": {"dev.knarr.base": "host"}}
    )
    async with store.changing():
        for data in (config, *blobs):
            store.blobs.put(data)
        plain = store.add_image(manifest, ["knarr.local/x"])
        assert plain.host_binds == ()
        with pytest.raises(HostBaseMissing, match="another machine"):
            await store.layers(plain)
        binds = (HostBind(str(tmp_path), "/usr"),)
        bound = store.add_image(manifest, ["knarr.local/x"], host_binds=binds)
    assert store.resolve("knarr.local/x").host_binds == bound.host_binds
    assert (await store.layers(bound)).binds == bound.host_binds
    gone = store.add_image(manifest, [], host_binds=(HostBind(str(tmp_path / "no"), "/usr"),))
    with pytest.raises(HostBaseMissing, match="build it again"):
        await store.layers(gone)


async def test_one_merged_directory_without_privilege(make, tmp_path):
    from knarr.node.images.manifests import Platform
    from knarr.node.images.store import ImageStore

    store = ImageStore(
        tmp_path / "i",
        durable=False,
        flatten=True,
        platform=Platform(architecture="amd64", os="linux"),
    )
    image = make.image(
        make.tar(("d", "dir"), ("d/a", b"1"), ("d/b", b"1"), ("e", "dir"), ("e/x", b"1")),
        make.tar(("d/.wh.a", b""), ("e", "dir"), ("e/y", b"2"), ("e/.wh..wh..opq", b"")),
    )
    (record,) = await store.load(make.layout(tmp_path / "l", ("x/y:1", *image, None)))
    (root,) = (await store.layers(record)).lower_dirs
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == [
        "d",
        "d/b",
        "e",
        "e/y",
    ]


def test_bytes_io_is_a_stream(store, make):
    stored = store.blobs.put_stream(io.BytesIO(b"abc"), expected=make.sha(b"abc"), limit=3)
    assert store.blobs.read(stored.digest, 3) == b"abc"
