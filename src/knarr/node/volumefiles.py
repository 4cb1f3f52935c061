"""Volumes on disk: scratch directories, and directories of files that change all at once.

As in Kubernetes, files are links to ``..data/<file>``, and ``..data`` is a link to a directory of one
version; a new version becomes visible by renaming that one link.
"""

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from knarr.node import syscalls
from knarr.node.bundle import BadContainer
from knarr.node.claims import ClaimedDirectory
from knarr.node.volumes import Files, Scratch, VolumeContent

_DATA = "..data"
_SCRATCH_MODE = 0o777
_GROUP_MODE = 0o2775


@dataclass(frozen=True, slots=True)
class Owner:
    """To whom a volume's files belong, ids as outside.

    Attributes:
        base: the container's root.
        group: of ``fsGroup``, or the base.
    """

    base: int
    group: int

    @property
    def shared(self) -> bool:
        """Whether a supplementary group gets access."""
        return self.group != self.base


def make_volume(directory: Path, content: VolumeContent, owner: Owner) -> None:
    """Make a volume's directory and fill it. Idempotent for files."""
    directory.mkdir(parents=True, exist_ok=True)
    match content:
        case Scratch(memory=memory, size_bytes=size):
            mode = _GROUP_MODE if owner.shared else _SCRATCH_MODE
            if memory:
                limit = f",size={size}" if size else ""
                options = f"mode={mode:o},uid={owner.base},gid={owner.group}{limit}"
                flags = syscalls.MS_NOSUID | syscalls.MS_NODEV
                syscalls.mount("tmpfs", str(directory), "tmpfs", flags, options)
            else:
                os.chown(directory, owner.base, owner.group)
                directory.chmod(mode)
        case ClaimedDirectory():
            raise ValueError(f"{directory} outlives the sandbox: it is mounted, not made")
        case Files():
            os.chown(directory, owner.base, owner.group)
            directory.chmod(0o755)
            write_files(directory, content, owner)


def write_files(directory: Path, content: Files, owner: Owner) -> bool:
    """Replace the files of a volume at once; False when they are right already."""
    current = _current(directory)
    if current is not None and _equal(directory / current, content, owner):
        return False
    version = f"..{secrets.token_hex(8)}"
    target = directory / version
    target.mkdir()
    target.chmod(0o755)
    os.chown(target, owner.base, owner.group)
    for path, file in content.files.items():
        _write(target, path, file.content, _file_mode(file.mode, owner), owner)
    temporary = directory / f"..link{version}"
    temporary.symlink_to(version)
    temporary.rename(directory / _DATA)
    _link_names(directory, content)
    if current is not None:
        shutil.rmtree(directory / current, ignore_errors=True)
    return True


def _current(directory: Path) -> str | None:
    try:
        return str((directory / _DATA).readlink())
    except OSError:
        return None


def _file_mode(mode: int, owner: Owner) -> int:
    return mode | 0o440 if owner.shared else mode


def _equal(version: Path, content: Files, owner: Owner) -> bool:
    present = {str(one.relative_to(version)) for one in version.rglob("*") if not one.is_dir()}
    if present != set(content.files):
        return False
    for path, file in content.files.items():
        target = version / path
        if target.stat().st_mode & 0o777 != _file_mode(file.mode, owner):
            return False
        if target.read_bytes() != file.content:
            return False
    return True


def _write(root: Path, path: str, content: bytes, mode: int, owner: Owner) -> None:
    target = root / path
    for parent in reversed(list(PurePosixPath(path).parents)[:-1]):
        folder = root / parent
        if not folder.exists():
            folder.mkdir()
            folder.chmod(0o755)
            os.chown(folder, owner.base, owner.group)
    target.write_bytes(content)
    target.chmod(mode)
    os.chown(target, owner.base, owner.group)


def _link_names(directory: Path, content: Files) -> None:
    wanted = {PurePosixPath(path).parts[0] for path in content.files}
    for name in wanted:
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(f"{_DATA}/{name}")
    for link in directory.iterdir():
        if link.is_symlink() and not link.name.startswith("..") and link.name not in wanted:
            link.unlink()


def drop_volume(directory: Path) -> None:
    """Unmount a memory volume; the files go with the sandbox's directory. Idempotent."""
    syscalls.unmount(str(directory))


def bind_subpath(volume: Path, sub_path: str, target: Path, owner: Owner) -> Path:
    """Pin one file or directory of a volume, so that no link can lead the mount elsewhere later.

    Args:
        volume: the volume's directory.
        sub_path: relative; a directory is made when it does not exist.
        target: where the pin is mounted; made here.
        owner: of a directory that is made.

    Returns:
        ``target``.

    Raises:
        BadContainer: the path is not relative, leaves the volume, or cannot be made.
    """
    pure = PurePosixPath(sub_path)
    if pure.is_absolute() or ".." in pure.parts:
        raise BadContainer(f"subPath {sub_path!r} is not relative, or contains '..'")
    root = os.open(volume, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = _open_or_make(root, pure, owner)
    except OSError as error:
        raise BadContainer(f"subPath {sub_path!r}: {error.strerror}") from error
    finally:
        os.close(root)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.isdir(f"/proc/self/fd/{found}"):  # noqa: PTH112 - a descriptor, not a path
            target.mkdir(exist_ok=True)
        else:
            target.touch()
        syscalls.attach_bind(found, str(target))
    finally:
        os.close(found)
    return target


def _open_or_make(root: int, path: PurePosixPath, owner: Owner) -> int:
    current = os.dup(root)
    for part in path.parts:
        # Links are followed, but inside the volume only.
        try:
            found = syscalls.open_in_root(root, _below(root, current, part), os.O_PATH)
        except FileNotFoundError:
            os.mkdir(part, 0o755, dir_fd=current)
            os.chown(part, owner.base, owner.group, dir_fd=current, follow_symlinks=False)
            found = syscalls.open_in_root(
                current, part, os.O_PATH, resolve=syscalls.RESOLVE_NO_SYMLINKS
            )
        finally:
            previous = current
        os.close(previous)
        current = found
    return current


def _below(root: int, current: int, part: str) -> str:
    base = Path(f"/proc/self/fd/{root}").readlink()
    here = Path(f"/proc/self/fd/{current}").readlink()
    return str((here / part).relative_to(base))
