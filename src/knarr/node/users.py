"""Who a container's process runs as, looked up inside its image and nowhere else."""

import os
from dataclasses import dataclass
from pathlib import Path

from knarr.meta.errors import KnarrError
from knarr.node import syscalls

MAX_DATABASE_BYTES = 1024 * 1024
_MAX_ID = 65534


class UnknownUser(KnarrError):
    """The image has no such user or group."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Ids inside the container; ``home`` is for ``HOME``."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    uid: int
    gid: int
    home: str


def _entries(passwd: str) -> list[_Entry]:
    found = []
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2].isdigit() and fields[3].isdigit():
            found.append(_Entry(fields[0], int(fields[2]), int(fields[3]), fields[5]))
    return found


def _groups(group: str) -> list[tuple[str, int, tuple[str, ...]]]:
    found = []
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isdigit():
            found.append((fields[0], int(fields[2]), tuple(filter(None, fields[3].split(",")))))
    return found


def resolve_identity(
    user: str, passwd: str, group: str, *, run_as_user: int | None = None, run_as_group: int | None = None
) -> Identity:  # fmt: skip
    """The ids behind an image's ``User`` and a security context.

    Args:
        user: ``name``, ``uid``, ``name:group``, ``uid:gid`` or empty for root.
        passwd: the image's database, empty when it has none.
        group: likewise.
        run_as_user: of the security context; wins.
        run_as_group: likewise.

    Raises:
        UnknownUser: a name that the image does not define, or an id out of range.
    """
    wanted, _, wanted_group = user.partition(":")
    if run_as_user is not None:
        wanted, wanted_group = str(run_as_user), ""
    entry = _find_user(wanted or "0", passwd)
    if entry is None:
        entry = _Entry("", _parse_id(wanted, "user"), 0, "/")
    gid = _find_group(wanted_group, group) if wanted_group else entry.gid
    if run_as_group is not None:
        gid = _parse_id(str(run_as_group), "group")
    explicit = bool(wanted_group) or run_as_group is not None
    member = [g for name, g, members in _groups(group) if entry.name and entry.name in members]
    extra = () if explicit else tuple(sorted({*member} - {gid}))
    return Identity(entry.uid, gid, tuple(g for g in extra if g <= _MAX_ID), entry.home or "/")


def _find_user(wanted: str, passwd: str) -> _Entry | None:
    for entry in _entries(passwd):
        if entry.name == wanted or (wanted.isdigit() and entry.uid == int(wanted)):
            return entry
    if not wanted.isdigit():
        raise UnknownUser(f"user {wanted!r} is not in the image's /etc/passwd")
    return None


def _find_group(wanted: str, group: str) -> int:
    for name, gid, _ in _groups(group):
        if name == wanted:
            return gid
    if not wanted.isdigit():
        raise UnknownUser(f"group {wanted!r} is not in the image's /etc/group")
    return _parse_id(wanted, "group")


def _parse_id(text: str, what: str) -> int:
    number = int(text or "0")
    if not 0 <= number <= _MAX_ID:
        raise UnknownUser(f"{what} id {number} is not between 0 and {_MAX_ID}")
    return number


def read_databases(rootfs: Path) -> tuple[str, str]:
    """``/etc/passwd`` and ``/etc/group`` of an image; empty when absent, too big or no files."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _read(root, "etc/passwd"), _read(root, "etc/group")
    finally:
        os.close(root)


def _read(root: int, path: str) -> str:
    try:
        descriptor = syscalls.open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as stream:
        try:
            return stream.read(MAX_DATABASE_BYTES).decode(errors="replace")
        except OSError:
            return ""
