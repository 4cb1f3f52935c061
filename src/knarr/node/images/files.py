"""Files that survive crashes and other processes: atomic writes, advisory locks, and errors with a remedy.

fsync policy: blobs and records are written to a temporary name, fsynced, renamed, and their directory is
fsynced, so that a name that exists has its content. Unpacked layers are too many files for that; see
``knarr.node.images.layers``.
"""

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from knarr.node.images.errors import DiskFull, StoreBusy

_FULL = {errno.ENOSPC, errno.EDQUOT}
_POLL_S = 0.02
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Turn "no space left" into an error that says what to do.

    Raises:
        DiskFull: ENOSPC or EDQUOT inside the block.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(
                f"no space left on the file system of {directory}: free some space, remove images with "
                "'knarr image rm', or move the data with --data-dir"
            ) from error
        raise


def free_bytes(directory: Path) -> int:
    """Space that this process may still use below ``directory``."""
    stats = os.statvfs(directory)
    blocks = stats.f_bfree if os.geteuid() == 0 else stats.f_bavail
    return blocks * stats.f_frsize


def temporary_name(directory: Path, stem: str) -> Path:
    """A name in ``directory`` that nobody else uses; the file is not made."""
    return directory / f"{stem}.{os.getpid()}.{secrets.token_hex(6)}"


def write_atomic(path: Path, data: bytes, *, scratch: Path) -> None:
    """Replace ``path`` as a whole, durably. ``scratch`` is a directory on the same file system.

    Raises:
        DiskFull: nothing was changed.
    """
    temporary = temporary_name(scratch, path.name)
    with disk_errors(path.parent):
        try:
            with temporary.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_filesystem(path: Path) -> None:
    """Write everything that is dirty on the file system of ``path`` to disk (``syncfs``)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def _try_lock(path: Path, *, exclusive: bool) -> int | None:
    """A descriptor that holds the lock, or None when somebody else does."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        mode = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
            # The file may have been removed between open and flock: that lock excludes nobody.
            if _same_file(descriptor, path):
                return descriptor
            os.close(descriptor)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


@contextlib.asynccontextmanager
async def locked(
    path: Path, *, exclusive: bool = True, wait_s: float | None = None
) -> AsyncIterator[None]:
    """Hold an advisory lock between tasks and processes (``flock``, freed by the kernel on any exit).

    The lock is polled so that a cancelled waiter leaves nothing behind.

    Args:
        path: the lock file; made when missing and never removed.
        exclusive: otherwise shared with other shared holders.
        wait_s: give up after that many seconds; None waits for ever.

    Raises:
        StoreBusy: ``wait_s`` passed.
    """
    try:
        async with asyncio.timeout(wait_s):
            while (  # noqa: ASYNC110 - the event is another process's
                descriptor := _try_lock(path, exclusive=exclusive)
            ) is None:
                await asyncio.sleep(_POLL_S)
    except TimeoutError:
        raise StoreBusy(f"another process holds {path}; try again when it has finished") from None
    try:
        yield
    finally:
        os.close(descriptor)


def remove_tree(path: Path) -> None:
    """Remove a directory with everything in it; what is not there is fine. Links are never followed.

    Subdirectories are moved beside ``path`` before they are emptied, so that neither the depth of a hostile
    tree nor the length of its paths matters.
    """
    try:
        parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        remove_tree_at(parent, path.name)
    except FileNotFoundError:
        return
    finally:
        os.close(parent)


def remove_tree_at(parent: int, name: str) -> None:
    """``remove_tree`` of a directory relative to its parent's descriptor.

    Raises:
        FileNotFoundError: it is not there.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    token = secrets.token_hex(6)
    pending = [name]
    moved = 0
    while pending:
        current = pending.pop()
        descriptor = os.open(current, flags, dir_fd=parent)
        try:
            with os.scandir(descriptor) as entries:
                children = [(item.name, item.is_dir(follow_symlinks=False)) for item in entries]
            for child, is_directory in children:
                if is_directory:
                    moved += 1
                    aside = f".removed.{token}.{moved}"
                    os.rename(child, aside, src_dir_fd=descriptor, dst_dir_fd=parent)
                    pending.append(aside)
                else:
                    os.unlink(child, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        os.rmdir(current, dir_fd=parent)
