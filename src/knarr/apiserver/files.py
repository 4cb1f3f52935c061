"""Files that must never be half written."""

import os
from pathlib import Path


def write_atomically(path: Path, data: bytes, mode: int) -> None:
    """Replace a file in one step; a crash leaves the old one or the new one.

    Args:
        path: of the file; its directory exists.
        data: all of it.
        mode: permissions of the new file.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
