"""A container's root file system: image layers below, a writable directory above, one overlay mount.

Layers are shared by every sandbox and stay untouched: owners are mapped by idmapped mounts, so nothing is
copied or chowned. The mounts that carry the map exist only while the overlay is made; overlayfs keeps
private clones.
"""

import os
import shutil
import stat
from contextlib import ExitStack
from pathlib import Path

from knarr.meta.errors import KnarrError
from knarr.node import syscalls
from knarr.node.layout import ContainerPaths

_GUARDED = ("dev", "proc", "sys", "etc", "tmp")
_MAX_LAYERS = 127


class UnsafeRootfs(KnarrError):
    """An image's root file system could lead the OCI runtime astray."""


def mount_rootfs(
    paths: ContainerPaths, lower_dirs: tuple[Path, ...], *, user_namespace: Path, base: int
) -> None:
    """Mount the overlay of one container at ``paths.rootfs``.

    Args:
        paths: of the container; ``upper`` may already hold files.
        lower_dirs: unpacked layers, the topmost first; may be empty.
        user_namespace: whose map the layers' owners get.
        base: first id of that map, the owner of what is made here.

    Raises:
        OSError: the kernel refused.
        UnsafeRootfs: too many layers, or a symbolic link where the runtime mounts.
    """
    if len(lower_dirs) > _MAX_LAYERS:
        raise UnsafeRootfs(f"the image has {len(lower_dirs)} layers; at most {_MAX_LAYERS} work")
    for directory in (paths.upper, paths.work, paths.rootfs):
        directory.mkdir(parents=True, exist_ok=True)
        os.chown(directory, base, base)
    paths.rootfs.chmod(0o755)
    paths.upper.chmod(0o755)
    staging = paths.directory / "lower"
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, staging, ignore_errors=True)
        layers = _attach_layers(staging, lower_dirs, user_namespace, undo)
        # All options together must fit one page; through a descriptor each layer takes few bytes.
        handle = os.open(staging, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        undo.callback(os.close, handle)
        lower = ":".join(f"/proc/self/fd/{handle}/{number}" for number in range(layers))
        syscalls.mount(
            "overlay", str(paths.rootfs), "overlay", 0,
            f"lowerdir={lower},upperdir={paths.upper},workdir={paths.work},volatile",
        )  # fmt: skip
    _refuse_links(paths.rootfs)


def _attach_layers(
    staging: Path, lower_dirs: tuple[Path, ...], user_namespace: Path, undo: ExitStack
) -> int:
    staging.mkdir(parents=True)
    if not lower_dirs:
        (staging / "0").mkdir()
        return 1
    descriptor = os.open(user_namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for number, lower in enumerate(lower_dirs):
            target = staging / str(number)
            target.mkdir()
            syscalls.attach_idmapped(str(lower), str(target), descriptor)
            undo.callback(syscalls.unmount, str(target))
    finally:
        os.close(descriptor)
    return len(lower_dirs)


def _refuse_links(rootfs: Path) -> None:
    for name in _GUARDED:
        try:
            mode = os.lstat(rootfs / name).st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(mode):
            syscalls.unmount(str(rootfs))
            raise UnsafeRootfs(f"/{name} of the image is not a directory")


def unmount_rootfs(paths: ContainerPaths) -> bool:
    """Unmount a container's root file system and half-made layer mounts; whether there was one."""
    staging = paths.directory / "lower"
    if staging.is_dir():
        for target in staging.iterdir():
            syscalls.unmount(str(target))
    found = syscalls.unmount(str(paths.rootfs))
    if paths.rootfs.is_dir():
        paths.rootfs.rmdir()
    return found
