"""File access below one directory that no name and no symbolic link can leave.

``Rooted`` resolves parents as if its directory were ``/`` (openat2 with RESOLVE_IN_ROOT, or, where the
kernel or a sandbox refuses that call, a walk of our own with O_NOFOLLOW) and does everything else relative to
the parent's descriptor without following the last component. So an absolute link, a chain of ``..`` or a link
that an archive planted a moment ago stays inside.
"""

import errno
import os
import stat
from collections import OrderedDict
from types import TracebackType
from typing import Self

from knarr.node import syscalls
from knarr.node.images.errors import InvalidLayer

_O_PATH = os.O_PATH | os.O_CLOEXEC
_MAX_LINKS = 40
_CACHED_PARENTS = 64
_UNSUPPORTED = {errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG}


def _open_by_kernel(root: int, path: str) -> int:
    flags = _O_PATH | os.O_DIRECTORY
    return syscalls.open_in_root(root, path, flags, resolve=syscalls.RESOLVE_NO_MAGICLINKS)


def has_openat2() -> bool:
    """Whether this kernel (and the sandbox we may be in) offers openat2."""
    try:
        root = os.open("/", _O_PATH | os.O_DIRECTORY)
        try:
            os.close(_open_by_kernel(root, "."))
        finally:
            os.close(root)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return False
        raise
    return True


def walk_in_root(root: int, path: str) -> int:
    """Open a directory as ``openat2`` with RESOLVE_IN_ROOT would, component by component.

    Raises:
        OSError: ENOENT, ENOTDIR, or ELOOP after 40 links.
    """
    stack = [os.open(".", _O_PATH | os.O_DIRECTORY, dir_fd=root)]
    pending = path.split("/")[::-1]
    links = 0
    try:
        while pending:
            name = pending.pop()
            if name in {"", "."}:
                continue
            if name == "..":
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            if stat.S_ISLNK(os.stat(name, dir_fd=stack[-1], follow_symlinks=False).st_mode):
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                target = os.readlink(name, dir_fd=stack[-1])
                if target.startswith("/"):
                    while len(stack) > 1:
                        os.close(stack.pop())
                pending.extend(target.split("/")[::-1])
                continue
            # O_NOFOLLOW: were the entry exchanged for a link in between, this fails.
            stack.append(os.open(name, _O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=stack[-1]))
        return os.dup(stack[-1])
    finally:
        for descriptor in stack:
            os.close(descriptor)


class Rooted:
    """A directory to write an untrusted tree into. Use as a context manager.

    Directory descriptors of recent parents are cached (at most 64); whoever replaces a directory or a link
    must call ``forget``.
    """

    def __init__(self, path: str | os.PathLike[str], *, kernel: bool | None = None) -> None:
        """Args: ``path`` of the root; ``kernel`` False forces the walk, None decides by the kernel."""
        self._path = path
        self._kernel = has_openat2() if kernel is None else kernel
        self._root = -1
        self._parents: OrderedDict[str, int] = OrderedDict()

    def __enter__(self) -> Self:
        self._root = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.forget()
        os.close(self._root)

    @property
    def root(self) -> int:
        """Descriptor of the root directory."""
        return self._root

    def forget(self) -> None:
        """Drop cached parents."""
        while self._parents:
            _, descriptor = self._parents.popitem()
            os.close(descriptor)

    def directory(self, path: str) -> int:
        """A descriptor (O_PATH) of a directory below the root; the caller must not close it.

        It stays valid until the next call of a method of this object.

        Raises:
            OSError: it does not exist or is not a directory.
        """
        if not path:
            return self._root
        cached = self._parents.get(path)
        if cached is not None:
            self._parents.move_to_end(path)
            return cached
        resolve = _open_by_kernel if self._kernel else walk_in_root
        descriptor = resolve(self._root, path)
        self._parents[path] = descriptor
        if len(self._parents) > _CACHED_PARENTS:
            _, oldest = self._parents.popitem(last=False)
            os.close(oldest)
        return descriptor

    def ensure_directory(self, path: str) -> int:
        """``directory``, making what is missing with mode 0755.

        Raises:
            InvalidLayer: a component is a file, or a link that leads nowhere.
        """
        try:
            return self.directory(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise InvalidLayer(f"cannot enter {path!r}: {error.strerror}") from error
        head, _, name = path.rpartition("/")
        parent = self.ensure_directory(head)
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
            os.chmod(name, 0o755, dir_fd=parent)  # noqa: S103 - whatever the umask is
        except FileExistsError:
            raise InvalidLayer(
                f"{path!r} is a symbolic link that leads nowhere in this layer"
            ) from None
        return self.directory(path)
