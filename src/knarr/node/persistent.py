"""Directories that outlive Pods: made once, mounted into sandboxes with their owners mapped.

On disk a file has the owner that containers see: root of a container is 0 there. An idmapped mount
translates to the ids of each sandbox's user namespace, so nothing is chowned when a volume moves from one
Pod to the next. The directory that holds them all is closed to everybody but root: what is written there as
root must not become anybody's on this machine.
"""

import os
import shutil
from pathlib import Path, PurePosixPath

from knarr.node import syscalls
from knarr.node.bundle import BadContainer

_CLOSED = 0o700
_OPEN = 0o777
_GROUP_BITS = 0o2070
_DOOMED = ".deleting-"


def make_directory(root: Path, name: str) -> Path:
    """Make the directory of a new volume; everybody inside a container may write to it. Idempotent."""
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(_CLOSED)
    directory = root / name
    try:
        directory.mkdir()
    except FileExistsError:
        return directory
    directory.chmod(_OPEN)
    return directory


def remove_directory(directory: Path) -> None:
    """Remove a volume's directory and everything in it. Idempotent; a crash in between can be repeated.

    Raises:
        OSError: something cannot be removed.
    """
    doomed = directory.with_name(f"{_DOOMED}{directory.name}")
    try:
        directory.rename(doomed)
    except FileNotFoundError:
        if not doomed.exists():
            return
    except OSError:
        if not doomed.exists():
            raise
        shutil.rmtree(doomed)
        directory.rename(doomed)
    shutil.rmtree(doomed)


def attach(
    directory: Path, target: Path, *, user_namespace: Path, read_only: bool, group: int | None
) -> None:
    """Mount a volume for one sandbox. Idempotent.

    Args:
        directory: of the volume.
        target: made here.
        user_namespace: whose ids the files get.
        read_only: for every container of the sandbox.
        group: ``fsGroup``: becomes the group of every file, once.

    Raises:
        BadContainer: the directory is not there.
        OSError: the kernel refused.
    """
    if not directory.is_dir() or directory.is_symlink():
        raise BadContainer(f"the volume's directory {directory} does not exist")
    if group:
        _give_to_group(directory, group)
    target.mkdir(parents=True, exist_ok=True)
    detach(target)
    target.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(user_namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.attach_idmapped(
            str(directory), str(target), descriptor, read_only=read_only, untrusted=True
        )
    finally:
        os.close(descriptor)


def detach(target: Path) -> None:
    """Unmount a volume, however often it is mounted, and remove the empty mount point. Idempotent.

    Raises:
        OSError: it cannot be unmounted; then nothing above it may be removed.
    """
    while syscalls.unmount(str(target)):
        continue
    if target.is_dir():
        # Fails when anything is left: the files of a volume must not be taken for those of a sandbox.
        target.rmdir()


def make_subpath(directory: Path, sub_path: str) -> None:
    """Make the directories of a subPath: root's, as open as the volume itself. Links are not followed.

    Raises:
        BadContainer: the path is not relative, leaves the volume, or cannot be made.
    """
    pure = PurePosixPath(sub_path)
    if pure.is_absolute() or ".." in pure.parts:
        raise BadContainer(f"subPath {sub_path!r} is not relative, or contains '..'")
    current = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mode = directory.stat().st_mode & 0o7777
    try:
        for part in pure.parts:
            following = _enter_or_make(current, part, mode)
            if following is None:
                return
            os.close(current)
            current = following
    except OSError as error:
        raise BadContainer(f"subPath {sub_path!r}: {error.strerror}") from error
    finally:
        os.close(current)


def _enter_or_make(parent: int, name: str, mode: int) -> int | None:
    """A descriptor of a directory; None when something else is there, which the mount will judge."""
    try:
        return syscalls.open_in_root(
            parent, name, os.O_PATH | os.O_DIRECTORY, resolve=syscalls.RESOLVE_NO_SYMLINKS
        )
    except FileNotFoundError:
        os.mkdir(name, 0o700, dir_fd=parent)
        made = syscalls.open_in_root(
            parent, name, os.O_PATH | os.O_DIRECTORY, resolve=syscalls.RESOLVE_NO_SYMLINKS
        )
        Path(f"/proc/self/fd/{made}").chmod(mode)
        return made
    except OSError:
        return None


def _give_to_group(directory: Path, group: int) -> None:
    """Make every file the group's, unless the topmost directory is already."""
    status = directory.stat()
    if status.st_gid == group and status.st_mode & _GROUP_BITS == _GROUP_BITS:
        return
    for folder, _, names in os.walk(directory, topdown=False):
        for name in names:
            _share(Path(folder) / name, group, 0o060)
        _share(Path(folder), group, _GROUP_BITS)


def _share(path: Path, group: int, bits: int) -> None:
    status = path.lstat()
    os.chown(path, -1, group, follow_symlinks=False)
    if not path.is_symlink():
        path.chmod((status.st_mode & 0o7777) | bits)
