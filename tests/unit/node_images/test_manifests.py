import json

import pytest

from knarr.node.images.errors import InvalidManifest, LimitExceeded, NoMatchingPlatform
from knarr.node.images.limits import Limits
from knarr.node.images.manifests import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Platform,
    host_platform,
    parse_config,
    parse_document,
    platform_fits,
    select_manifest,
)

LIMITS = Limits()
DIGEST = "sha256:" + "0a" * 32
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGEST, "size": 2}
LAYER = {"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "digest": DIGEST, "size": 3}
AMD64 = Platform(architecture="amd64", os="linux")


def entry(media_type=OCI_MANIFEST, digest=DIGEST, **platform):
    found = {"mediaType": media_type, "digest": digest, "size": 1}
    return found | ({"platform": platform} if platform else {})


def parse(document):
    return parse_document(json.dumps(document).encode(), "it", LIMITS)


@pytest.mark.parametrize(
    ("document", "error", "message"),
    [
        ({"schemaVersion": 1, "fsLayers": []}, InvalidManifest, "schemaVersion 1"),
        ({"schemaVersion": 2}, InvalidManifest, "either layers or manifests"),
        (
            {"schemaVersion": 2, "layers": [], "manifests": []},
            InvalidManifest,
            "either layers or manifests",
        ),
        ({"schemaVersion": 2, "layers": [LAYER]}, InvalidManifest, "no config"),
        (
            {
                "schemaVersion": 2,
                "layers": [],
                "config": CONFIG | {"mediaType": "application/vnd.helm"},
            },
            InvalidManifest,
            "not a container image but 'application/vnd.helm'",
        ),
        (
            {
                "schemaVersion": 2,
                "config": CONFIG,
                "layers": [LAYER | {"digest": "sha256:../../x"}],
            },
            InvalidManifest,
            "invalid descriptor",
        ),
        (
            {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER | {"size": -1}]},
            InvalidManifest,
            "invalid",
        ),
        (
            {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER] * 128},
            LimitExceeded,
            "128 layers",
        ),
        (
            {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER | {"size": 1 << 40}]},
            LimitExceeded,
            "bytes in layers",
        ),
        (
            {"schemaVersion": 2, "config": CONFIG | {"size": 1 << 30}, "layers": []},
            LimitExceeded,
            "config",
        ),
        (
            {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER | {"mediaType": "text/plain"}]},
            InvalidManifest,
            "unsupported type",
        ),
        ({"schemaVersion": 2, "manifests": [entry()] * 129}, LimitExceeded, "128 manifests"),
        ({"schemaVersion": "2"}, InvalidManifest, "schemaVersion"),
    ],
)
def test_manifests_that_are_refused(document, error, message):
    with pytest.raises(error, match=message):
        parse(document)


def test_both_families_decode_alike():
    for media_type in (OCI_MANIFEST, DOCKER_MANIFEST):
        docker = CONFIG | {"mediaType": "application/vnd.docker.container.image.v1+json"}
        layer = LAYER | {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip"}
        document = parse(
            {
                "schemaVersion": 2,
                "mediaType": media_type,
                "config": docker,
                "layers": [layer],
                "x": 1,
            }
        )
        assert not document.is_index
    assert parse({"schemaVersion": 2, "mediaType": DOCKER_INDEX, "manifests": []}).is_index


def test_the_manifest_for_this_machine_is_selected():
    other = "sha256:" + "0b" * 32
    index = parse(
        {
            "schemaVersion": 2,
            "manifests": [
                entry(os="linux", architecture="arm64"),
                entry(os="windows", architecture="amd64"),
                entry(digest=other, os="linux", architecture="amd64"),
            ],
        }
    )
    assert select_manifest(index, AMD64, "x").digest == other
    riscv = Platform(architecture="riscv64", os="linux")
    with pytest.raises(NoMatchingPlatform) as caught:
        select_manifest(index, riscv, "x")
    assert caught.value.message == (
        "x has no image for linux/riscv64; it offers: linux/amd64, linux/arm64, windows/amd64"
    )


def test_attestations_are_no_images_and_nested_indexes_are_followed():
    notes = {"vnd.docker.reference.type": "attestation-manifest"}
    attestation = entry(os="unknown", architecture="unknown") | {"annotations": notes}
    nested = entry(OCI_INDEX, digest="sha256:" + "0c" * 32)
    index = parse({"schemaVersion": 2, "manifests": [attestation, nested]})
    assert select_manifest(index, AMD64, "x").digest.endswith("0c")
    with pytest.raises(NoMatchingPlatform):
        select_manifest(parse({"schemaVersion": 2, "manifests": [attestation]}), AMD64, "x")


@pytest.mark.parametrize(
    ("machine", "offered", "fits"),
    [
        ("x86_64", Platform(architecture="amd64", os="linux"), True),
        ("x86_64", Platform(architecture="amd64", os="linux", variant="v3"), False),
        ("aarch64", Platform(architecture="arm64", os="linux", variant="v8"), True),
        ("armv7l", Platform(architecture="arm", os="linux", variant="v6"), True),
        ("armv6l", Platform(architecture="arm", os="linux", variant="v7"), False),
        ("x86_64", Platform(architecture="amd64", os="windows"), False),
    ],
)
def test_platforms(machine, offered, fits):
    assert platform_fits(offered, host_platform(machine)) == fits


def test_configurations_of_docker_have_nulls_and_texts():
    file = parse_config(
        json.dumps(
            {
                "os": "linux",
                "architecture": "amd64",
                "created": "2026-01-01T00:00:00Z",
                "config": {
                    "Entrypoint": None, "Cmd": "run it", "Env": ["A=b"], "ExposedPorts": {"2/udp": {}, "1/tcp": {}},
                    "Volumes": {"/data": {}}, "Labels": None, "User": "1:2", "StopSignal": "SIGINT",
                    "Healthcheck": {"Test": []},
                },
                "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
                "history": [],
            }
        ).encode(), "it", LIMITS,
    )  # fmt: skip
    assert file.config.entrypoint == ()
    assert file.config.cmd == ("/bin/sh", "-c", "run it")
    assert file.config.exposed_ports == ("1/tcp", "2/udp")
    assert file.config.volumes == ("/data",)
    assert file.diff_ids == (DIGEST,)
    assert parse_config(b'{"rootfs": {"type": "layers"}}', "it", LIMITS).config.env == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"rootfs": {"type": "x"}}',
        b'{"rootfs": {"diff_ids": ["../x"]}}',
        b'{"config": 1}',
        b"\xff",
    ],
)
def test_configurations_that_are_refused(data):
    with pytest.raises(InvalidManifest):
        parse_config(data, "it", LIMITS)
