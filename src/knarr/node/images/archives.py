"""Images in files: OCI layouts (a directory or a tar archive) and ``docker save`` archives, old and new.

An archive is read once, front to back, so it may be compressed; its blobs go straight into the blob store,
its small documents stay in memory. What no image refers to afterwards is garbage and collected later.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, cast

import msgspec

from knarr.node.images.blobs import BlobStore, StoredBlob
from knarr.node.images.entries import clean_name
from knarr.node.images.errors import (
    InvalidArchive,
    InvalidReference,
    NoMatchingPlatform,
)
from knarr.node.images.limits import Limits
from knarr.node.images.manifests import (
    INDEX_TYPES,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Descriptor,
    Document,
    Platform,
    parse_config,
    parse_document,
    platform_fits,
    select_manifest,
)
from knarr.node.images.records import Progress, ProgressEvent
from knarr.node.images.reference import LOCAL_REGISTRY, Reference, is_digest, parse_reference
from knarr.node.images.tarstream import ForwardReader, decompressed, members

_BLOB = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]+)")
_REF_NAME = "org.opencontainers.image.ref.name"
_CONTAINERD_NAME = "io.containerd.image.name"
_MAX_DOCUMENTS = 4096


class FoundImage(NamedTuple):
    """A manifest whose blobs are in the store, and the references that the archive gives it."""

    manifest: bytes
    references: tuple[str, ...]


class _DockerEntry(msgspec.Struct, frozen=True, rename="pascal"):
    """One element of ``manifest.json``."""

    config: str
    layers: tuple[str, ...] = ()
    repo_tags: tuple[str, ...] | None = None


@dataclass(slots=True)
class _Content:
    """What an archive holds, by name inside it."""

    documents: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, StoredBlob] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)


def import_archive(
    path: Path, blobs: BlobStore, *, platform: Platform, limits: Limits, progress: Progress
) -> list[FoundImage]:
    """Store the blobs of an archive and return the images in it; blocks, so call it in a thread.

    Raises:
        InvalidArchive: the file is not there, or neither form.
        NoMatchingPlatform: all images in it are for other machines.
        ImageError: damaged content, limits, no space.
    """
    try:
        if path.is_dir():
            content = _read_directory(path, blobs, limits)
        else:
            with path.open("rb") as file:
                content = _read_tar(file, path, blobs, limits, progress)
    except FileNotFoundError:
        raise InvalidArchive(f"there is no image archive at {path}") from None
    except PermissionError as error:
        raise InvalidArchive(f"cannot read image archive {path}: {error.strerror}") from error
    reader = _Reader(path, content, blobs, platform, limits)
    try:
        found = reader.images()
    except msgspec.DecodeError as error:
        raise InvalidArchive(f"image archive {path}: {error}") from error
    if not found:
        raise InvalidArchive(f"image archive {path} contains no image")
    return found


def _read_tar(
    file: BinaryIO, path: Path, blobs: BlobStore, limits: Limits, progress: Progress
) -> _Content:
    total = path.stat().st_size
    content = _Content()
    stream = ForwardReader(decompressed(file), limits, total)
    subject = str(path)
    for archive, entry in members(stream, limits):
        name = clean_name(entry.name, limits)
        if entry.issym() or entry.islnk():
            content.links[name] = _link_target(name, entry.linkname, symbolic=entry.issym())
            continue
        source = archive.extractfile(entry) if entry.isreg() else None
        if source is None:
            continue
        _store_member(content, name, cast("BinaryIO", source), blobs, limits)
        progress(
            ProgressEvent(stage="load", subject=subject, done_bytes=file.tell(), total_bytes=total)
        )
    return content


def _store_member(
    content: _Content, name: str, source: BinaryIO, blobs: BlobStore, limits: Limits
) -> None:
    match = _BLOB.fullmatch(name)
    digest = f"{match[1]}:{match[2]}" if match else ""
    if is_digest(digest):
        content.blobs[name] = blobs.put_stream(source, expected=digest, limit=limits.image_bytes)
    elif name.endswith(".tar"):
        content.blobs[name] = blobs.put_stream(source, limit=limits.image_bytes)
    elif name.endswith(".json") or name == "oci-layout":
        if len(content.documents) >= _MAX_DOCUMENTS:
            raise InvalidArchive(f"image archive has more than {_MAX_DOCUMENTS} documents")
        data = source.read(limits.config_bytes + 1)
        if len(data) > limits.config_bytes:
            raise InvalidArchive(
                f"{name} in the image archive is larger than {limits.config_bytes} bytes"
            )
        content.documents[name] = data


def _link_target(name: str, target: str, *, symbolic: bool) -> str:
    """The name inside the archive that a link leads to; never used as a path on disk."""
    base = PurePosixPath(name).parent if symbolic else PurePosixPath()
    parts: list[str] = []
    for part in (base / target).parts:
        if part == "..":
            parts = parts[:-1]
        elif part not in {"/", "."}:
            parts.append(part)
    return "/".join(parts)


def _read_directory(path: Path, blobs: BlobStore, limits: Limits) -> _Content:
    content = _Content()
    for name in ("oci-layout", "index.json", "manifest.json"):
        file = path / name
        if file.is_file():
            with file.open("rb") as source:
                _store_member(content, name, source, blobs, limits)
    for algorithm in sorted((path / "blobs").glob("sha*")):
        for file in sorted(algorithm.iterdir()):
            name = f"blobs/{algorithm.name}/{file.name}"
            if _BLOB.fullmatch(name) and file.is_file() and not file.is_symlink():
                with file.open("rb") as source:
                    _store_member(content, name, source, blobs, limits)
    return content


class _Reader:
    """Finds the images in what an archive held."""

    def __init__(
        self, path: Path, content: _Content, blobs: BlobStore, platform: Platform, limits: Limits
    ) -> None:
        self._path = path
        self._content = content
        self._blobs = blobs
        self._platform = platform
        self._limits = limits

    def images(self) -> list[FoundImage]:
        """All images for this machine."""
        docker = self._content.documents.get("manifest.json")
        entries = msgspec.json.decode(docker, type=tuple[_DockerEntry, ...]) if docker else ()
        index = self._content.documents.get("index.json")
        if index is not None:
            return self._from_index(index, entries)
        if docker is None:
            raise InvalidArchive(
                f"{self._path} is neither an OCI layout (no index.json) nor a 'docker save' archive "
                "(no manifest.json)"
            )
        return [self._from_docker(entry) for entry in entries]

    # --- OCI layouts --------------------------------------------------------------------------------

    def _from_index(self, data: bytes, entries: Iterable[_DockerEntry]) -> list[FoundImage]:
        tags = {
            PurePosixPath(entry.config).name.removesuffix(".json"): entry.repo_tags or ()
            for entry in entries
        }
        index = parse_document(data, f"index.json of {self._path}", self._limits)
        found: dict[bytes, tuple[str, ...]] = {}
        refused: list[str] = []
        for descriptor in index.manifests or ():
            if descriptor.platform and not self._fits(descriptor.platform):
                refused.append(str(descriptor.platform))
                continue
            try:
                manifest, document = self._manifest(descriptor, 0)
            except NoMatchingPlatform as error:
                refused.append(error.message)
                continue
            names = (
                tags.get(document.config.digest.rpartition(":")[2], ()) if document.config else ()
            )
            references = self._references(descriptor, names)
            found[manifest] = (*found.get(manifest, ()), *references)
        if not found and refused:
            raise NoMatchingPlatform(
                f"image archive {self._path} has no image for {self._platform}; it has: {'; '.join(refused)}"
            )
        return [FoundImage(manifest, references) for manifest, references in found.items()]

    def _fits(self, offered: Platform) -> bool:
        return offered.os in {"", "unknown"} or platform_fits(offered, self._platform)

    def _manifest(self, descriptor: Descriptor, depth: int) -> tuple[bytes, Document]:
        what = f"{descriptor.digest} in {self._path}"
        if depth > self._limits.index_depth:
            raise InvalidArchive(f"indexes in {self._path} are nested too deeply")
        try:
            data = self._blobs.read(descriptor.digest, self._limits.manifest_bytes)
        except FileNotFoundError:
            raise InvalidArchive(
                f"image archive {self._path} lacks blob {descriptor.digest}"
            ) from None
        document = parse_document(data, what, self._limits)
        if descriptor.media_type in INDEX_TYPES or document.is_index:
            return self._manifest(select_manifest(document, self._platform, what), depth + 1)
        return data, document

    def _references(self, descriptor: Descriptor, repo_tags: tuple[str, ...]) -> tuple[str, ...]:
        notes = descriptor.annotations or {}
        named = [*repo_tags, notes.get(_CONTAINERD_NAME, "")]
        ref_name = notes.get(_REF_NAME, "")
        if "/" in ref_name or ":" in ref_name:
            named.append(ref_name)
        references = [str(reference) for name in named if name and (reference := _parsed(name))]
        if not references:
            tag = ref_name or "latest"
            references = [
                str(reference)
                for name in (f"{LOCAL_REGISTRY}/{_stem(self._path)}:{tag}",)
                if (reference := _parsed(name))
            ]
        return tuple(dict.fromkeys(references))

    # --- docker save, old form ----------------------------------------------------------------------

    def _from_docker(self, entry: _DockerEntry) -> FoundImage:
        raw = self._document(entry.config)
        config = parse_config(raw, f"{entry.config} in {self._path}", self._limits)
        layers = [self._blob(name) for name in entry.layers]
        if len(config.diff_ids) != len(layers):
            raise InvalidArchive(
                f"{entry.config} in {self._path} has {len(config.diff_ids)} diff ids for {len(layers)} layers"
            )
        stored = self._blobs.put(raw)
        manifest = Document(
            schema_version=2,
            media_type=OCI_MANIFEST,
            config=Descriptor(media_type=OCI_CONFIG, digest=stored.digest, size=stored.size_bytes),
            layers=tuple(
                Descriptor(media_type=OCI_LAYER, digest=blob.digest, size=blob.size_bytes)
                for blob in layers
            ),
        )
        tags = tuple(str(tag) for name in entry.repo_tags or () if (tag := _parsed(name)))
        return FoundImage(
            msgspec.json.encode(manifest), tags or (f"{LOCAL_REGISTRY}/{_stem(self._path)}",)
        )

    def _document(self, name: str) -> bytes:
        data = self._content.documents.get(self._follow(name))
        if data is not None:
            return data
        blob = self._blob(name)
        return self._blobs.read(blob.digest, self._limits.config_bytes)

    def _blob(self, name: str) -> StoredBlob:
        blob = self._content.blobs.get(self._follow(name))
        if blob is None:
            raise InvalidArchive(f"image archive {self._path} lacks {name!r}")
        return blob

    def _follow(self, name: str) -> str:
        for _ in range(8):
            if name not in self._content.links:
                break
            name = self._content.links[name]
        return name


def _parsed(text: str) -> Reference | None:
    try:
        return parse_reference(text)
    except InvalidReference:
        return None


def _stem(path: Path) -> str:
    """A repository name made of a file name."""
    name = path.resolve().name.lower()
    for suffix in (".gz", ".zst", ".tgz", ".tar"):
        name = name.removesuffix(suffix)
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-") or "image"
