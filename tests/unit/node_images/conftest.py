import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from knarr.node.images.store import ImageStore


def tar_of(*entries):
    """A tar archive; entries are (name, content | TarInfo changes)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, what in entries:
            info = tarfile.TarInfo(name)
            info.mode = 0o644
            data = None
            if isinstance(what, bytes):
                data = what
            elif what == "dir":
                info.type = tarfile.DIRTYPE
                info.mode = 0o755
            else:
                for key, value in what.items():
                    if key == "data":
                        data = value
                    else:
                        setattr(info, key, value)
            if data is not None:
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data) if data is not None else None)
    return out.getvalue()


def sha(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def image_of(*layers, config=None, compress=gzip.compress, architecture="amd64"):
    """(manifest, config, blobs) of an image with these uncompressed layers."""
    blobs = [compress(layer) for layer in layers]
    config_data = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": [sha(layer) for layer in layers]},
        }
    ).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": sha(config_data),
                "size": len(config_data),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": sha(blob),
                    "size": len(blob),
                }
                for blob in blobs
            ],
        }
    ).encode()
    return manifest, config_data, blobs


def write_layout(path: Path, *images):
    """An OCI layout of (ref name, manifest, config, blobs, platform | None)."""
    target = path / "blobs" / "sha256"
    target.mkdir(parents=True)
    entries = []
    for name, manifest, config, blobs, platform in images:
        for data in (manifest, config, *blobs):
            (target / hashlib.sha256(data).hexdigest()).write_bytes(data)
        entry = {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": sha(manifest),
            "size": len(manifest),
            "annotations": {"org.opencontainers.image.ref.name": name},
        }
        if platform:
            entry["platform"] = platform
        entries.append(entry)
    (path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    return path


@pytest.fixture
def make():
    class Make:
        tar = staticmethod(tar_of)
        image = staticmethod(image_of)
        layout = staticmethod(write_layout)
        sha = staticmethod(sha)

    return Make


@pytest.fixture
def store(tmp_path):
    from knarr.node.images.manifests import Platform

    found = ImageStore(
        tmp_path / "images", durable=False, platform=Platform(architecture="amd64", os="linux")
    )
    found.prepare()
    return found
