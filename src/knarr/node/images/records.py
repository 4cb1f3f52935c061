"""The types that cross the border between the image store and its users."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

PullPolicy = Literal["Always", "IfNotPresent", "Never"]


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an image says about the process to run (OCI image configuration, ``config``).

    Attributes:
        entrypoint, cmd: argument vectors; either may be empty.
        env: ``NAME=value`` in the order of the image.
        working_dir: absolute path inside the image, or empty for ``/``.
        user: ``uid``, ``uid:gid``, ``name`` or ``name:group``; empty is root.
        exposed_ports: ``8080/tcp``.
        volumes: paths that the image declares as volumes.
        stop_signal: ``SIGTERM`` form or a number; empty is SIGTERM.
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()


class HostBind(msgspec.Struct, frozen=True):
    """A path of this machine that appears read-only inside the container.

    Attributes:
        source: absolute host path, a directory or a file.
        target: absolute path inside the container; the image has a mount point there.
    """

    source: str
    target: str


class LayerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One layer.

    Attributes:
        digest: of the blob as stored, maybe compressed.
        diff_id: of the uncompressed tar archive.
        size_bytes: of the blob.
    """

    digest: str
    diff_id: str
    size_bytes: int


class ImageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An image that is complete in the store.

    Attributes:
        reference: canonical form of the reference it was found by.
        digest: of the manifest (``sha256:…``), never of an index.
        config: see ImageConfig.
        layers: bottom first.
        size_bytes: of manifest, configuration and layer blobs.
        created: RFC 3339, or empty when the image does not say.
        host_binds: of images that ``knarr build`` made on this machine's interpreter; empty for all others,
            whatever their labels say.
    """

    reference: str
    digest: str
    config: ImageConfig
    layers: tuple[LayerRecord, ...]
    size_bytes: int
    created: str = ""
    host_binds: tuple[HostBind, ...] = ()


class RootFs(msgspec.Struct, frozen=True, kw_only=True):
    """Where an image's files are on this machine.

    Attributes:
        lower_dirs: overlayfs lower directories, topmost first, never to be written to. Owners are those of
            the image (unmapped); when Knarr does not run as root there is one merged directory and
            everything belongs to the caller.
        binds: read-only host binds to put on top, in this order.
    """

    lower_dirs: tuple[Path, ...]
    binds: tuple[HostBind, ...] = ()


class Credentials(msgspec.Struct, frozen=True):
    """A registry account. ``identity_token`` is an OAuth2 refresh token and replaces the password."""

    username: str = ""
    password: str = ""
    identity_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, password=…)"


class ProgressEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a pull, load, unpack or build.

    Attributes:
        stage: what happens now.
        subject: a digest, a reference or a file.
        done_bytes, total_bytes: of this subject; total 0 means unknown.
        message: for people; empty for plain counters.
    """

    stage: Literal[
        "resolve", "download", "present", "load", "unpack", "plan", "install", "pack", "done"
    ]
    subject: str
    done_bytes: int = 0
    total_bytes: int = 0
    message: str = ""

    def __str__(self) -> str:
        if self.message:
            return self.message
        short = self.subject[:19] if self.subject.startswith("sha256:") else self.subject
        if self.total_bytes and self.done_bytes:
            return f"{self.stage} {short} {100 * self.done_bytes // self.total_bytes} %"
        return f"{self.stage} {short}"


Progress = Callable[[ProgressEvent], None]


def no_progress(event: ProgressEvent) -> None:
    """A ``Progress`` that tells nobody."""
