"""Control groups of both versions: where a container's are, what they say, and how they go away."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes charged to a group and processes killed for want of memory."""

    usage_bytes: int
    oom_kills: int


@dataclass(frozen=True, slots=True)
class Cgroups:
    """The machine's hierarchies.

    Attributes:
        root: mount point of all of them.
        unified: version 2; otherwise one hierarchy per controller.
    """

    root: Path
    unified: bool

    def directories(self, path: str) -> Iterator[Path]:
        """The directories of an absolute group path that exist."""
        if self.unified:
            candidates = [self.root / path.lstrip("/")]
        else:
            # Names of joined controllers ("cpu,cpuacct") are links; each real hierarchy counts once.
            hierarchies = [
                one for one in self.root.iterdir() if one.is_dir() and not one.is_symlink()
            ]
            candidates = [one / path.lstrip("/") for one in hierarchies]  # fmt: skip
        yield from (one for one in candidates if one.is_dir())

    def memory(self, path: str) -> MemoryUse:
        """What a group uses; zeros when it is gone."""
        if self.unified:
            group = self.root / path.lstrip("/")
            usage, events = _read(group / "memory.current"), _read(group / "memory.events")
        else:
            group = self.root / "memory" / path.lstrip("/")
            usage, events = (
                _read(group / "memory.usage_in_bytes"),
                _read(group / "memory.oom_control"),
            )
        kills = [line.split()[1] for line in events.splitlines() if line.startswith("oom_kill ")]
        return MemoryUse(int(usage or 0), int(kills[0]) if kills else 0)

    def remove(self, path: str) -> list[Path]:
        """Remove a group and what is below it; busy ones are left. Idempotent.

        Returns:
            The directories that are gone now.
        """
        removed = []
        for top in list(self.directories(path)):
            for directory, _, _ in os.walk(top, topdown=False):
                try:
                    os.rmdir(directory)  # noqa: PTH106 - os.walk yields strings
                except OSError:
                    continue
                removed.append(Path(directory))
        return removed

    def processes(self, path: str) -> set[int]:
        """Every process in a group or below it."""
        found: set[int] = set()
        for top in self.directories(path):
            for directory, _, _ in os.walk(top):
                found.update(int(pid) for pid in _read(Path(directory) / "cgroup.procs").split())
        return found


def detect_cgroups(root: Path = _ROOT) -> Cgroups:
    """Which version this machine runs; a hybrid counts as version 1."""
    return Cgroups(root, unified=(root / "cgroup.controllers").exists())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
