"""System calls that the standard library lacks, as typed functions that raise ``OSError``.

Nothing here decides anything. Numbers of calls are those of the generic table, which x86-64 and
arm64 share for every call newer than 2018. Sources: mount(2), mount_setattr(2), open_tree(2),
openat2(2), setns(2), prctl(2), clone(2) and ``linux/pidfd.h``.
"""

import ctypes
import fcntl
import os
import platform
import signal
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
# PyDLL keeps the interpreter lock: a child made while another thread held it would wait for ever.
_LIBC_LOCKED = ctypes.PyDLL(None, use_errno=True)

MS_NOSUID, MS_NODEV, MS_BIND, MS_PRIVATE = 2, 4, 4096, 1 << 18
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_IN_ROOT = 0x02, 0x04, 0x10

_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_OPENAT2, _SYS_MOUNT_SETATTR = 428, 429, 437, 442
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV = 0x1, 0x2, 0x4
_MOUNT_ATTR_IDMAP = 0x100000
_PR_SET_CHILD_SUBREAPER, _PR_SET_PDEATHSIG = 36, 1
_F_SETPIPE_SZ = 1031

_PIDFD_GET_INFO = 0xC040FF0B  # _IOWR(0xFF, 11, 64 bytes)
_PIDFD_INFO_EXIT = 1 << 3
_PIDFD_INFO_SIZE = 64
_PIDFD_INFO_EXIT_CODE_OFFSET = 60


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """Attach a file system, or with ``MS_BIND`` a directory, to the tree."""
    result = _LIBC.mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        os.fsencode(data) if data else None,
    )
    _check(result, f"mount {kind or 'bind'} at {target}")


def unmount(target: str) -> bool:
    """Detach the top mount at ``target``; False when there is none.

    A missing path and a path that is no mount point are both the state asked for.
    """
    try:
        _check(_LIBC.umount2(os.fsencode(target), MNT_DETACH | UMOUNT_NOFOLLOW), target)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if error.errno == 22:  # EINVAL: not a mount point
            return False
        raise
    return True


def attach_idmapped(
    source: str,
    target: str,
    user_namespace: int,
    *,
    read_only: bool = True,
    untrusted: bool = False,
) -> None:
    """Bind ``source`` at ``target`` with its owners mapped by a user namespace.

    Args:
        source: directory whose files keep their owners on disk.
        target: existing directory.
        user_namespace: descriptor of the namespace whose map is applied.
        read_only: whether nobody can write through the mount.
        untrusted: containers write there: no set-user-id programs and no devices.
    """
    tree = _check(
        _LIBC.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(source), _OPEN_TREE_CLONE | os.O_CLOEXEC),
        f"open_tree {source}",
    )  # fmt: skip
    try:
        flags = _MOUNT_ATTR_IDMAP | (_MOUNT_ATTR_RDONLY if read_only else 0)
        if untrusted:
            flags |= _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV
        attributes = struct.pack("QQQQ", flags, 0, MS_PRIVATE, user_namespace)
        _check(
            _LIBC.syscall(
                _SYS_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attributes, len(attributes)
            ),
            f"mount_setattr {source}",
        )
        _check(
            _LIBC.syscall(
                _SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH
            ),
            f"move_mount {target}",
        )
    finally:
        os.close(tree)


def attach_bind(source: int, target: str) -> None:
    """Bind what a descriptor (``O_PATH``) names at ``target``."""
    tree = _check(
        _LIBC.syscall(
            _SYS_OPEN_TREE, source, b"", _OPEN_TREE_CLONE | os.O_CLOEXEC | _AT_EMPTY_PATH
        ),
        "open_tree",
    )
    try:
        _check(
            _LIBC.syscall(
                _SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH
            ),
            f"move_mount {target}",
        )
    finally:
        os.close(tree)


def open_in_root(root: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Open ``path`` as if the directory ``root`` were the file system's root.

    Symbolic links and ``..`` are followed inside ``root`` only (openat2, ``RESOLVE_IN_ROOT``).
    """
    how = struct.pack(
        "QQQ", flags | os.O_CLOEXEC, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve
    )
    return _check(_LIBC.syscall(_SYS_OPENAT2, root, os.fsencode(path), how, len(how)), path)


def enter_namespace(descriptor: int, kind: int) -> None:
    """setns(2): move the calling thread."""
    _check(_LIBC.setns(descriptor, kind), "setns")


def become_subreaper() -> None:
    """Orphans among our descendants become our children."""
    _check(_LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl subreaper")


def spawn_in_namespaces(flags: int) -> int:
    """A child process that sleeps in new namespaces until it is killed or this process ends.

    Args:
        flags: ``CLONE_NEW*`` bits.

    Returns:
        The child's pid; the caller kills and reaps it.
    """
    child = _LIBC_LOCKED.syscall(
        _SYS_CLONE[platform.machine()], ctypes.c_ulong(flags | signal.SIGCHLD), 0, 0, 0, 0
    )
    if child == 0:
        try:
            _LIBC_LOCKED.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            while True:
                _LIBC_LOCKED.pause()
        finally:
            os._exit(0)
    return _check(child, "clone")


def set_pipe_capacity(descriptor: int, size_bytes: int) -> None:
    """Let a pipe hold ``size_bytes`` before writers wait."""
    fcntl.fcntl(descriptor, _F_SETPIPE_SZ, size_bytes)


def exit_status_of(pidfd: int) -> int | None:
    """The wait status of an ended process that may be another's child.

    Returns:
        The status as wait(2) encodes it, or None where the kernel (before 6.15) does not tell or
        the process still runs.
    """
    buffer = bytearray(_PIDFD_INFO_SIZE)
    struct.pack_into("Q", buffer, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, buffer)
    except OSError:
        return None
    if not struct.unpack_from("Q", buffer, 0)[0] & _PIDFD_INFO_EXIT:
        return None
    status: int = struct.unpack_from("i", buffer, _PIDFD_INFO_EXIT_CODE_OFFSET)[0]
    return status
