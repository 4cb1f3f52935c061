"""Writing an image of the store as an OCI layout that other tools read (``skopeo``, ``podman``)."""

import shutil
from pathlib import Path

import msgspec

from knarr.node.images.blobs import BlobStore
from knarr.node.images.errors import InvalidArchive
from knarr.node.images.files import disk_errors
from knarr.node.images.manifests import OCI_INDEX, OCI_MANIFEST, Descriptor, Document, Platform
from knarr.node.images.records import ImageRecord
from knarr.node.images.reference import parse_reference

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


def export_oci_layout(
    record: ImageRecord, blobs: BlobStore, config_digest: str, path: Path, platform: Platform
) -> None:
    """Write an OCI image layout (image-spec 1.1) into ``path``, a new or empty directory.

    The reference's tag, or its whole text when it has none, becomes ``org.opencontainers.image.ref.name``.

    Raises:
        InvalidArchive: ``path`` is not empty.
        DiskFull: the directory may hold a part of it.
    """
    if path.exists() and any(path.iterdir()):
        raise InvalidArchive(f"{path} is not empty: name a new directory")
    target = path / "blobs" / "sha256"
    with disk_errors(path):
        target.mkdir(parents=True, exist_ok=True)
        for digest in dict.fromkeys(
            (record.digest, config_digest, *(layer.digest for layer in record.layers))
        ):
            source = blobs.path(digest)
            shutil.copyfile(source, path / "blobs" / source.parent.name / source.name)
        reference = parse_reference(record.reference)
        index = Document(
            schema_version=2,
            media_type=OCI_INDEX,
            manifests=(
                Descriptor(
                    media_type=OCI_MANIFEST,
                    digest=record.digest,
                    size=blobs.size(record.digest),
                    platform=Platform(architecture=platform.architecture, os=platform.os),
                    annotations={
                        "org.opencontainers.image.ref.name": reference.tag or "latest",
                        "io.containerd.image.name": str(reference),
                    },
                ),
            ),
        )
        (path / "index.json").write_bytes(msgspec.json.encode(index))
        (path / "oci-layout").write_bytes(_LAYOUT)
