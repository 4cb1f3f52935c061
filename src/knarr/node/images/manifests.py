"""Manifests, indexes and image configurations (OCI image-spec 1.1, Docker schema 2). Pure.

Both families decode into the same Structs: they differ in media types only. Schema 1 is refused.
"""

import platform
import re
from typing import NamedTuple, TypeVar

import msgspec

from knarr.node.images.errors import InvalidManifest, LimitExceeded, NoMatchingPlatform
from knarr.node.images.limits import Limits
from knarr.node.images.records import ImageConfig
from knarr.node.images.reference import is_digest

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs."
INDEX_TYPES = frozenset({OCI_INDEX, DOCKER_INDEX})
MANIFEST_TYPES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
ACCEPT = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST))

T = TypeVar("T")


class Platform(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a manifest is for."""

    architecture: str = ""
    os: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


class Descriptor(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={"media_type": "mediaType"},
):
    """A typed, sized, content-addressed pointer."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: dict[str, str] | None = None
    urls: tuple[str, ...] | None = None


class Document(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    rename={
        "schema_version": "schemaVersion",
        "media_type": "mediaType",
        "artifact_type": "artifactType",
    },
):
    """A manifest (``config`` and ``layers``) or an index (``manifests``)."""

    schema_version: int
    media_type: str = ""
    config: Descriptor | None = None
    layers: tuple[Descriptor, ...] | None = None
    manifests: tuple[Descriptor, ...] | None = None
    artifact_type: str = ""
    annotations: dict[str, str] | None = None

    @property
    def is_index(self) -> bool:
        """Whether this lists manifests instead of layers."""
        return self.manifests is not None


class _Raw(msgspec.Struct, frozen=True, rename="pascal"):
    """``config`` of an image configuration; Docker writes null for absent lists and maps."""

    entrypoint: tuple[str, ...] | str | None = None
    cmd: tuple[str, ...] | str | None = None
    env: tuple[str, ...] | None = None
    working_dir: str | None = None
    user: str | None = None
    exposed_ports: dict[str, object] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    volumes: dict[str, object] | None = None


class _RootFs(msgspec.Struct, frozen=True):
    type: str = "layers"
    diff_ids: tuple[str, ...] = ()


class _ConfigFile(msgspec.Struct, frozen=True):
    architecture: str = ""
    os: str = ""
    variant: str = ""
    created: str | None = None
    config: _Raw | None = None
    rootfs: _RootFs = _RootFs()


class ConfigFile(NamedTuple):
    """A decoded image configuration."""

    config: ImageConfig
    diff_ids: tuple[str, ...]
    created: str
    platform: Platform


def _decode(data: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidManifest(f"{what}: {error}") from error


def parse_document(data: bytes, what: str, limits: Limits) -> Document:
    """Decode a manifest or an index and check it against the limits.

    Args:
        data: the document.
        what: names it in errors, for example ``manifest of docker.io/library/x:1``.
        limits: caps on bytes, entries, layers and size.

    Raises:
        InvalidManifest: not JSON, not schema 2, neither manifest nor index or both, a bad descriptor.
        LimitExceeded: beyond ``limits``.
    """
    if len(data) > limits.manifest_bytes:
        raise LimitExceeded(f"{what} is larger than {limits.manifest_bytes} bytes")
    document = _decode(data, Document, what)
    if document.schema_version != 2:
        raise InvalidManifest(
            f"{what} has schemaVersion {document.schema_version}; only 2 is supported: push the image again "
            "with a current tool"
        )
    if document.is_index == (document.layers is not None):
        raise InvalidManifest(f"{what} must have either layers or manifests")
    if document.manifests is not None:
        if len(document.manifests) > limits.index_entries:
            raise LimitExceeded(f"{what} lists more than {limits.index_entries} manifests")
        descriptors = document.manifests
    else:
        descriptors = _manifest_descriptors(document, what, limits)
    for descriptor in descriptors:
        if not is_digest(descriptor.digest) or descriptor.size < 0:
            raise InvalidManifest(f"{what} has an invalid descriptor {descriptor.digest!r}")
    return document


def _manifest_descriptors(document: Document, what: str, limits: Limits) -> tuple[Descriptor, ...]:
    layers = document.layers or ()
    if document.config is None:
        raise InvalidManifest(f"{what} has no config")
    if document.config.media_type not in {OCI_CONFIG, DOCKER_CONFIG}:
        kind = document.artifact_type or document.config.media_type
        raise InvalidManifest(f"{what} is not a container image but {kind!r}")
    if len(layers) > limits.layers:
        raise LimitExceeded(f"{what} has {len(layers)} layers, more than {limits.layers}")
    total = sum(layer.size for layer in layers)
    if total > limits.image_bytes:
        raise LimitExceeded(f"{what} has {total} bytes in layers, more than {limits.image_bytes}")
    if document.config.size > limits.config_bytes:
        raise LimitExceeded(f"{what} has a configuration larger than {limits.config_bytes} bytes")
    for layer in layers:
        if not layer.media_type.startswith(
            (OCI_LAYER, _DOCKER_LAYER, "application/vnd.oci.image.layer.")
        ):
            raise InvalidManifest(f"{what} has a layer of unsupported type {layer.media_type!r}")
        if "encrypted" in layer.media_type:
            raise InvalidManifest(f"{what} has encrypted layers, which are not supported")
    return (document.config, *layers)


def parse_config(data: bytes, what: str, limits: Limits) -> ConfigFile:
    """Decode an image configuration.

    Raises:
        InvalidManifest: not JSON, wrong types, or a root file system that is not layers.
        LimitExceeded: beyond ``limits``.
    """
    if len(data) > limits.config_bytes:
        raise LimitExceeded(f"{what} is larger than {limits.config_bytes} bytes")
    file = _decode(data, _ConfigFile, what)
    if file.rootfs.type != "layers" or not all(map(is_digest, file.rootfs.diff_ids)):
        raise InvalidManifest(f"{what} has an invalid rootfs")
    raw = file.config or _Raw()
    config = ImageConfig(
        entrypoint=_arguments(raw.entrypoint),
        cmd=_arguments(raw.cmd),
        env=raw.env or (),
        working_dir=raw.working_dir or "",
        user=raw.user or "",
        exposed_ports=tuple(sorted(raw.exposed_ports or ())),
        labels=raw.labels or {},
        stop_signal=raw.stop_signal or "",
        volumes=tuple(sorted(raw.volumes or ())),
    )
    target = Platform(architecture=file.architecture, os=file.os, variant=file.variant)
    return ConfigFile(config, file.rootfs.diff_ids, file.created or "", target)


def _arguments(value: tuple[str, ...] | str | None) -> tuple[str, ...]:
    if isinstance(value, str):
        return ("/bin/sh", "-c", value)
    return value or ()


_MACHINES = {
    "x86_64": ("amd64", ""), "amd64": ("amd64", ""), "aarch64": ("arm64", ""), "arm64": ("arm64", ""),
    "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"), "i386": ("386", ""), "i686": ("386", ""),
    "riscv64": ("riscv64", ""), "ppc64le": ("ppc64le", ""), "s390x": ("s390x", ""),
}  # fmt: skip


def host_platform(machine: str | None = None) -> Platform:
    """The platform of this machine, or of a ``uname -m`` value."""
    name = platform.machine() if machine is None else machine
    architecture, variant = _MACHINES.get(name, (name, ""))
    return Platform(architecture=architecture, os="linux", variant=variant)


def platform_fits(offered: Platform, wanted: Platform) -> bool:
    """Whether a manifest for ``offered`` runs on ``wanted``; arm64 without a variant is v8."""
    if (offered.os, offered.architecture) != (wanted.os, wanted.architecture):
        return False
    if wanted.architecture == "arm":
        return _arm_version(offered.variant) <= _arm_version(wanted.variant)
    if wanted.architecture == "amd64":
        return offered.variant in {"", "v1"}
    return offered.variant in {"", "v8", wanted.variant}


def _arm_version(variant: str) -> int:
    match = re.fullmatch(r"v(\d)", variant)
    return int(match[1]) if match else 5


def select_manifest(index: Document, wanted: Platform, what: str) -> Descriptor:
    """The entry of an index that this machine should run; nested indexes count when nothing better fits.

    Raises:
        NoMatchingPlatform: none fits; the message lists the platforms found.
    """
    entries = index.manifests or ()
    fitting = [
        entry
        for entry in entries
        if entry.media_type in MANIFEST_TYPES
        and entry.platform
        and platform_fits(entry.platform, wanted)
    ]
    if fitting:
        return max(
            fitting,
            key=lambda entry: _arm_version(entry.platform.variant if entry.platform else ""),
        )
    for entry in entries:
        unnamed = entry.platform is None or entry.platform.os in {"", "unknown"}
        attestation = "vnd.docker.reference.type" in (entry.annotations or {})
        if entry.media_type in INDEX_TYPES or (unnamed and not attestation):
            return entry
    found = sorted({str(entry.platform) for entry in entries if entry.platform}) or ["none"]
    raise NoMatchingPlatform(f"{what} has no image for {wanted}; it offers: {', '.join(found)}")
