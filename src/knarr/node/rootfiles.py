"""What a container is made from, and the files and mounts that Knarr adds to its image."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from knarr.node import syscalls
from knarr.node.bundle import Bind, Limits
from knarr.node.claims import ClaimedDirectory
from knarr.node.console import NO_INTERACTION, Interaction
from knarr.node.containers import ProcessPlan
from knarr.node.layout import ContainerPaths, SandboxPaths
from knarr.node.namespaces import id_base
from knarr.node.nodefiles import hosts_file, resolv_conf
from knarr.node.persistent import make_subpath
from knarr.node.sandbox import ContainerRun, Sandbox
from knarr.node.users import Identity
from knarr.node.volumefiles import Owner, bind_subpath
from knarr.resources.core.container import VolumeMount

_TMP_MODE = 0o1777
_MESSAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ContainerRequest:
    """Everything that one run of a container is made from.

    Attributes:
        image: as the Pod names it.
        image_id: with the digest.
        lower_dirs: unpacked layers, the topmost first.
        host_binds: read-only paths of this machine, (source, target).
        read_only_volumes: names of volumes that containers cannot write to.
        claims: directories that outlive the Pod, by name of the volume.
        groups: supplementary, inside.
        message_path: where the application may leave its last words, or empty.
        interaction: its terminal or standard input.
    """

    name: str
    attempt: int
    image: str
    image_id: str
    lower_dirs: tuple[Path, ...]
    host_binds: tuple[tuple[str, str], ...]
    process: ProcessPlan
    limits: Limits
    oom_score_adj: int
    hostname: str
    mounts: tuple[VolumeMount, ...] = ()
    read_only_volumes: frozenset[str] = frozenset()
    claims: Mapping[str, ClaimedDirectory] = field(default_factory=dict)
    groups: tuple[int, ...] = ()
    fs_group: int | None = None
    stop_signal: str = ""
    message_path: str = ""
    interaction: Interaction = NO_INTERACTION


def drop_subpaths(paths: SandboxPaths, container_id: str) -> None:
    """Unmount and remove the pins of a container's subPaths. Idempotent."""
    folder = paths.mounts / "subpaths" / container_id
    if not folder.is_dir():
        return
    for pin in folder.iterdir():
        syscalls.unmount(str(pin))
        if pin.is_dir():
            pin.rmdir()
        else:
            pin.unlink()
    folder.rmdir()


def volume_binds(sandbox: Sandbox, run: ContainerRun, request: ContainerRequest) -> list[Bind]:
    """The mounts of the Pod's volumes; a subPath is pinned first."""
    base = id_base(sandbox.record.index)
    owner = Owner(base, base + request.fs_group if request.fs_group else base)
    binds = []
    for number, mount in enumerate(request.mounts):
        claimed = request.claims.get(mount.name)
        if claimed is not None:
            binds.append(_claim_bind(sandbox, run, mount, claimed, number))
            continue
        files = mount.name in request.read_only_volumes
        source = sandbox.paths.volume(mount.name, in_memory=files)
        if mount.sub_path:
            pin = sandbox.paths.mounts / "subpaths" / run.container_id / str(number)
            source = bind_subpath(source, mount.sub_path, pin, owner)
        binds.append(Bind(str(source), mount.mount_path, mount.read_only or files))
    return binds


def _claim_bind(
    sandbox: Sandbox, run: ContainerRun, mount: VolumeMount, claimed: ClaimedDirectory, number: int
) -> Bind:
    source = sandbox.paths.claims / mount.name
    if mount.sub_path:
        if not claimed.read_only:
            # Through the idmapped mount nobody of the machine can own what is made.
            make_subpath(claimed.path, mount.sub_path)
        pin = sandbox.paths.mounts / "subpaths" / run.container_id / str(number)
        source = bind_subpath(source, mount.sub_path, pin, Owner(0, 0))
    return Bind(str(source), mount.mount_path, mount.read_only or claimed.read_only)


def with_groups(identity: Identity, request: ContainerRequest) -> Identity:
    """The identity with the Pod's supplementary groups."""
    extra = {*identity.groups, *request.groups}
    if request.fs_group is not None:
        extra.add(request.fs_group)
    return Identity(identity.uid, identity.gid, tuple(sorted(extra)), identity.home)


def write_system_files(
    paths: ContainerPaths, sandbox: Sandbox, request: ContainerRequest, gateway: str, base: int
) -> None:
    """Name resolution and ``/tmp`` go into the writable layer: no mounts that an image could redirect."""
    etc, tmp = paths.upper / "etc", paths.upper / "tmp"
    etc.mkdir(parents=True)
    tmp.mkdir()
    files = {
        "resolv.conf": resolv_conf(gateway, sandbox.identity.namespace),
        "hosts": hosts_file(sandbox.address, request.hostname),
        "hostname": f"{request.hostname}\n",
    }
    for name, text in files.items():
        target = etc / name
        target.write_text(text, encoding="utf-8")
        target.chmod(0o644)
        os.chown(target, base, base)
    etc.chmod(0o755)
    os.chown(etc, base, base)
    tmp.chmod(_TMP_MODE)
    os.chown(tmp, base, base)


def message_bind(paths: ContainerPaths, request: ContainerRequest, base: int) -> list[Bind]:
    """The file in which an application may leave its last words."""
    if not request.message_path:
        return []
    paths.message.touch()
    paths.message.chmod(0o666)
    os.chown(paths.message, base, base)
    return [Bind(str(paths.message), request.message_path, exact=True)]


def read_message(paths: ContainerPaths) -> str:
    """An application's last words, at most 4 KiB."""
    try:
        # It is the container's to write: a link, or whatever else it became, is not followed.
        descriptor = os.open(
            paths.message, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        )
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(_MESSAGE_BYTES).decode(errors="replace")
