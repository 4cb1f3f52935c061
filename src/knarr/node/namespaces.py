"""Namespaces that outlive processes: made by a short-lived child, kept by bind mounts.

The network namespace belongs to the sandbox's user namespace; otherwise the container could not mount its
own ``/sys``. The caller is root of the machine and keeps every right over both.
"""

import os
import signal
from pathlib import Path

from knarr.node import syscalls

ID_RANGE = 65536


def id_base(address_index: int) -> int:
    """The first user and group id, outside, of the sandbox with this address.

    Addresses are unique, so ranges are: a process that escapes one sandbox owns nothing of another.
    """
    return ID_RANGE * (address_index + 1)


def create_namespaces(
    *, user: Path, network: Path, ipc: Path | None, base: int, size: int = ID_RANGE
) -> None:
    """Make a user namespace and, owned by it, a network and optionally an IPC namespace.

    Args:
        user: file at which the namespace stays mounted; made here.
        network: likewise.
        ipc: likewise, or None.
        base: first id outside; 0 inside.
        size: number of ids.
    """
    wanted = {"user": user, "net": network}
    flags = syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNET
    if ipc is not None:
        wanted["ipc"] = ipc
        flags |= syscalls.CLONE_NEWIPC
    child = syscalls.spawn_in_namespaces(flags)
    try:
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{kind}").write_text(f"0 {base} {size}\n", encoding="ascii")
        for name, path in wanted.items():
            path.touch(mode=0o600)
            syscalls.mount(f"/proc/{child}/ns/{name}", str(path), None, syscalls.MS_BIND)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def drop_namespace(path: Path) -> bool:
    """Release a kept namespace; whether there was one. Idempotent."""
    released = syscalls.unmount(str(path))
    existed = path.exists()
    path.unlink(missing_ok=True)
    return released or existed
